/* mark: what the host thread is at, for whoever asks on the I/O thread.
 * SPDX-License-Identifier: MIT
 * Each function says its side. The host marks with plain stores, so that it may do so for each message;
 * what is read of them may be of slightly different moments. */
#ifndef MR_BRIDGE_MARK_H
#define MR_BRIDGE_MARK_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/status.h"

#define MR_TRACE_MAX 4096 /* bytes of a traceback, the end included */

struct mr_mark_shared {
	mr_mark mark;              /* host: what it is at */
	atomic_int_least64_t left; /* host: when it last left mr_runtime_poll; 0: it is within */
	_Atomic double turn_left;  /* host: mark.turn at that time */
	atomic_bool lent;          /* host: that poll gave nothing and did not wait */
	atomic_int trace_state;    /* whose `trace` is: enum trace_state in mark.c */
	char trace[MR_TRACE_MAX];
	mr_msec seen_left, seen_at; /* I/O: when this turn was first seen */
	double seen_turn;
};

/* What the I/O thread can tell of the host. */
struct mr_mark_view {
	bool idle;        /* it waits for us, or sleeps in a loop of its own */
	mr_msec busy_for; /* since when it is at what it is at; after the first turn since the last poll it
	                      is counted from when it was first seen, so up to a look too little */
	uint32_t consumer; /* whose handler runs; 0: none, or the host does not say */
	double turn;
	double deadline; /* mr_now's clock; 0: none */
};

/* Either side, before the other starts. */
void mr_mark_init(struct mr_mark_shared *p, mr_msec now);
/* Host: it enters mr_runtime_poll, and leaves it. `lent`: nothing came and it did not wait, as a host
 * does that sleeps in a loop of its own. `now` is of mr_clock_real. */
void mr_mark_enter(struct mr_mark_shared *p);
void mr_mark_leave(struct mr_mark_shared *p, mr_msec now, bool lent);
/* I/O: `asleep`: the host was not woken since it went to sleep in its own loop. */
void mr_mark_look(struct mr_mark_shared *p, mr_msec now, bool asleep, struct mr_mark_view *out);

/* A traceback goes from the host to the I/O thread, one at a time: asked for, given, taken. */
void mr_mark_ask_trace(struct mr_mark_shared *p);      /* I/O; forgets an earlier one */
bool mr_mark_is_asked(const struct mr_mark_shared *p); /* host */
bool mr_mark_give_trace(struct mr_mark_shared *p, const char *text, size_t size); /* host */
/* I/O: the text that was given, valid until the next ask or drop; NULL: there is none. */
const char *mr_mark_trace(const struct mr_mark_shared *p);
void mr_mark_drop_trace(struct mr_mark_shared *p); /* I/O */

#endif
