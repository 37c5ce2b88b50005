/* curb: gives a prefetch to a consumer without one, if the host is far behind and awaits answers.
 * SPDX-License-Identifier: MIT
 * Pure; a part of channel. A second consumer of the same queue starts on the same channel, with
 * acks and a prefetch, before the first is cancelled: so no message is requeued, an auto-delete
 * queue stays, and the order of the queue is kept. The host sees its old number and tag. If it
 * consumes without acks, the library acks; deliveries that arrive while the host is still far
 * behind are held until it has caught up, and treated as if they were in the queue
 * (docs/decisions/0009-back-pressure.md). */
#ifndef MR_AMQP_CURB_H
#define MR_AMQP_CURB_H

#include "amqp/channel_state.h"

/* Stores the arguments of a consume request, to repeat it if the consumer must be curbed. */
void mr_curb_note(struct mr_amqp_channel *ch, struct mr_pending *p, const mr_request *request);
/* True if the host is so far behind that this consumer, which has got a message, must be curbed,
 * and if it may be curbed. */
bool mr_curb_is_due(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry);
/* MR_OK or MR_NO_MEMORY, which ends the connection. */
enum mr_status mr_curb_begin(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry);
/* Before a transaction begins: replaces curbed consumers by those that the program requested. A
 * prefetch below the number of messages that the program acks in one commit would block it without
 * end, and the library's acks would wait for the commit. MR_NO_MEMORY ends the connection. */
enum mr_status mr_curb_undo(struct mr_amqp_channel *ch);
/* A step of a curb is answered: after the end of the second consumer, its tag is unused. */
void mr_curb_done(struct mr_amqp_channel *ch, const struct mr_method *answer);
/* The broker closed the channel or the connection (`why`): checks whether a curb was the reason.
 * Call it before the requests of the channel are failed. */
void mr_curb_closed(struct mr_amqp_channel *ch, const struct mr_method *close, const mr_error *why);

/* The host cancels a consumer by the tag that it knows: puts the tag at the broker into the
 * request. */
void mr_curb_cancel(const struct mr_amqp_channel *ch, struct mr_method *cancel,
	struct mr_pending *answer, char wire[256]);
/* Gives a delivery the tag that the host knows. */
void mr_curb_hide(const struct mr_consumer_entry *entry, mr_delivery *d);

/* A delivery that the library acks: emits and acks it at once, or holds it. *takes* it. */
enum mr_status mr_curb_take(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry,
	mr_delivery *d);
/* Emits and acks held deliveries, as far as the host has caught up. */
enum mr_status mr_curb_let_go(struct mr_amqp_channel *ch);
/* For the held deliveries of one consumer (the host's number): give_back returns them to the queue;
 * catch_up emits them, because its first consumer still gets messages, which come later in the
 * queue. */
enum mr_status mr_curb_give_back(struct mr_amqp_channel *ch, uint32_t consumer);
enum mr_status mr_curb_catch_up(struct mr_amqp_channel *ch, uint32_t consumer);
/* Settles for the host; a settle of many leaves out held deliveries, which the host does not
 * know. */
enum mr_status mr_curb_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags);
/* Drops all held deliveries: the broker has them again. */
void mr_curb_drop(struct mr_amqp_channel *ch);

#endif
