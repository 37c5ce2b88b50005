/* ev: libev, without its names being visible to the host or the host's to it.
 * SPDX-License-Identifier: MIT
 * A host may have a libev of its own that exports `ev_run` and its kin (rspamd does): calls bound by
 * the dynamic linker would land there. So libev.so.4 is opened by hand, and binds to itself
 * first; its functions are called through this table. */
#ifndef MR_BASE_EV_H
#define MR_BASE_EV_H

#include <ev.h>

/* X(result, name, arguments) */
#define MR_EV_CALLS(X)                                                                             \
	X(void, feed_event, (struct ev_loop *, void *, int))                                       \
	X(void, invoke_pending, (struct ev_loop *))                                                \
	X(void, io_start, (struct ev_loop *, ev_io *))                                             \
	X(void, io_stop, (struct ev_loop *, ev_io *))                                              \
	X(void, loop_destroy, (struct ev_loop *))                                                  \
	X(struct ev_loop *, loop_new, (unsigned))                                                  \
	X(ev_tstamp, now, (struct ev_loop *))                                                      \
	X(void, now_update, (struct ev_loop *))                                                    \
	X(int, run, (struct ev_loop *, int))                                                       \
	X(void, timer_again, (struct ev_loop *, ev_timer *))                                       \
	X(void, timer_start, (struct ev_loop *, ev_timer *))                                       \
	X(void, timer_stop, (struct ev_loop *, ev_timer *))

#define MR_EV_MEMBER(result, name, arguments) result(*name) arguments;
struct mr_ev_calls {
	MR_EV_CALLS(MR_EV_MEMBER)
};
extern struct mr_ev_calls mr_ev; /* filled before main, or as the library is loaded */

/* A loop that leaves signals and the environment alone. NULL: no memory, or libev.so.4 could not be
 * loaded, which a line on stderr has said. */
struct ev_loop *mr_ev_open(void);

#define ev_feed_event mr_ev.feed_event
#define ev_invoke_pending mr_ev.invoke_pending
#define ev_io_start mr_ev.io_start
#define ev_io_stop mr_ev.io_stop
#define ev_loop_destroy mr_ev.loop_destroy
#define ev_loop_new mr_ev.loop_new
#define ev_now mr_ev.now
#define ev_now_update mr_ev.now_update
#define ev_run mr_ev.run
#define ev_timer_again mr_ev.timer_again
#define ev_timer_start mr_ev.timer_start
#define ev_timer_stop mr_ev.timer_stop

#endif
