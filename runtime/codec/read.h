/* read: what came in field tables, as a tree: any depth, keys of 255 bytes, every type.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. */
#ifndef MR_CODEC_READ_H
#define MR_CODEC_READ_H

#include "base/value.h"

/* Reads a table that mr_walk_check has passed, its length in front. *gives*. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_read_table(mr_slice table, mr_table **out);

#endif
