/* channel_state: the state of one AMQP channel of a session, and operations that all its parts use.
 * SPDX-License-Identifier: MIT
 * Pure; for channel, curb, inbound, message and channel_requests, and for the session. The host's
 * handle of a channel is in api. */
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

/* The prefetch of a consumer with acks if the program set none: enough to hide a round trip, and a
 * limit for the messages that a slow host must hold. */
#define MR_PREFETCH_USUAL 256

#define MR_DIRECT_REPLIES "amq.rabbitmq.reply-to" /* the pseudo-queue of direct replies */

struct mr_amqp_channel {
	/* Identity: these three never change. Numbers are reused, epochs are not. */
	uint16_t number;
	uint32_t epoch;
	struct mr_outlet *outlet;
	/* State. `why` is set at most once, before or in CLOSING; then all frames but those that
	 * end the channel are ignored. */
	enum mr_channel_state state; /* written only by mr_amqp_channel_enter */
	mr_error *why; /* the broker broke the protocol: we close the channel and ignore the rest */
	struct {       /* an open of the same number that waits until this channel has closed */
		uint64_t token; /* 0: none */
		uint32_t epoch;
		mr_msec deadline;
	} heir;
	/* Requests. The refusal of a probe is a normal answer. */
	struct mr_pending_list pending;
	bool is_probing; /* the last declare only asks whether an object exists */
	/* Publishes: counted from confirm.select on, even before it is answered. */
	struct mr_confirm confirm;
	bool confirming;
	/* Input: at most one message is being assembled. */
	struct mr_content content;
	bool skips; /* the last method was unknown: its content is skipped */
	struct mr_consumers consumers;
	bool hears_replies; /* it has a consumer of direct replies */
	/* Settles. In outlet->dirty from the first settle until the flush. */
	struct mr_acks acks;
	struct mr_node dirty;
	bool has_tx; /* acks wait for a commit */
	/* Prefetch. */
	bool has_qos;            /* the program, or the library for it, has requested one */
	bool is_owed_qos;        /* the answer to the library's request has not arrived yet */
	bool is_limited;         /* there is one for the whole channel */
	uint32_t prefetch;       /* for future consumers; 0: no limit */
	uint32_t prefetch_least; /* of all that were ever requested; 0: none was */
	/* Deliveries held for curbed consumers. In outlet->holding while there are any. */
	struct mr_buffer held; /* mr_delivery * */
	struct mr_node holding;
};

void mr_amqp_channel_enter(struct mr_amqp_channel *ch, enum mr_channel_state next);
/* Emits an event of this channel. */
void mr_amqp_channel_emit(struct mr_amqp_channel *ch, mr_event *event);
/* Emits a delivery to a consumer. */
void mr_amqp_channel_tell_delivery(struct mr_amqp_channel *ch, mr_delivery *d);

/* Reports where a consumer is to be started again. */
void mr_amqp_channel_tell_resume(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry);

/* Settles one delivery, or many if none of them is held; use mr_curb_settle if some may be held.
 * Settles nothing while the channel is not open or a basic.recover is pending: the broker takes
 * them back. */
enum mr_status mr_amqp_channel_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags);
/* Writes the pending acks. */
enum mr_status mr_amqp_channel_flush(struct mr_amqp_channel *ch);

#endif
