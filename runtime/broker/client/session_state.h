/* session_state: one client's connection to the broker: its states and its output.
 * SPDX-License-Identifier: MIT
 * Pure. session handles the input. */
#ifndef MR_BROKER_CLIENT_SESSION_STATE_H
#define MR_BROKER_CLIENT_SESSION_STATE_H

#include "base/buffer.h"
#include "base/map.h"
#include "broker/client/broker.h"
#include "codec/guard.h"

struct mr_await;
struct mr_broker_channel;
struct mr_method;

#define MR_SESSION_HIGH (1u << 20) /* above this many unsent bytes consumers get no deliveries */

#define MR_SESSION_PATIENCE 10000 /* ms for a handshake (as in RabbitMQ), and for a close-ok */
#define MR_REPLY_TEXT_MAX 255     /* a short string */

#define MR_SESSION_FULL (64u << 20) /* above this many unsent bytes a client is not read */

/* CLOSING: the broker sent close and waits for close-ok. ENDED: sends the output, then hangs up. */
#define MR_BROKER_SESSION_STATES(X)                                                                \
	X(HELLO) X(STARTED) X(TUNING) X(OPENING) X(OPEN) X(CLOSING) X(ENDED)
#define MR_BS_ENUM_(s) MR_BS_##s,
enum mr_broker_session_state { MR_BROKER_SESSION_STATES(MR_BS_ENUM_) MR_BS_COUNT };

/* Work that takes longer than a turn: see chore.h. */
struct mr_chore {
	struct mr_node node; /* in mr_broker.chores, while it waits for its next turn */
	/* Does a part of it; false: the turn is over. NULL: it is mr_broker_session.leaving. */
	bool (*step)(struct mr_broker_channel *ch);
	bool settles;        /* deliveries for which it makes room are sent at its end */
	bool quits;          /* it ends the channel */
	uint8_t how;         /* enum mr_settling; 0: as staged */
	uint64_t next, last; /* the remaining tags */
	uint32_t answer;     /* the method to send at its end; 0: none */
	uint32_t count;      /* in the answer */
};

struct mr_broker_session {
	struct mr_node node; /* in broker->sessions */
	struct mr_broker *broker;
	uint64_t number;        /* in the order of connecting */
	struct mr_vhost *vhost; /* from OPEN on */
	enum mr_broker_session_state state;
	struct mr_guard guard;
	struct mr_buffer out;
	struct mr_map channels; /* of mr_broker_channel, by number */
	struct mr_node queues;  /* of mr_queue.at_owner: the exclusive ones */
	struct mr_chore leaving;
	struct mr_node ruins; /* of mr_target.ruin, for `leaving` */
	char *user;
	mr_table *client_properties;
	bool tells_cancel, tells_blocked, tells_login_failure; /* the client's capabilities */
	bool is_blocked;      /* connection.blocked was sent, and it is not read */
	bool congested;       /* consumers wait until the output was written */
	bool is_closing;      /* the client sent close: the answer follows after the chores */
	bool is_gone;         /* the connection is closed: freed after the chores */
	size_t chores;        /* waiting chores of the session and its channels */
	uint16_t channel_max; /* the number of channels, not the highest number: as in RabbitMQ */
	uint32_t frame_max;
	mr_msec heartbeat; /* ms; 0: off */
	mr_msec sent, heard;
	mr_msec give_up; /* when a handshake or a close takes too long */
	size_t weight;   /* with its input and output */
	/* An answer of the backing has come for a channel: session.c sets it. */
	void (*on_answer)(struct mr_broker_channel *ch, struct mr_await *a);
	void (*touch)(void *owner); /* there is output, or the state has changed */
	void *owner;
};

/* The only function that writes the state. An illegal move ends the session; the close that is sent
 * names both states. */
void mr_broker_session_enter(struct mr_broker_session *s, enum mr_broker_session_state next);
/* Writes a method; out of memory ends the session. */
void mr_broker_session_put(struct mr_broker_session *s, uint16_t channel,
	const struct mr_method *m);
/* Ends the session without a close. */
void mr_broker_session_end(struct mr_broker_session *s);
/* The client has published: it is blocked while there is an alarm. */
void mr_broker_session_published(struct mr_broker_session *s);
void mr_broker_session_check_blocked(struct mr_broker_session *s); /* unblocks it if possible */

#endif
