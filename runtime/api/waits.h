/* waits: the waits for places of all pools: which have ended, and the next deadline.
 * SPDX-License-Identifier: MIT
 * Pure: the caller passes `now`. Acquire, release and poll all run on the host thread, so deadlines
 * cannot race: they are checked by each poll, and before a place is given away. The next poll
 * reports the end of a wait; the I/O thread only has an alarm, which wakes a sleeping host. */
#ifndef MR_API_WAITS_H
#define MR_API_WAITS_H

#include "api/pool_line.h"
#include "moonrabbit.h"

struct mr_waits {
	struct mr_node lines; /* of all pools */
	struct mr_node ended; /* waiters whose end was not reported yet */
	mr_msec earliest;     /* no deadline of a line is earlier */
	mr_msec alarm;        /* when the host will be woken; never later than `earliest` */
	bool crowd; /* they filled the host's last batch of events: in the next they come last */
};

void mr_waits_init(struct mr_waits *waits);
/* Puts a waiter into a line. */
void mr_waits_begin(struct mr_waits *waits, struct mr_pool_line *line,
	struct mr_pool_waiter *waiter, mr_msec deadline);
/* Will report the end of a waiter that is in no line. */
void mr_waits_end(struct mr_waits *waits, struct mr_pool_waiter *waiter, enum mr_status status);
/* Ends waits that have timed out. */
void mr_waits_expire(struct mr_waits *waits, mr_msec now);
/* True if the alarm must be set to waits->earliest. It only moves to an earlier time; after it has
 * fired, expire makes this true again. */
static inline bool mr_waits_want_alarm(const struct mr_waits *waits)
{
	return waits->earliest < waits->alarm;
}
/* The MR_EV_DONE of a wait that has ended. False: there is none. */
bool mr_waits_next(struct mr_waits *waits, mr_event *event);

#endif
