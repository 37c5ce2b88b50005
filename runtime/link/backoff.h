/* backoff: computes the wait before the next try.
 * SPDX-License-Identifier: MIT
 * Pure: the caller passes a random number. */
#ifndef MR_LINK_BACKOFF_H
#define MR_LINK_BACKOFF_H

#include "config/config.h"

/* The wait before retry `n` (from 0) after an error of `kind`, in ms; -1: no more tries. `chance`
 * is 0 to 1. */
mr_msec mr_backoff(const struct mr_retry *retry, int64_t n, int kind, double chance);

/* The connections of one loop that were lost within a second of the first of them. */
struct mr_crowd {
	mr_msec since;
	int64_t size;
};

/* One more connection was lost: returns how many ms to add to the bound of its first wait, so that
 * of a thousand or more less than a tenth try within the same 100 ms. 0 for the first: a single
 * connection reconnects at once. */
mr_msec mr_backoff_join(struct mr_crowd *crowd, mr_msec now);

#endif
