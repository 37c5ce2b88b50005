/* headers: when a headers binding matches.
 * SPDX-License-Identifier: MIT
 * Pure. Both tables are bytes, with their lengths in front; an empty slice is an empty table. */
#ifndef MR_BROKER_STORE_HEADERS_H
#define MR_BROKER_STORE_HEADERS_H

#include "base/slice.h"
#include "base/status.h"

bool mr_headers_match(mr_slice arguments, mr_slice headers);
/* 406 when x-match makes no sense. */
enum mr_status mr_headers_check(mr_slice arguments, mr_error *error);

#endif
