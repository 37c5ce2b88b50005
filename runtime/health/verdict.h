/* verdict: decides by the vitals whether a runtime is healthy, and gives the reasons if not.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_HEALTH_VERDICT_H
#define MR_HEALTH_VERDICT_H

#include "base/clock.h"
#include "base/list.h"
#include "health/vitals.h"

/* The result of one of the host's own checks. */
struct mr_host_check {
	struct mr_node node;
	int state; /* MR_NOTE_* */
	char name[129], detail[512];
	mr_msec at; /* the time of the result */
};

extern const mr_health_options mr_health_defaults;

/* *gives*; `checks` is a list of mr_host_check. NULL: out of memory. */
mr_health *mr_verdict(const struct mr_vitals *v, const mr_health_options *o,
	const struct mr_node *checks, mr_msec now);
void mr_verdict_free(mr_health *health); /* NULL is allowed */

/* The content of the pages: {"status":"healthy"}, with the report if it is not healthy or
 * `verbose`. *Give*; NULL: out of memory. */
mr_table *mr_verdict_health(const mr_health *health, bool verbose);
mr_table *mr_verdict_ready(const mr_health *health);
mr_table *mr_verdict_live(const mr_health *health);

#endif
