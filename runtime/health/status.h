/* status: the page /status: what the program is at: connections, channels, consumers, queues, publishes.
 * SPDX-License-Identifier: MIT
 * I/O thread, so that it is right while the host is stuck. Counts are totals: who reads the page twice
 * has rates. */
#ifndef MR_HEALTH_STATUS_H
#define MR_HEALTH_STATUS_H

#include "health/health.h"

/* *Gives* the page; it may lack what there was no memory for; NULL: all of it. Lists have at most
 * MR_STATUS_MAX entries; `left_out` counts the others. */
#define MR_STATUS_MAX 500
mr_table *mr_status_page(const struct mr_health_state *c, const mr_health *health);

#endif
