/* failure: what an error of Redis means to us.
 * SPDX-License-Identifier: MIT
 * Pure. The hints are in base/redis_hint. */
#ifndef MR_REDIS_FAILURE_H
#define MR_REDIS_FAILURE_H

#include "base/slice.h"
#include "base/status.h"

/* Fills `error` from the text of an error reply ("WRONGPASS invalid ..."), and returns the kind. What
 * Redis quotes of a command is left out, as it may be a password or a message. */
enum mr_status mr_failure_of_redis(mr_error *error, enum mr_scope scope, mr_slice text);

#endif
