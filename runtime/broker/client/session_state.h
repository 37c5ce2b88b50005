/* session_state: one client's connection to the broker: its states, and what it says.
 * SPDX-License-Identifier: MIT
 * Pure. What it hears is session's. */
#ifndef MR_BROKER_CLIENT_SESSION_STATE_H
#define MR_BROKER_CLIENT_SESSION_STATE_H

#include "base/buffer.h"
#include "base/map.h"
#include "broker/client/broker.h"
#include "codec/guard.h"

struct mr_broker_channel;
struct mr_method;

#define MR_SESSION_HIGH (1u << 20) /* bytes not yet sent above which no consumer gets more */

#define MR_SESSION_PATIENCE 10000 /* ms: for a handshake (as RabbitMQ), for a close-ok */
#define MR_REPLY_TEXT_MAX 255     /* a short string */

#define MR_SESSION_FULL (64u << 20) /* bytes not yet sent above which a client is not read from */

/* CLOSING: we said close and wait for close-ok. ENDED: send what is left, then hang up. */
#define MR_BROKER_SESSION_STATES(X)                                                                \
	X(HELLO) X(STARTED) X(TUNING) X(OPENING) X(OPEN) X(CLOSING) X(ENDED)
#define MR_BS_ENUM_(s) MR_BS_##s,
enum mr_broker_session_state { MR_BROKER_SESSION_STATES(MR_BS_ENUM_) MR_BS_COUNT };

/* What takes longer than a turn: see chore.h. */
struct mr_chore {
	struct mr_node node; /* in mr_broker.chores, while it waits for its next turn */
	/* Some of it; false: the turn is over. NULL: it is mr_broker_session.leaving. */
	bool (*step)(struct mr_broker_channel *ch);
	bool settles;        /* what that made room for is given round when it is done */
	bool quits;          /* the channel ends by it */
	uint8_t how;         /* enum mr_settling; 0: each as it is staged */
	uint64_t next, last; /* the tags that are left */
	uint32_t answer;     /* the method that says it is done; 0: none */
	uint32_t count;      /* in the answer */
};

struct mr_broker_session {
	struct mr_node node; /* in broker->sessions */
	struct mr_broker *broker;
	struct mr_vhost *vhost; /* from OPEN on */
	enum mr_broker_session_state state;
	struct mr_guard guard;
	struct mr_buffer out;
	struct mr_map channels; /* of mr_broker_channel, by number */
	struct mr_node queues;  /* of mr_queue.at_owner: the exclusive ones */
	struct mr_chore leaving;
	struct mr_node ruins; /* of mr_target.ruin, for it */
	char *user;
	mr_table *client_properties;
	bool tells_cancel, tells_blocked, tells_login_failure; /* the client's capabilities */
	bool is_blocked;      /* it has been told, and is not read from */
	bool congested;       /* consumers wait until it has been drained */
	bool is_closing;      /* the client said close: it is told when the chores are done */
	bool is_gone;         /* nobody has it any more: it is freed then */
	size_t chores;        /* its own and of its channels, that wait for their next turn */
	uint16_t channel_max; /* how many, not up to which number: as RabbitMQ has it */
	uint32_t frame_max;
	mr_msec heartbeat; /* ms; 0: off */
	mr_msec sent, heard;
	mr_msec give_up;            /* when a handshake or a close takes too long */
	size_t weight;              /* of it, and of what it reads and writes */
	void (*touch)(void *owner); /* there is something to write, or the state changed */
	void *owner;
};

/* The only writer of the state. A move that may not be ends the session; the client is told, with both
 * names. */
void mr_broker_session_enter(struct mr_broker_session *s, enum mr_broker_session_state next);
/* Writes a method; out of memory ends the session. */
void mr_broker_session_put(struct mr_broker_session *s, uint16_t channel,
	const struct mr_method *m);
/* Ends the session without a word. */
void mr_broker_session_end(struct mr_broker_session *s);
/* It published: it is blocked while the alarm lasts. */
void mr_broker_session_published(struct mr_broker_session *s);
void mr_broker_session_check_blocked(struct mr_broker_session *s); /* it may be blocked no more */

#endif
