/* session: one client's connection to the broker, without its socket.
 * SPDX-License-Identifier: MIT
 * Pure: bytes and `now` in, bytes and the next deadline out. */
#ifndef MR_BROKER_CLIENT_SESSION_H
#define MR_BROKER_CLIENT_SESSION_H

#include "base/buffer.h"
#include "base/map.h"
#include "broker/client/broker.h"
#include "broker/client/chore.h"
#include "codec/guard.h"

struct mr_client_method;
struct mr_method;

#define MR_SESSION_HIGH (1u << 20) /* bytes not yet sent above which no consumer gets more */

#define MR_SESSION_FULL (64u << 20) /* bytes not yet sent above which a client is not read from */

/* CLOSING: we said close and wait for close-ok. ENDED: send what is left, then hang up. */
#define MR_BROKER_SESSION_STATES(X)                                                                \
	X(HELLO) X(STARTED) X(TUNING) X(OPENING) X(OPEN) X(CLOSING) X(ENDED)
#define MR_BS_ENUM_(s) MR_BS_##s,
enum mr_broker_session_state { MR_BROKER_SESSION_STATES(MR_BS_ENUM_) MR_BS_COUNT };

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

struct mr_broker_session_options {
	void (*touch)(void *owner);
	void *owner;
};

/* The only writer of the state. A move that may not be ends the session; the client is told, with both
 * names. */
void mr_broker_session_enter(struct mr_broker_session *s, enum mr_broker_session_state next);
/* *gives*; NULL when out of memory. */
struct mr_broker_session *mr_broker_session_open(struct mr_broker *b,
	const struct mr_broker_session_options *options);
/* The connection is gone: consumers end, unsettled messages go back, exclusive queues go. Takes NULL. */
void mr_broker_session_close(struct mr_broker_session *s);

/* Reads as far as whole frames go; returns the bytes used. *want: how many must be there in all to
 * go on (at least). Also stops when the turn is over (mr_broker_is_spent). b->store.now must be set. */
size_t mr_broker_session_feed(struct mr_broker_session *s, const uint8_t *data, size_t size,
	size_t *want);
bool mr_broker_session_reads(const struct mr_broker_session *s); /* false: leave the socket alone */
static inline struct mr_buffer *mr_broker_session_output(struct mr_broker_session *s)
{
	return &s->out;
}
/* Bytes have left; consumers that waited for room go on. */
void mr_broker_session_wrote(struct mr_broker_session *s);
void mr_broker_session_tick(struct mr_broker_session *s); /* heartbeats, patience */
/* Has its memory counted anew; `kept` bytes of it wait to be read. */
void mr_broker_session_weigh(struct mr_broker_session *s, size_t kept);
mr_msec mr_broker_session_deadline(const struct mr_broker_session *s);
/* Says connection.close and waits for the answer. */
void mr_broker_session_shut(struct mr_broker_session *s, int code, const char *text,
	uint32_t failing);
void mr_broker_session_check_blocked(struct mr_broker_session *s);
void mr_broker_session_chore_done(struct mr_broker_session *s); /* it may be freed by it */

/* For channels: writes a method; out of memory ends the session. */
void mr_broker_session_put(struct mr_broker_session *s, uint16_t channel,
	const struct mr_method *m);
/* Ends the session without a word. */
void mr_broker_session_end(struct mr_broker_session *s);
/* It published: it is blocked while the alarm lasts. */
void mr_broker_session_published(struct mr_broker_session *s);

/* login.c: methods of channel 0 before the connection is open. MR_OK, or why it ends. */
enum mr_status mr_broker_login_method(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error);
void mr_broker_login_start(struct mr_broker_session *s);

#endif
