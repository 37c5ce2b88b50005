/* channel_state: one AMQP channel of a session, and what all parts of it do with it.
 * SPDX-License-Identifier: MIT
 * Pure; for channel, curb, inbound, message and channel_requests, and for the session that has it. The host's handle of
 * a channel is api's. */
#ifndef MR_AMQP_CHANNEL_STATE_H
#define MR_AMQP_CHANNEL_STATE_H

#include "amqp/acks.h"
#include "amqp/confirm.h"
#include "amqp/consumers.h"
#include "amqp/content.h"
#include "amqp/outlet.h"
#include "amqp/pending.h"

#define MR_CHANNEL_STATES(X) X(CLOSED) X(OPENING) X(OPEN) X(CLOSING)
#define MR_CHANNEL_STATE_ENUM_(s) MR_CH_##s,
enum mr_channel_state { MR_CHANNEL_STATES(MR_CHANNEL_STATE_ENUM_) MR_CH_COUNT };

/* What a consumer with acks may hold where the program asked for no prefetch: enough to hide a round trip,
 * and an end to what a host that is slow has to keep. */
#define MR_PREFETCH_USUAL 256

#define MR_DIRECT_REPLIES "amq.rabbitmq.reply-to" /* the pseudo-queue of direct replies */

struct mr_amqp_channel {
	/* Which one it is: these three never change. A number is used again, an epoch never is. */
	uint16_t number;
	uint32_t epoch;
	struct mr_outlet *outlet;
	/* Its life. `why` is set at most once, on the way to CLOSING or in it; then only its end is listened to. */
	enum mr_channel_state state; /* written by mr_amqp_channel_enter alone */
	mr_error *why; /* the broker broke the protocol on it: we close it, and hear nothing more */
	struct {       /* the open of the next channel of this number, when this one has closed */
		uint64_t token; /* 0: none */
		uint32_t epoch;
		mr_msec deadline;
	} heir;
	/* Questions. A probe is refused without harm. */
	struct mr_pending_list pending;
	bool is_probing; /* the last declare asks whether something is there: no is an answer */
	/* Publishes: counted from confirm.select on, whether or not it is answered. */
	struct mr_confirm confirm;
	bool confirming;
	/* What comes: at most one message is under way. */
	struct mr_content content;
	bool skips; /* the last method was none that we know: its content is none, either */
	struct mr_consumers consumers;
	bool hears_replies; /* it has a consumer of direct replies */
	/* What goes back. In outlet->dirty from the first settle on until the flush. */
	struct mr_acks acks;
	struct mr_node dirty;
	bool has_tx; /* acks wait for a commit */
	/* Prefetch. */
	bool has_qos;      /* one was asked for, by the program or for it */
	bool is_owed_qos;  /* the answer to ours, which nobody waits for, is still to come */
	bool is_limited;   /* the whole channel has one */
	uint32_t prefetch; /* of consumers to come; 0: no limit */
	/* Of curbed consumers, for a host that is behind. In outlet->holding while there are any. */
	struct mr_buffer held; /* mr_delivery * */
	struct mr_node holding;
};

void mr_amqp_channel_enter(struct mr_amqp_channel *ch, enum mr_channel_state next);
/* Tells an event as this channel's. */
void mr_amqp_channel_emit(struct mr_amqp_channel *ch, mr_event *event);
/* Tells a message of a consumer. */
void mr_amqp_channel_tell_delivery(struct mr_amqp_channel *ch, mr_delivery *d);

/* Settles one delivery, or many of which none is held; mr_curb_settle does whatever is held. While the channel is not
 * open, or is asked to take them back, it settles nothing: the broker does. */
enum mr_status mr_amqp_channel_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags);
/* Acks given before go out now. */
enum mr_status mr_amqp_channel_flush(struct mr_amqp_channel *ch);

#endif
