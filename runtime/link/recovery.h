/* recovery: brings a lost connection back, and what the program had on it.
 * SPDX-License-Identifier: MIT
 * I/O thread. A link owns one. What the host is told: MR_EV_CONNECTION lost, retrying, open, recovered
 * or gave up; for each channel MR_EV_CHANNEL with status ok: again (a new epoch), then ready. */
#ifndef MR_LINK_RECOVERY_H
#define MR_LINK_RECOVERY_H

#include "amqp/topology.h"
#include "io/timer.h"

struct mr_command;
struct mr_link;
struct mr_step;

#define MR_RECOVERY_LINES                                                                          \
	10 /* of failures, and of closed channels, that one recovery logs; the rest at debug */

struct mr_recovery {
	struct mr_link *link;
	struct mr_topology topology;
	struct mr_map asked; /* struct asked by token: requests of the host that may be recorded */
	bool was_open;       /* since the program asked for the connection */
	bool host_decides;   /* by a policy of its own; ours is the fallback */
	int64_t attempt;     /* retries since it was last open for a while */
	mr_msec opened_at, lost_at;
	struct mr_timer retry; /* the next try to connect */
	struct mr_timer
		repair;  /* the next try to bring a channel or a consumer back, or a step again */
	int64_t repairs; /* in a row that failed */
	mr_error repair_why; /* of the last thing that broke */
	uint64_t random;
	/* The plan under way: what to ask the broker for, one after the other. */
	struct mr_node steps; /* of mr_step; the first is under way */
	uint32_t plans;       /* number of the plan */
	bool is_whole;        /* of the connection, not of one channel or consumer */
	bool waiting;         /* for the answer to `token` */
	bool answered;        /* it has come: `status`, `error`, `name` */
	uint64_t token, tokens;
	mr_error error;
	char name[256];
	mr_msec locked_since; /* something is held by a connection that has died: 0 not */
	bool is_pausing;      /* until `repair` fires: then what is locked is asked for again */
	bool scratch_slow;    /* as mr_channel_record has it */
	uint64_t checked;     /* the consumer whose queue was looked for last */
	uint16_t scratch; /* number of the channel that tries whether a queue is there; 0: none */
	uint32_t scratch_epoch;
	uint32_t restored, failures;
	uint32_t closed; /* channels that failures have cost */
	mr_table *report;
	mr_table *failed; /* a list within the report */
};

enum mr_status mr_recovery_init(struct mr_recovery *r, struct mr_link *link);
void mr_recovery_fini(struct mr_recovery *r);

/* The program wants the connection, or wants it no more. */
void mr_recovery_begin(struct mr_recovery *r);
void mr_recovery_end(struct mr_recovery *r);
/* Will a connection that is lost now, or a try that fails, be followed by another? */
bool mr_recovery_would_retry(const struct mr_recovery *r, int kind);
/* Plans the next try, and tells the host. */
void mr_recovery_retry(struct mr_recovery *r, const mr_error *why);
/* Says so in the log: at once, or when the host has decided. */
void mr_recovery_log_retry(struct mr_recovery *r, int kind, mr_msec delay);
/* The connection is open. False: there is nothing to bring back. */
bool mr_recovery_opened(struct mr_recovery *r);
/* The session has gone: what was being brought back waits for the next one. */
void mr_recovery_lost(struct mr_recovery *r);
/* An event of the session on its way to the host. True: it is recovery's own, and taken. */
bool mr_recovery_takes(struct mr_recovery *r, mr_event *event);
/* Goes on with the plan; may call the session. */
void mr_recovery_go_on(struct mr_recovery *r);

/* Commands of the host that recovery must know of. */
void mr_recovery_channel_asked(struct mr_recovery *r, const struct mr_command *command);
void mr_recovery_channel_closed(struct mr_recovery *r, uint16_t number);
/* A consumer that is away must not come back; one that is back already is cancelled. */
void mr_recovery_forget(struct mr_recovery *r, uint32_t consumer);
/* Takes the copy until its answer comes; false: out of memory, nothing was taken. */
bool mr_recovery_asked(struct mr_recovery *r, const struct mr_command *command);

#endif
