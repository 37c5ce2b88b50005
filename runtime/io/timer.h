/* timer: deadlines on the library's clock, which tests can advance.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_IO_TIMER_H
#define MR_IO_TIMER_H

#include "base/clock.h"
#include "base/ev.h"
#include "base/list.h"

struct mr_timers { /* all armed timers of one loop */
	struct ev_loop *loop;
	struct mr_node armed;
};

struct mr_timer {
	ev_timer ev; /* first; ev.data is the owner */
	struct mr_timers *all;
	struct mr_node node;
	mr_msec at;
};

typedef void mr_timer_fired(struct ev_loop *loop, ev_timer *timer, int revents);

void mr_timers_init(struct mr_timers *all, struct ev_loop *loop);
void mr_timers_clock_moved(struct mr_timers *all); /* timers that have become due fire */
void mr_timer_init(struct mr_timer *t, struct mr_timers *all, mr_timer_fired *fired, void *owner);
void mr_timer_arm(struct mr_timer *t, mr_msec at); /* MR_NEVER stops it */
void mr_timer_stop(struct mr_timer *t);            /* `t` may be zeroed */

#endif
