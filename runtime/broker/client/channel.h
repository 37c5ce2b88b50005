/* channel: one channel of a client's connection: contents, consumers, unsettled deliveries, confirms.
 * SPDX-License-Identifier: MIT
 * Pure. channel.c has its life and what is delivered, publish.c what is published, settle.c acks and
 * transactions, basic.c and declare.c the methods. */
#ifndef MR_BROKER_CLIENT_CHANNEL_H
#define MR_BROKER_CLIENT_CHANNEL_H

#include "broker/client/consumer.h"
#include "broker/client/session.h"
#include "broker/store/vhost.h"
#include "codec/client_method.h"

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
	struct mr_dict tags;        /* the same by tag */
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
	bool quits_then;          /* the channel ends when that is done */
	struct mr_node ruins;     /* of mr_target.ruin, for MR_CHORE_RAZE and MR_CHORE_QUIT */
	struct mr_spread *spread; /* for MR_CHORE_STORE and MR_CHORE_COMMIT, or NULL */
	struct mr_node held;      /* of mr_queue.at_held: nothing leaves them until all is back */
	char *last_queue;         /* "" in a method means this one */
	char *reply_queue;        /* where direct reply-to leads; NULL: nowhere */
};

struct mr_broker_channel *mr_broker_channel_open(struct mr_broker_session *s, uint16_t number);
/* Consumers end, unsettled messages go back. Does not tell the client. Takes NULL. */
void mr_broker_channel_free(struct mr_broker_channel *ch);
/* The same, but the number stays taken. `answer` says when it is done; 0: nothing does. */
void mr_broker_channel_quit(struct mr_broker_channel *ch, uint32_t answer);

/* A frame of it. MR_OK, or an error whose scope says what ends. */
enum mr_status mr_broker_channel_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *method, mr_error *error);
void mr_broker_channel_put(struct mr_broker_channel *ch, const struct mr_method *m);
void mr_broker_channel_put_simple(struct mr_broker_channel *ch, uint32_t id);

/* Deliveries. */
bool mr_broker_channel_takes(const struct mr_broker_channel *ch);
/* Writes a delivery of an entry that it takes; false: out of memory, nothing was written or taken. */
bool mr_broker_channel_deliver(struct mr_broker_channel *ch, struct mr_consumer *c,
	struct mr_entry *e);
bool mr_broker_channel_got(struct mr_broker_channel *ch, struct mr_queue *q, struct mr_entry *e,
	bool no_ack);
void mr_broker_channel_cancelled(struct mr_broker_channel *ch, const struct mr_consumer *c);
struct mr_consumer *mr_broker_channel_consumer(const struct mr_broker_channel *ch, mr_slice tag);
void mr_broker_channel_end_reply(
	struct mr_broker_channel *ch); /* direct reply-to has no consumer any more */
void mr_broker_channel_moved(struct mr_broker_channel *ch); /* its consumers may have more */

/* publish.c */
enum mr_status mr_incoming_begin(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
enum mr_status mr_incoming_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	mr_error *error);
void mr_incoming_drop(struct mr_broker_channel *ch);
void mr_broker_channel_flush(struct mr_broker_channel *ch); /* says the confirms that wait */
/* Goes on with ch->spread, and confirms it at its end. False: there is more than the turn has room for. */
bool mr_spread_rest(struct mr_broker_channel *ch);
/* Stores what a transaction published, or drops it. False: as above. */
bool mr_staged_go_on(struct mr_broker_channel *ch, bool commit);

/* settle.c */
enum mr_status mr_settle_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
/* Settles the tags of ch->chore. False: there are more than the turn has room for. */
bool mr_settle_go_on(struct mr_broker_channel *ch);
/* A transaction is undone: what it settled is unsettled again. */
void mr_settle_unstage(struct mr_broker_channel *ch);
enum mr_status mr_tx_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);

/* basic.c, declare.c */
enum mr_status mr_basic_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
enum mr_status mr_declare_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
/* The queue a method names; "" is the last declared one. MR_NOT_FOUND, MR_RESOURCE_LOCKED. */
enum mr_status mr_broker_channel_queue(struct mr_broker_channel *ch, mr_slice name,
	struct mr_queue **out, mr_error *error);

#endif
