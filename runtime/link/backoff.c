/* backoff: computes the wait before the next try.
 * SPDX-License-Identifier: MIT */
#include "link/backoff.h"

#define FIRST 500 /* ms: the bound of the first wait; it doubles with each */

/* A password is not corrected within a second, and repeated logins lock accounts. */
static bool is_refusal(int kind)
{
	return kind == MR_AUTHENTICATION_FAILED || kind == MR_VHOST_ACCESS_REFUSED;
}

/* "Full jitter" (Brooker, Exponential Backoff and Jitter, 2015): a random time up to the bound, so
 * that connections that were lost together do not reconnect together. */
static mr_msec jittered(const struct mr_retry *r, int64_t n, int kind, double chance)
{
	mr_msec bound = n < 16 ? (mr_msec)FIRST << n : r->max;
	if (bound > r->max || is_refusal(kind)) bound = r->max;
	mr_msec least = is_refusal(kind) ? bound / 2 : 0;
	return least + (mr_msec)((double)(bound - least) * chance);
}

mr_msec mr_backoff(const struct mr_retry *r, int64_t n, int kind, double chance)
{
	if (r->retries >= 0 && n >= r->retries) return -1;
	if (r->style == MR_RETRY_JITTER) return jittered(r, n, kind, chance);
	mr_msec more = r->step && n > r->max / r->step ? r->max : n * r->step;
	return r->start + more < r->max ? r->start + more : r->max;
}

/* With 4 ms more for each, n tries are spread over 500 + 4n ms, on average at most ln(1 + 4n / 500) / 4
 * of them in each ms: of a thousand, 55 in 100 ms. */
mr_msec mr_backoff_join(struct mr_crowd *crowd, mr_msec now)
{
	if (!crowd->size || now - crowd->since > 1000) *crowd = (struct mr_crowd){.since = now};
	return 4 * crowd->size++;
}
