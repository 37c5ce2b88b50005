/* waits: for places of pools: which have ended, and when the next one's time is up.
 * SPDX-License-Identifier: MIT
 * Host thread only. Acquire, release and poll are all the host's, so a deadline has nobody to race with: it is
 * looked at by the poll, and before a place is given away. A wait that has ended is told by the next poll,
 * which is all that the I/O thread has to see to: it wakes a host that sleeps at the earliest deadline. */
#ifndef MR_API_WAITS_H
#define MR_API_WAITS_H

#include "base/clock.h"
#include "base/list.h"
#include "moonrabbit.h"

struct mr_pool_request;

struct mr_waits {
	struct mr_node ended; /* requests of pools, to be told */
	mr_msec earliest;     /* no deadline of a line is earlier */
	mr_msec alarm; /* when the I/O thread will wake the host; never later than `earliest` */
};

void mr_waits_init(struct mr_waits *waits);
/* Puts a request into its pool's line. MR_CLOSED: the I/O thread has ended, and nobody waits. */
enum mr_status mr_waits_begin(struct mr_pool_request *r, mr_msec deadline);
/* Of a request that is in no line. */
void mr_waits_end(mr_runtime *rt, struct mr_pool_request *r, enum mr_status status);
/* Ends those whose time is up. */
void mr_waits_expire(mr_runtime *rt);
/* The MR_EV_DONE of a wait that has ended, as the I/O thread would push it. False: there is none. */
bool mr_waits_next(mr_runtime *rt, mr_event *event);

#endif
