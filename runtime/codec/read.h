/* read: decodes received field tables into trees: any depth, keys of 255 bytes, every type.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. */
#ifndef MR_CODEC_READ_H
#define MR_CODEC_READ_H

#include "base/value.h"

/* Decodes a table, with its length, that mr_walk_check has accepted. *gives*. MR_OK or
 * MR_NO_MEMORY. */
enum mr_status mr_read_table(mr_slice table, mr_table **out);

#endif
