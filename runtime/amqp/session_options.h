/* session_options: a session's options and callbacks.
 * SPDX-License-Identifier: MIT
 * Its channels use them, too, through their outlet. */
#ifndef MR_AMQP_SESSION_OPTIONS_H
#define MR_AMQP_SESSION_OPTIONS_H

#include "base/clock.h"
#include "base/delivery.h"
#include "base/histogram.h"
#include "base/slice.h"
#include "base/status.h"

struct mr_login;
struct mr_method;

/* Takes the event and its data. */
typedef void mr_emit(void *owner, const mr_event *event);
/* The broker broke the protocol; `what` describes the violation and its result. */
typedef void mr_odd(void *owner, uint16_t channel, const mr_error *what);

/* A method was read or written, for the flight recorder; id 0: a heartbeat. `consumer`: of a
 * delivery. */
typedef void mr_seen(void *owner, bool is_out, uint16_t channel, const struct mr_method *method,
	uint32_t consumer);

/* Only for the engine: the answer to a delete or an unbind whose token was reported as timed out,
 * or (MR_TOKEN_NONE) the close-ok of a channel without an owner. */
typedef void mr_late(void *owner, uint16_t channel, uint64_t token, enum mr_status status);
/* The token of a request without an owner whose end frees a channel's number: bridge's
 * MR_TOKEN_NOBODY. */
#define MR_TOKEN_NONE UINT64_MAX

/* A message over max_message_size, which was not kept. */
struct mr_too_large {
	mr_slice queue, consumer_tag, exchange,
		routing_key; /* queue and consumer_tag if they are known */
	uint64_t size, limit;
	const char *fate; /* "rejected", "dropped" */
};

/* A consumer without prefetch that got one, because the host is far behind (curb.h). */
struct mr_curbed {
	mr_slice queue, consumer_tag;
	uint32_t prefetch;
};

/* Where a consumer is to be started again. */
struct mr_resume {
	uint32_t consumer;
	bool is_known;   /* it got messages of a stream */
	uint64_t offset; /* if it is known: the first one that it must get */
	mr_msec since;   /* when it was started */
};

struct mr_session_options { /* borrowed until the session is freed */
	const struct mr_login *login;
	uint32_t connection; /* in every event */
	uint64_t max_message_size;
	mr_msec blocked_timeout; /* 0: none */
	struct mr_delivery_pool *pool;
	mr_stats *stats;
	mr_emit *emit; /* this and all other callbacks get `owner` */
	void *owner;
	const uint64_t *clock; /* the current time in us; NULL: confirms are not timed */
	struct mr_histogram *confirm_times;
	/* Takes the block of a body that was written; NULL: it is freed. */
	void (*written)(void *owner, void *block, size_t size);
	mr_odd *odd;            /* may be NULL */
	mr_seen *seen;          /* may be NULL */
	mr_late *late;          /* may be NULL */
	struct mr_tally *tally; /* counts its deliveries; may be NULL */
	void (*too_large)(void *owner, const struct mr_too_large *what); /* may be NULL */
	void (*curbed)(void *owner, const struct mr_curbed *what);       /* may be NULL */
	/* A queue was declared, not passively; may be NULL. */
	void (*declared)(void *owner, mr_slice queue, bool is_single_active);
	/* True if a second consumer of this queue does no harm (curb.h). Called when a curb is due.
	 * NULL: true for every queue. */
	bool (*may_curb)(void *owner, mr_slice queue);
	/* A consumer has ended; may be NULL. */
	void (*resume)(void *owner, const struct mr_resume *at);
	/* The broker refused a curb, and therefore closed the channel or the connection; may be
	 * NULL. */
	void (*curb_refused)(void *owner, const mr_error *why);
};

#endif
