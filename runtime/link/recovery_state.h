/* recovery_state: the state of a recovery, and the port to its link.
 * SPDX-License-Identifier: MIT
 * I/O thread. For recovery.c, replay.c and repair.c; others include recovery.h. None of them knows
 * the link or its session: they use only the port, so that a test can replace the link. */
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
	10 /* failures, and closed channels, that one recovery logs; further ones are at debug */

enum mr_ask_kind { MR_ASK_OPEN, MR_ASK_REQUEST, MR_ASK_CLOSE };

/* A request to the broker: it ends with an MR_EV_DONE with this token, among the session's
 * events. */
struct mr_ask {
	enum mr_ask_kind kind;
	uint16_t channel;
	uint32_t epoch;
	uint64_t token; /* 0: its end is not reported */
	mr_msec deadline;
	const mr_request *request; /* of MR_ASK_REQUEST: borrowed */
};

struct mr_recovery_port {
	void *owner;
	/* During the call the session may emit events, such as a channel's end:
	 * mr_recovery_takes. */
	void (*ask)(void *owner, const struct mr_ask *ask);
	bool (*has_channel)(void *owner, uint16_t number); /* at the broker */
	/* No message has come for this consumer since the last call. `is_of_queue`: earlier ones
	 * have shown that it reads no stream. */
	bool (*rests)(void *owner, const struct mr_record *consumer, bool *is_of_queue);
	enum mr_session_state (*state)(void *owner); /* of the session */
	void (*touch)(void *owner);                  /* mr_replay_go_on must be called soon */
	void (*retry)(void *owner);                  /* it is time for the next connect */
	/* Most of it is restored: a part that the broker keeps waiting does not hold up who waits
	 * for the connection. */
	void (*usable)(void *owner);
	/* Recovery is complete, except for failures; the report is taken. */
	void (*recovered)(void *owner, uint32_t restored, mr_table *report);
	void (*push)(void *owner, const mr_event *event); /* to the host, unchanged; taken */
};

/* A request of a track's step. */
struct mr_asked {
	uint64_t token;
	bool waiting;  /* for the answer to `token` */
	bool answered; /* it has arrived: `error`, `name` */
	mr_error error;
	char name[256];
	uint32_t consumers, messages; /* of the queue */
	uint64_t checked;             /* the consumer whose queue was checked last */
	mr_msec until;                /* of a pause, or of the patience before ready; 0: neither */
};

/* Invariants. The connection is open while `opened_at` is not 0; `plan` has tracks only then. Each
 * track requests one step at a time: `waiting` until its answer has arrived, `answered` until go_on
 * has handled it. */
struct mr_recovery {
	struct mr_services *services;
	const struct mr_config *config;
	uint32_t connection; /* in every event */
	struct mr_recovery_port port;
	struct mr_topology topology;
	struct mr_map asked; /* struct asked by token: the host's requests that may be recorded */
	uint64_t random;

	/* The next try to connect. */
	bool was_open;     /* since the program asked for the connection */
	bool host_decides; /* the host has a policy; the built-in back-off is the fallback */
	int64_t attempt;   /* retries since it was last open for a while */
	mr_msec opened_at, lost_at;
	struct mr_timer retry;

	/* The next try to restore a channel or a consumer on the open connection. */
	struct mr_timer repair;
	int64_t repairs;            /* consecutive failures */
	const mr_error *repair_why; /* kept (mr_error_keep): why the last object broke */

	struct mr_timer idle; /* the next look at consumers without messages */

	/* The current plan: the requests to the broker, in tracks side by side. */
	struct mr_plan plan;
	bool is_whole;    /* the whole connection is being restored, not one channel or consumer */
	bool is_put_off;  /* there was no memory for the plan of it: it is made later */
	bool is_usable;   /* what waits for the connection need not wait for the rest of it */
	uint32_t waiting; /* tracks whose request is not answered */
	uint64_t tokens;
	struct mr_timer pace;            /* the next end of a pause or of a patience */
	uint16_t channel_max, heartbeat; /* of this connection, as negotiated */
	mr_msec locked_since;            /* since when a dead connection holds an object; 0: none */
	uint16_t scratch; /* number of the channel that checks whether queues exist; 0: none */
	uint32_t scratch_epoch;
	const struct mr_track *scratch_user; /* the track whose steps it is for; NULL: none */
	const struct mr_track *scratch_last; /* its last user; it may be gone */
	bool scratch_wanted;                 /* by another one since */
	uint32_t opened;                     /* channels that the broker has opened for this plan */
	/* A restored channel was beyond the user's limit, and cost the connection: once in this
	 * recovery, or again. */
	bool met_limit;
	const mr_error *over_limit; /* kept (mr_error_keep) */
	uint32_t most;              /* then: channels that the next plan opens */

	/* For the report at the end. */
	uint32_t restored, failures;
	uint32_t closed; /* channels that failures have closed */
	mr_table *report;
	mr_table *failed; /* a list within the report */
};

void mr_recovery_push(struct mr_recovery *r, const mr_event *event);
/* RETRYING or REPAIRING: the number of the next try, and the ms until it. */
void mr_recovery_tell_try(struct mr_recovery *r, enum mr_connection_state state, uint16_t channel,
	int64_t attempt, mr_msec delay, const mr_error *why);
double mr_recovery_chance(struct mr_recovery *r); /* 0 to 1, without 1 */

/* Plans to restore everything, or, beside what is planned, what is broken. False: there is nothing
 * to do, or no memory; what has no track then must be planned later (everything: is_put_off). */
bool mr_recovery_plan(struct mr_recovery *r, bool is_whole);
/* Plans to look at a consumer. False: no memory. */
bool mr_recovery_plan_look(struct mr_recovery *r, const struct mr_record *consumer);
void mr_recovery_drop_plan(struct mr_recovery *r);
/* The track has no more steps. */
void mr_recovery_end_track(struct mr_recovery *r, struct mr_track *track);

/* Report a failure to the host. */
void mr_recovery_tell_consumer_failed(struct mr_recovery *r, const struct mr_record *record,
	const mr_error *why);
void mr_recovery_give_channel_up(struct mr_recovery *r, uint16_t number, const mr_error *why);

#endif
