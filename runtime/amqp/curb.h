/* curb: a consumer that no prefetch bounds, and whose host is far behind while it asks, gets a prefetch after all.
 * SPDX-License-Identifier: MIT
 * Pure; a part of channel. Another consumer of the same queue begins on the same channel, with acks and a prefetch,
 * before the first is cancelled: so nothing goes back, an auto-delete queue stays, and the order is the queue's. The
 * host knows it by its old number and tag. Where it asked for no acks, we ack, and what comes while it is still far
 * behind is held until it has caught up: that is as if it were in the queue (docs/decisions/0009-back-pressure.md). */
#ifndef MR_AMQP_CURB_H
#define MR_AMQP_CURB_H

#include "amqp/channel_state.h"

/* Notes what a consume that was just asked for must be asked again with. */
void mr_curb_note(struct mr_amqp_channel *ch, struct mr_pending *p, const mr_request *request);
/* Is the host so far behind that this consumer, of which a message has come, must be curbed, and may it be? */
bool mr_curb_is_due(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry);
/* MR_OK or MR_NO_MEMORY, which costs the connection. */
enum mr_status mr_curb_begin(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry);
/* All consumers are again as the program asked for them, before a transaction begins: a prefetch below what the program
 * acks by one commit would stop it for ever, and acks of ours would wait for its commit. MR_NO_MEMORY: that costs the
 * connection. */
enum mr_status mr_curb_undo(struct mr_amqp_channel *ch);
/* A step of a curb is answered: once the second consumer has ended, its tag is nobody's. */
void mr_curb_done(struct mr_amqp_channel *ch, const struct mr_method *answer);
/* The broker closed the channel or its connection, which is `why` it ends: was that the answer to a curb? Before the
 * requests of the channel are failed. */
void mr_curb_closed(struct mr_amqp_channel *ch, const struct mr_method *close, const mr_error *why);

/* A cancel of the consumer that the host knows by that tag: asks for the one that there is. */
void mr_curb_cancel(const struct mr_amqp_channel *ch, struct mr_method *cancel,
	struct mr_pending *answer, char wire[256]);
/* Gives a delivery the tag that the host knows. */
void mr_curb_hide(const struct mr_consumer_entry *entry, mr_delivery *d);

/* A delivery that we ack is told (and acked) at once, or held. *takes* it. */
enum mr_status mr_curb_take(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry,
	mr_delivery *d);
/* Tells and acks what is held, as far as the host has caught up. */
enum mr_status mr_curb_let_go(struct mr_amqp_channel *ch);
/* What is held of one consumer (the host's number) goes back to its queue; or is told, as its first one still gets
 * messages: they take turns until that is cancelled. */
enum mr_status mr_curb_give_back(struct mr_amqp_channel *ch, uint32_t consumer);
enum mr_status mr_curb_catch_up(struct mr_amqp_channel *ch, uint32_t consumer);
/* Settles for the host: of many, all but what is held, of which it knows nothing. */
enum mr_status mr_curb_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags);
/* All that is held just goes: the broker has it again. */
void mr_curb_drop(struct mr_amqp_channel *ch);

#endif
