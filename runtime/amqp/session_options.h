/* session_options: what a session is given, and how it tells what happens to it.
 * SPDX-License-Identifier: MIT
 * Its channels see them, too, through their outlet. */
#ifndef MR_AMQP_SESSION_OPTIONS_H
#define MR_AMQP_SESSION_OPTIONS_H

#include "base/clock.h"
#include "base/delivery.h"
#include "base/histogram.h"
#include "base/slice.h"
#include "base/status.h"

struct mr_login;

/* Takes the event and what it carries. */
typedef void mr_emit(void *owner, const mr_event *event);
/* The broker broke the protocol; `what` says how, and what it cost. */
typedef void mr_odd(void *owner, uint16_t channel, const mr_error *what);

/* For the engine alone: here is the answer to a delete or an unbind whose token was told to have timed out, or
 * (MR_TOKEN_NONE) the close-ok of a channel that nobody waits for. */
typedef void mr_late(void *owner, uint16_t channel, uint64_t token, enum mr_status status);
/* The detail of the MR_EV_DONE that the engine makes of the first. */
/* The token of what nobody waits for, but whose end lets a channel's number go: bridge's MR_TOKEN_NOBODY. */
#define MR_TOKEN_NONE UINT64_MAX

/* A message that was over max_message_size, and so was not kept. */
struct mr_too_large {
	mr_slice queue, consumer_tag, exchange,
		routing_key; /* the first two as far as they are known */
	uint64_t size, limit;
	const char *fate; /* what became of it: "rejected", "dropped" */
};

/* A consumer without prefetch that got one, as the host is far behind (curb.h). */
struct mr_curbed {
	mr_slice queue, consumer_tag;
	uint32_t prefetch;
};

struct mr_session_options { /* borrowed as long as the session lives */
	const struct mr_login *login;
	uint32_t connection; /* put on every event */
	uint64_t max_message_size;
	mr_msec blocked_timeout; /* 0: none */
	struct mr_delivery_pool *pool;
	mr_stats *stats;
	mr_emit *emit; /* this and all others are called with `owner` */
	void *owner;
	const uint64_t
		*clock; /* the time of what is going on, in us; NULL: confirms are not timed */
	struct mr_histogram *confirm_times;
	mr_odd *odd;            /* may be NULL */
	mr_late *late;          /* may be NULL */
	struct mr_tally *tally; /* what its deliveries are counted in; may be NULL */
	void (*too_large)(void *owner, const struct mr_too_large *what); /* may be NULL */
	void (*curbed)(void *owner, const struct mr_curbed *what);       /* may be NULL */
	/* A queue is there as it was declared, which is not known of a passive declare; may be NULL. */
	void (*declared)(void *owner, mr_slice queue, bool is_single_active);
	/* Would another consumer of this queue do no harm (curb.h)? Asked when one is due. NULL: of any. */
	bool (*may_curb)(void *owner, mr_slice queue);
	/* The broker refused one, and closed the channel or the connection for it; may be NULL. */
	void (*curb_refused)(void *owner, const mr_error *why);
};

#endif
