/* stall: reports a host whose current work takes too long, during the stall.
 * SPDX-License-Identifier: MIT
 * I/O thread. Uses the real clock, so that advancing the clock causes no stall. */
#ifndef MR_HEALTH_STALL_H
#define MR_HEALTH_STALL_H

#include <sys/types.h>

#include "base/ev.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/bridge.h"

enum mr_stall_state { MR_STALL_NONE, MR_STALL_ASKING, MR_STALL_REPORTED };

struct mr_stall {
	struct ev_loop *loop;
	struct mr_bridge *bridge;
	const struct mr_log *log; /* the engine's */
	ev_timer tick;
	struct mr_map notes; /* struct mr_note by consumer */
	mr_msec limit;       /* 0: stalls are not reported */
	mr_msec every;       /* ms between two looks: what the notes and the limit need */
	bool is_every_old;   /* a note was removed since that was counted */
	int signal;          /* sent to request a trace; 0: none */
	pid_t host;
	enum mr_stall_state state;
	bool is_waiting;   /* it was in a system call at the last look */
	bool has_trace;    /* the report had a trace */
	uint32_t consumer; /* the consumer whose handler stalls */
	double turn;
	char queue[256], origin[256]; /* of that consumer, which may have ended since */
	mr_msec began, asked;         /* real clock */
};

/* For the health page. Strings are valid until the loop's next turn. */
struct mr_stall_view {
	bool idle;          /* the host waits for events */
	bool stalled;       /* the current work exceeds the limit */
	mr_msec busy_for;   /* the duration of the current work */
	uint32_t consumer;  /* the consumer whose handler runs; 0: none */
	const char *queue;  /* its queue; "" */
	const char *origin; /* "script.lua:12" of its handler; "" */
	const char *where;  /* the traceback, if one was taken; else the origin */
};

void mr_stall_init(struct mr_stall *s, struct ev_loop *loop, struct mr_bridge *bridge,
	const struct mr_log *log);
void mr_stall_fini(struct mr_stall *s); /* `s` may be zeroed */
void mr_stall_watch(struct mr_stall *s, mr_msec limit, int signal, pid_t host);
void mr_stall_note(struct mr_stall *s, uint32_t consumer, struct mr_note *note); /* takes */
void mr_stall_view(struct mr_stall *s, struct mr_stall_view *out);

#endif
