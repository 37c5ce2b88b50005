/* waits: for places of pools: which have ended, and when the next one's time is up.
 * SPDX-License-Identifier: MIT
 * Pure: takes `now`. Acquire, release and poll are all the host's, so a deadline has nobody to race with: it is
 * looked at by the poll, and before a place is given away. A wait that has ended is told by the next poll;
 * all that the I/O thread sees to is the alarm, which wakes a host that sleeps. */
#ifndef MR_API_WAITS_H
#define MR_API_WAITS_H

#include "api/pool_line.h"
#include "moonrabbit.h"

struct mr_waits {
	struct mr_node lines; /* of all pools */
	struct mr_node ended; /* waiters to be told of */
	mr_msec earliest;     /* no deadline of a line is earlier */
	mr_msec alarm;        /* when the host will be woken; never later than `earliest` */
	bool crowd; /* they filled the host's last batch of events: this time they come last */
};

void mr_waits_init(struct mr_waits *waits);
/* Puts a waiter into a line. */
void mr_waits_begin(struct mr_waits *waits, struct mr_pool_line *line,
	struct mr_pool_waiter *waiter, mr_msec deadline);
/* One that is in no line will be told of. */
void mr_waits_end(struct mr_waits *waits, struct mr_pool_waiter *waiter, enum mr_status status);
/* Ends those whose time is up. */
void mr_waits_expire(struct mr_waits *waits, mr_msec now);
/* The alarm is to be set to waits->earliest. It moves only to an earlier time; when it has rung, expire
 * asks for it again. */
static inline bool mr_waits_want_alarm(const struct mr_waits *waits)
{
	return waits->earliest < waits->alarm;
}
/* The MR_EV_DONE of a wait that has ended. False: there is none. */
bool mr_waits_next(struct mr_waits *waits, mr_event *event);

#endif
