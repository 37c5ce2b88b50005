/* recovery_state: what a recovery is made of, and what it asks of its link.
 * SPDX-License-Identifier: MIT
 * I/O thread. For recovery.c, replay.c and repair.c, which are above it; others include recovery.h. None of them
 * knows the link or its session: all that they ask goes through the port, so a test can be the link. */
#ifndef MR_LINK_RECOVERY_STATE_H
#define MR_LINK_RECOVERY_STATE_H

#include "amqp/handshake.h"
#include "amqp/session_options.h"
#include "amqp/session_phase.h"
#include "config/config.h"
#include "io/services.h"
#include "link/plan.h"

#define MR_RECOVERY_OURS (UINT64_C(1) << 63)   /* marks the tokens of recovery's own requests */
#define MR_RECOVERY_EPOCHS (UINT32_C(1) << 31) /* and its epochs: the host's are below */

#define MR_RECOVERY_LINES                                                                          \
	10 /* of failures, and of closed channels, that one recovery logs; the rest at debug */

enum mr_ask_kind { MR_ASK_OPEN, MR_ASK_REQUEST, MR_ASK_CLOSE };

/* Something that the broker is asked for: its end is an MR_EV_DONE with the token, among the session's events. */
struct mr_ask {
	enum mr_ask_kind kind;
	uint16_t channel;
	uint32_t epoch;
	uint64_t token; /* 0: nobody wants to hear of its end */
	mr_msec deadline;
	const mr_request *request; /* of MR_ASK_REQUEST: borrowed */
};

struct mr_recovery_port {
	void *owner;
	/* The events of the session, such as a channel's end, may come while it runs: mr_recovery_takes. */
	void (*ask)(void *owner, const struct mr_ask *ask);
	bool (*has_channel)(void *owner, uint16_t number); /* at the broker */
	enum mr_session_state (*state)(void *owner);       /* of the session */
	void (*touch)(void *owner); /* mr_replay_go_on is to be called soon */
	void (*retry)(void *owner); /* the time for the next connect has come */
	/* All is back that could be brought back; the report is taken. */
	void (*recovered)(void *owner, uint32_t restored, mr_table *report);
	void (*push)(void *owner, const mr_event *event); /* to the host, as it is; taken */
};

/* Invariants. While `opened_at` is not 0 the connection is open; `plan` has steps only then. One step is
 * asked for at a time: `waiting` until its answer has come, `answered` until go_on has judged it. */
struct mr_recovery {
	struct mr_services *services;
	const struct mr_config *config;
	uint32_t connection; /* on every event */
	struct mr_recovery_port port;
	struct mr_topology topology;
	struct mr_map asked; /* struct asked by token: requests of the host that may be recorded */
	uint64_t random;

	/* The next try to connect. */
	bool was_open;     /* since the program asked for the connection */
	bool host_decides; /* by a policy of its own; ours is the fallback */
	int64_t attempt;   /* retries since it was last open for a while */
	mr_msec opened_at, lost_at;
	struct mr_timer retry;

	/* The next try to bring a channel or a consumer back on the open connection, or a step again. */
	struct mr_timer repair;
	int64_t repairs;     /* in a row that failed */
	mr_error repair_why; /* of the last thing that broke */

	/* The plan under way: what to ask the broker for, one after the other. */
	struct mr_plan plan;
	bool is_whole; /* of the connection, not of one channel or consumer */
	bool waiting;  /* for the answer to `token` */
	bool answered; /* it has come: `error`, `name` */
	uint64_t token, tokens;
	mr_error error;
	char name[256];
	uint16_t channel_max, heartbeat; /* of this connection, as the broker agreed to */
	mr_msec locked_since; /* something is held by a connection that has died: 0 not */
	bool is_pausing;      /* until `repair` fires: then what is locked is asked for again */
	uint64_t checked;     /* the consumer whose queue was looked for last */
	uint16_t scratch; /* number of the channel that tries whether a queue is there; 0: none */
	uint32_t scratch_epoch;

	/* What is said of it at the end. */
	uint32_t restored, failures;
	uint32_t closed; /* channels that failures have cost */
	mr_table *report;
	mr_table *failed; /* a list within the report */
};

void mr_recovery_push(struct mr_recovery *r, const mr_event *event);
/* RETRYING or REPAIRING: the number of the next try, and the ms until it. */
void mr_recovery_tell_try(struct mr_recovery *r, enum mr_connection_state state, uint16_t channel,
	int64_t attempt, mr_msec delay, const mr_error *why);
double mr_recovery_chance(struct mr_recovery *r); /* 0 to 1, without 1 */

/* Plans to bring all back, or what is broken, instead of what was planned. False: there is nothing to do, or no
 * memory. */
bool mr_recovery_plan(struct mr_recovery *r, bool is_whole);
void mr_recovery_drop_plan(struct mr_recovery *r);

/* Recovery's error is why; the host is told. */
void mr_recovery_tell_consumer_failed(struct mr_recovery *r, const struct mr_record *record);
void mr_recovery_give_channel_up(struct mr_recovery *r, uint16_t number);

#endif
