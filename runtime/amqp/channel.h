/* channel: one AMQP channel of a session: its requests, consumers, contents, confirms and acks.
 * SPDX-License-Identifier: MIT
 * Pure; only session.c calls it. The host's handle of a channel is api's. */
#ifndef MR_AMQP_CHANNEL_H
#define MR_AMQP_CHANNEL_H

#include "amqp/acks.h"
#include "amqp/confirm.h"
#include "amqp/content.h"
#include "amqp/session.h"
#include "base/list.h"

struct mr_outlet { /* what the channels of a session share */
	const struct mr_session_options *options;
	struct mr_buffer out;
	uint32_t frame_max;
	struct mr_node dirty;   /* channels with acks to flush */
	struct mr_node holding; /* channels that hold messages of curbed consumers */
	mr_msec earliest;       /* no deadline of any channel is before this */
	mr_msec now;            /* of what is going on */
	mr_error fault;         /* the connection cannot go on; kind MR_OK: it can */
};

#define MR_CHANNEL_STATES(X) X(CLOSED) X(OPENING) X(OPEN) X(CLOSING)
#define MR_CHANNEL_STATE_ENUM_(s) MR_CH_##s,
enum mr_channel_state { MR_CHANNEL_STATES(MR_CHANNEL_STATE_ENUM_) MR_CH_COUNT };

struct mr_consumer_entry {
	uint32_t number;                           /* the host's */
	bool is_loose;                             /* no prefetch bounds its deliveries */
	bool may_be_curbed, is_curbed, was_curbed; /* curb.h */
	uint8_t size, queue_size;
	char tag[255], queue[255];
	mr_table *arguments; /* its own; NULL: none */
};

/* What a consumer with acks may hold where the program asked for no prefetch: enough to hide a round trip,
 * and an end to what a host that is slow has to keep. */
#define MR_PREFETCH_USUAL 256

#define MR_DIRECT_REPLIES "amq.rabbitmq.reply-to" /* the pseudo-queue of direct replies */

struct mr_amqp_channel {
	uint16_t number;
	enum mr_channel_state state;
	uint32_t epoch;
	struct mr_outlet *outlet;
	struct mr_node pending; /* requests in the order sent: replies come in the same */
	struct mr_node dirty;
	struct mr_content content;
	struct mr_confirm confirm;
	bool confirming;
	bool is_probing; /* the last declare asks whether something is there: no is an answer */
	bool skips;      /* the last method was none that we know: its content is none, either */
	uint32_t
		recovering; /* recovers in `pending`, counted by it: what is settled meanwhile is not ours */
	struct mr_acks acks;
	struct mr_consumer_entry **consumers;
	size_t consumer_count, last_consumer;
	mr_error *why; /* the broker broke the protocol on it: we close it, and hear nothing more */
	struct {       /* the open of the next channel of this number, when this one has closed */
		uint64_t token; /* 0: none */
		uint32_t epoch;
		mr_msec deadline;
	} heir;
	bool has_qos;           /* a prefetch was asked for, by the program or for it */
	bool is_owed_qos;       /* the answer to ours, which nobody waits for, is still to come */
	bool is_limited;        /* the whole channel has one */
	uint32_t prefetch;      /* of consumers to come; 0: no limit */
	bool hears_replies;     /* it has a consumer of direct replies */
	bool has_tx;            /* acks wait for a commit */
	struct mr_buffer held;  /* mr_delivery *: of curbed consumers, for a host that is behind */
	struct mr_node holding; /* in outlet->holding while there are any */
};

/* Sends channel.open. *gives*; NULL when out of memory. */
struct mr_amqp_channel *mr_amqp_channel_open(struct mr_outlet *outlet, uint16_t number,
	uint32_t epoch, uint64_t token, mr_msec deadline);
void mr_amqp_channel_free(struct mr_amqp_channel *ch);
void mr_amqp_channel_enter(struct mr_amqp_channel *ch,
	enum mr_channel_state next); /* the only writer of the state */
void mr_amqp_channel_close(struct mr_amqp_channel *ch, uint64_t token, mr_msec deadline);
/* The broker broke the protocol: closes the channel. When that is done, it ends with `why` (copied). */
void mr_amqp_channel_refuse(struct mr_amqp_channel *ch, const mr_error *why);
/* It will not be the host's: it closes, or closes as soon as it is open. */
bool mr_amqp_channel_is_parting(const struct mr_amqp_channel *ch);
/* Counts what the broker should not have said, and tells what it was; MR_OK. */
enum mr_status mr_outlet_odd(struct mr_outlet *outlet, uint16_t channel, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Ends all that waits, with `why`, and is CLOSED; tells MR_EV_CHANNEL when `tell`. */
void mr_amqp_channel_end(struct mr_amqp_channel *ch, const mr_error *why, bool tell);
void mr_consumer_free(struct mr_consumer_entry *entry);
/* Tells a message of a consumer. */
void mr_amqp_channel_tell_delivery(struct mr_amqp_channel *ch, mr_delivery *d);
void mr_amqp_channel_request(struct mr_amqp_channel *ch, uint64_t token, const mr_request *request,
	mr_msec deadline);
enum mr_status mr_amqp_channel_publish(struct mr_amqp_channel *ch, const struct mr_publish *publish,
	mr_error *error);
enum mr_status mr_amqp_channel_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags);
enum mr_status mr_amqp_channel_flush(struct mr_amqp_channel *ch);
/* A frame of this channel. What is returned beside MR_OK is the end of the connection. */
enum mr_status mr_amqp_channel_method(struct mr_amqp_channel *ch, const struct mr_method *method,
	mr_error *error);
enum mr_status mr_amqp_channel_content(struct mr_amqp_channel *ch, const struct mr_frame *frame,
	mr_error *error);
/* Ends the requests and publishes that are due; lowers outlet->earliest to the next. */
void mr_amqp_channel_expire(struct mr_amqp_channel *ch, mr_msec now);

/* Does something wait for the broker's word? */
bool mr_amqp_channel_is_asking(const struct mr_amqp_channel *ch);

/* Tells the end of a request that never got as far as a channel. */
void mr_outlet_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	const mr_error *error);
/* Tells that a publish never got as far as a channel. */
void mr_outlet_lost(struct mr_outlet *outlet, uint16_t channel, uint32_t epoch, uint64_t number);

#endif
