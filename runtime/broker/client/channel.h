/* channel: one channel of a client's connection: contents, consumers, unsettled deliveries, confirms.
 * SPDX-License-Identifier: MIT
 * Pure. Its frames are channel_frame's, its methods those of publish, settle, basic and declare. */
#ifndef MR_BROKER_CLIENT_CHANNEL_H
#define MR_BROKER_CLIENT_CHANNEL_H

#include "broker/client/session_state.h"

struct mr_consumer;
struct mr_method;

struct mr_unacked {
	uint64_t tag;
	struct mr_entry *entry; /* NULL: settled, its place is still there */
	struct mr_queue *queue;
	struct mr_consumer *consumer; /* NULL: of a get */
	uint8_t staged; /* in a transaction: how it will be settled, from 1; 0: not yet */
};

enum mr_settling { MR_SETTLE_ACK = 1, MR_SETTLE_REJECT, MR_SETTLE_PUT_BACK };
enum mr_incoming_state { MR_INCOMING_NONE, MR_INCOMING_HEADER, MR_INCOMING_BODY };

struct mr_incoming { /* the message that a client is sending */
	enum mr_incoming_state state;
	bool mandatory;
	uint8_t exchange_size, key_size;
	char names[2 * 255];
	struct mr_message *message;
	uint64_t size, got, room;
};

struct mr_broker_channel {
	struct mr_broker_session *session;
	uint16_t number;
	bool closing;  /* we said close and wait for close-ok */
	bool is_ghost; /* the client closed it; its number is free when this read is done */
	bool stopped;  /* the client said it takes nothing (flow) */
	bool settling; /* what that makes room for is given round when it is done */
	struct mr_incoming incoming;
	struct mr_node consumers;   /* of mr_consumer.at_channel */
	struct mr_map tags;         /* the same by tag */
	struct mr_unacked *unacked; /* by tag, from `first` to `last` */
	size_t first, last, capacity;
	size_t live;    /* of those, not settled */
	size_t counted; /* of those, deliveries to consumers: what the global prefetch limits */
	uint64_t next_tag;
	uint32_t prefetch, prefetch_all; /* for new consumers; for the channel; 0: no limit */
	bool confirming;
	uint64_t published;        /* in confirm mode */
	uint64_t ack_from, ack_to; /* confirmed and not yet said; from 0: none */
	bool transacting;
	struct mr_node staged; /* of published messages in a transaction */
	struct mr_chore chore;
	struct mr_chore then; /* the channel ends when that is done: no step, no end */
	struct mr_node ruins; /* of mr_target.ruin, for what the channel deletes, and for its end */
	struct mr_spread *spread; /* a message on its way into very many queues, or NULL */
	struct mr_node held;      /* of mr_queue.at_held: nothing leaves them until all is back */
	char *last_queue;         /* "" in a method means this one */
	char *reply_queue;        /* where direct reply-to leads; NULL: nowhere */
};

struct mr_broker_channel *mr_broker_channel_open(struct mr_broker_session *s, uint16_t number);

void mr_broker_channel_put(struct mr_broker_channel *ch, const struct mr_method *m);
void mr_broker_channel_put_simple(struct mr_broker_channel *ch, uint32_t id);
/* Method, header and body as one unit. False: out of memory, nothing was written. */
bool mr_broker_channel_put_message(struct mr_broker_channel *ch, const struct mr_method *m,
	const struct mr_message *message);

/* May it be given a delivery now? */
bool mr_broker_channel_takes(const struct mr_broker_channel *ch);
/* Is there room for one more unsettled delivery? False: out of memory. */
bool mr_broker_channel_has_room(struct mr_broker_channel *ch);
/* Holds a delivery until it is settled, under the next tag. */
void mr_broker_channel_hold(struct mr_broker_channel *ch, struct mr_consumer *c, struct mr_queue *q,
	struct mr_entry *e);

/* The queue a method names; "" is the last declared one. MR_NOT_FOUND, MR_RESOURCE_LOCKED. */
enum mr_status mr_broker_channel_queue(struct mr_broker_channel *ch, mr_slice name,
	struct mr_queue **out, mr_error *error);
/* 405: it is another connection's. */
enum mr_status mr_broker_channel_locked(const struct mr_queue *q, mr_error *error);
void mr_broker_channel_end_reply(
	struct mr_broker_channel *ch); /* direct reply-to has no consumer any more */

#endif
