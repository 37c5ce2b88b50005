/* channel: a channel of a client's connection: contents, consumers, unsettled deliveries.
 * SPDX-License-Identifier: MIT
 * Pure. channel_frame handles its frames; publish, settle, basic and declare handle its methods. */
#ifndef MR_BROKER_CLIENT_CHANNEL_H
#define MR_BROKER_CLIENT_CHANNEL_H

#include "broker/client/session_state.h"
#include "broker/store/backing.h"

struct mr_await;
struct mr_consumer;
struct mr_method;

struct mr_unacked {
	uint64_t tag;
	struct mr_entry *entry; /* NULL: settled, but its place is still in use */
	struct mr_queue *queue;
	struct mr_consumer *consumer; /* NULL: of a get */
	uint8_t staged; /* in a transaction: enum mr_settling, applied at the commit; 0: none */
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

struct mr_pledge {                         /* a publish that the backing has not answered yet */
	struct mr_promise promise;         /* first */
	struct mr_node node;               /* in mr_broker_channel.pledges */
	struct mr_node again;              /* in mr_broker.refused */
	struct mr_broker_channel *channel; /* NULL: it has ended */
	struct mr_broker *broker;
	struct mr_vhost *vhost;
	struct mr_message *message;
	bool mandatory; /* to be returned if it reaches no queue */
	uint64_t tag;   /* to be confirmed; 0: not in confirm mode */
};

struct mr_broker_channel {
	struct mr_broker_session *session;
	uint16_t number;
	bool closing;  /* the broker sent close and waits for close-ok */
	bool is_ghost; /* the client closed it; its number is free after this read */
	bool stopped;  /* the client accepts no messages (channel.flow) */
	bool settling; /* deliveries for which this makes room are sent at its end */
	struct mr_incoming incoming;
	struct mr_node consumers;   /* of mr_consumer.at_channel */
	struct mr_map tags;         /* the same by tag */
	struct mr_unacked *unacked; /* by tag, from `first` to `last` */
	size_t first, last, capacity;
	size_t live;    /* those not settled */
	size_t counted; /* those delivered to consumers: limited by the global prefetch */
	uint64_t next_tag;
	uint32_t prefetch, prefetch_all; /* for new consumers; for the channel; 0: no limit */
	bool confirming;
	uint64_t published;        /* in confirm mode */
	uint64_t ack_from, ack_to; /* confirms that were not sent yet; from 0: none */
	bool transacting;
	struct mr_node staged; /* of published messages in a transaction */
	struct mr_chore chore;
	struct mr_chore then; /* the chore that ends the channel after this one; no step: none */
	struct mr_node ruins; /* of mr_target.ruin: objects that the channel or its end deletes */
	struct mr_spread *spread; /* an unfinished message to very many queues, or NULL */
	struct mr_node held;      /* of mr_queue.at_held: they deliver after all requeues */
	struct mr_await *await;   /* for an answer of the backing, or NULL */
	struct mr_node pledges;   /* publishes that the backing has not confirmed */
	struct mr_node to_flush;  /* in mr_broker.to_flush: it has confirms to send */
	char *last_queue;         /* the meaning of "" in a method */
	char *reply_queue;        /* the queue of direct reply-to, or NULL */
};

struct mr_broker_channel *mr_broker_channel_open(struct mr_broker_session *s, uint16_t number);

void mr_broker_channel_put(struct mr_broker_channel *ch, const struct mr_method *m);
void mr_broker_channel_put_simple(struct mr_broker_channel *ch, uint32_t id);
/* Method, header and body as one unit. False: out of memory, nothing was written. */
bool mr_broker_channel_put_message(struct mr_broker_channel *ch, const struct mr_method *m,
	const struct mr_message *message);

/* True if it can get a delivery now. */
bool mr_broker_channel_takes(const struct mr_broker_channel *ch);
/* Makes room for one more unsettled delivery. False: out of memory. */
bool mr_broker_channel_has_room(struct mr_broker_channel *ch);
/* Adds an unsettled delivery under the next tag. */
void mr_broker_channel_hold(struct mr_broker_channel *ch, struct mr_consumer *c, struct mr_queue *q,
	struct mr_entry *e);

/* "" means this queue from now on. */
void mr_broker_channel_note(struct mr_broker_channel *ch, const struct mr_queue *q);
/* The queue a method names; "" is the last declared one. MR_NOT_FOUND, MR_RESOURCE_LOCKED. */
enum mr_status mr_broker_channel_queue(struct mr_broker_channel *ch, mr_slice name,
	struct mr_queue **out, mr_error *error);
/* 405: it is exclusive to another connection. */
enum mr_status mr_broker_channel_locked(const struct mr_queue *q, mr_error *error);
void mr_broker_channel_end_reply(
	struct mr_broker_channel *ch); /* direct reply-to has no consumer any more */

#endif
