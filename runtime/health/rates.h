/* rates: what happened in each second of the last ten minutes, for the charts of the page for browsers.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_RATES_H
#define MR_HEALTH_RATES_H

#include "health/health.h"

#define MR_RATES_SECONDS 600

enum mr_rate {
	MR_RATE_DELIVERED,
	MR_RATE_SETTLED,
	MR_RATE_PUBLISHED,
	MR_RATE_FAILED,
	MR_RATE_RETRIED,
	MR_RATE_DEAD,
	MR_RATES
};

struct mr_rates { /* zeroed is valid: it has not begun */
	struct mr_health_state *health;
	struct mr_timer timer;
	uint64_t last[MR_RATES];                      /* the total counts at the last second */
	uint32_t seconds[MR_RATES_SECONDS][MR_RATES]; /* a ring */
	uint64_t count;                               /* of seconds, also of former ones */
};

void mr_rates_begin(struct mr_rates *rates,
	struct mr_health_state *health); /* once or more often */
void mr_rates_end(struct mr_rates *rates);
/* Adds a list of numbers for each rate, the oldest first: the seconds after the `after`-th. */
void mr_rates_write(const struct mr_rates *rates, uint64_t after, mr_table *page);

#endif
