/* backoff: how long to wait before the next try.
 * SPDX-License-Identifier: MIT
 * Pure: chance comes in as a number. */
#ifndef MR_ENGINE_BACKOFF_H
#define MR_ENGINE_BACKOFF_H

#include "base/config.h"

/* The wait before retry `n` (from 0) after an error of `kind`, in ms; -1: no more tries. `chance` is
 * 0 to 1. */
mr_msec mr_backoff(const struct mr_retry *retry, int64_t n, int kind, double chance);

#endif
