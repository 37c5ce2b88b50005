/* mark: the host thread's current work, as seen by the I/O thread.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. The host writes with plain stores, which is cheap enough
 * to do for each message; the values that the I/O thread reads may differ in age. */
#ifndef MR_BRIDGE_MARK_H
#define MR_BRIDGE_MARK_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/status.h"

#define MR_TRACE_MAX 4096 /* bytes of a traceback, with the NUL */

struct mr_mark_shared {
	mr_mark mark;              /* host: its current work */
	atomic_int_least64_t left; /* host: when it last left mr_runtime_poll; 0: it is in a poll */
	_Atomic double turn_left;  /* host: mark.turn at that time */
	atomic_bool lent;          /* host: that poll returned no event and did not wait */
	atomic_int trace_state;    /* the owner of `trace`: enum trace_state in mark.c */
	char trace[MR_TRACE_MAX];
	mr_msec seen_left, seen_at; /* I/O: when this turn was first seen */
	double seen_turn;
};

/* What the I/O thread knows about the host. */
struct mr_mark_view {
	bool idle; /* it waits in a poll, or sleeps in its own event loop */
	/* How long the current work takes. After the first turn since the last poll this is the
	 * time since the turn was first seen, so it may be too short by one interval of looks. */
	mr_msec busy_for;
	uint32_t consumer; /* the consumer whose handler runs; 0: none or unknown */
	double turn;
	double deadline; /* mr_now's clock; 0: none */
};

/* Either side, before the other starts. */
void mr_mark_init(struct mr_mark_shared *p, mr_msec now);
/* Host: it enters mr_runtime_poll, and leaves it. `lent`: the poll returned no event and did not
 * wait, so the host may sleep in its own event loop. `now` is from mr_clock_real. */
void mr_mark_enter(struct mr_mark_shared *p);
void mr_mark_leave(struct mr_mark_shared *p, mr_msec now, bool lent);
/* I/O: `asleep`: the host was not woken since it went to sleep in its own event loop. */
void mr_mark_look(struct mr_mark_shared *p, mr_msec now, bool asleep, struct mr_mark_view *out);

double mr_mark_memory(const struct mr_mark_shared *p); /* I/O: mark.memory */

/* The host passes tracebacks to the I/O thread, one at a time: requested, given, taken. */
void mr_mark_ask_trace(struct mr_mark_shared *p);      /* I/O; drops an earlier one */
bool mr_mark_is_asked(const struct mr_mark_shared *p); /* host */
bool mr_mark_give_trace(struct mr_mark_shared *p, const char *text, size_t size); /* host */
/* I/O: the host's text, valid until the next ask or drop; NULL: there is none. */
const char *mr_mark_trace(const struct mr_mark_shared *p);
void mr_mark_drop_trace(struct mr_mark_shared *p); /* I/O */

#endif
