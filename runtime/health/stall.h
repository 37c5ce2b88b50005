/* stall: reports a host that is at one thing for too long, while it still is.
 * SPDX-License-Identifier: MIT
 * I/O thread. Goes by the real clock: a moved one makes no script spin. */
#ifndef MR_HEALTH_STALL_H
#define MR_HEALTH_STALL_H

#include <ev.h>
#include <sys/types.h>

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
	mr_msec limit;       /* 0: nobody is reported */
	int signal;          /* 0: the host has none to be asked by */
	pid_t host;
	enum mr_stall_state state;
	bool is_waiting;   /* it sat in a system call when we last looked */
	bool has_trace;    /* the report had one */
	uint32_t consumer; /* whose stall it is */
	double turn;
	char queue[256], origin[256]; /* of that consumer, which may have ended since */
	mr_msec began, asked;         /* real clock */
};

/* For the health page. Strings are valid until the loop's next turn. */
struct mr_stall_view {
	bool idle;          /* the host waits for us: all is well */
	bool stalled;       /* at one thing for longer than it may */
	mr_msec busy_for;   /* how long it is at what it is at */
	uint32_t consumer;  /* whose handler runs, 0: none */
	const char *queue;  /* its queue; "" */
	const char *origin; /* "script.lua:12" of its handler; "" */
	const char *where;  /* the traceback, if one was taken; else the origin */
};

void mr_stall_init(struct mr_stall *s, struct ev_loop *loop, struct mr_bridge *bridge,
	const struct mr_log *log);
void mr_stall_fini(struct mr_stall *s); /* also of a zeroed one */
void mr_stall_watch(struct mr_stall *s, mr_msec limit, int signal, pid_t host);
void mr_stall_note(struct mr_stall *s, uint32_t consumer, struct mr_note *note); /* takes */
void mr_stall_view(struct mr_stall *s, struct mr_stall_view *out);

#endif
