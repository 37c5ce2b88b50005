/* headers: matches headers bindings.
 * SPDX-License-Identifier: MIT
 * Pure. Both tables are encoded, with their lengths; an empty slice is an empty table. */
#ifndef MR_BROKER_STORE_HEADERS_H
#define MR_BROKER_STORE_HEADERS_H

#include "base/slice.h"
#include "base/status.h"

bool mr_headers_match(mr_slice arguments, mr_slice headers);
/* 406 if x-match is invalid. */
enum mr_status mr_headers_check(mr_slice arguments, mr_error *error);

#endif
