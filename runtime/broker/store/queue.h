/* queue: messages in order, with their priorities, limits and times to live.
 * SPDX-License-Identifier: MIT
 * Pure. It only stores; pump delivers, vhost has the names, dead_letter the dead letters. */
#ifndef MR_BROKER_STORE_QUEUE_H
#define MR_BROKER_STORE_QUEUE_H

#include "broker/store/entry.h"

struct mr_broker_session;
struct mr_receiver;
struct mr_vhost;
struct mr_window;

enum mr_overflow { MR_DROP_HEAD, MR_REJECT_PUBLISH, MR_REJECT_PUBLISH_DLX };

struct mr_limits {            /* x-arguments, read; -1: not given */
	int64_t ttl, expires; /* ms */
	int64_t max_length, max_bytes;
	enum mr_overflow overflow;
	int max_priority; /* 0: no priorities */
	bool single_active, is_quorum;
	int64_t deliveries;               /* x-delivery-limit */
	mr_slice dead_exchange, dead_key; /* borrowed from the arguments; data NULL: not given */
};

struct mr_queue {
	struct mr_target target; /* first */
	struct mr_store *store;
	struct mr_vhost *vhost;
	char *name;
	bool durable, exclusive, auto_delete;
	bool is_reply; /* of direct reply-to: it ends with its consumer */
	bool is_found; /* nobody has declared it here: the backing had messages of that name */
	bool deleted;  /* but not freed while it has unsettled deliveries */
	struct mr_broker_session *owner; /* of an exclusive one */
	struct mr_node at_owner;         /* in mr_broker_session.queues */
	mr_slice arguments;              /* an encoded table, given; empty: none */
	struct mr_limits limits;
	struct mr_node *levels; /* of mr_entry, max_priority + 1 of them */
	struct mr_entry *back;  /* the last requeued entry, while it is ready */
	size_t ready;
	size_t own;           /* of the ready ones, those that no backing keeps */
	size_t out;           /* entries that were taken and are still unsettled */
	size_t put_off;       /* of those the dead letters that the backing refuses for now */
	uint64_t ready_bytes; /* of bodies */
	uint64_t next_position;
	struct mr_node consumers; /* of mr_receiver.at_queue: by priority, then by turn */
	size_t consumer_count;
	struct mr_receiver *active; /* the single active one */
	struct mr_receiver *exclusive_consumer;
	mr_msec used;             /* when it was last used, for x-expires */
	mr_msec deadline;         /* its next deadline; MR_NEVER */
	size_t at_heap;           /* its place in the store's heap, from 1; 0: not in it */
	struct mr_node busy;      /* in mr_store.busy */
	struct mr_node at_held;   /* in mr_broker_channel.held: it delivers nothing in that time */
	size_t weight;            /* without its messages */
	struct mr_window *window; /* what its backing has noted, or NULL */
};

/* *gives*; takes the bytes of `arguments` (on failure too), which the limits borrow from. NULL when
 * out of memory. */
struct mr_queue *mr_queue_new(struct mr_store *store, mr_slice name, mr_slice arguments,
	const struct mr_limits *limits);
/* Frees one that holds no messages and has no bindings and no unsettled deliveries. */
void mr_queue_free(struct mr_queue *q);

/* Appends a message and adds a reference to it. NULL when out of memory. */
struct mr_entry *mr_queue_push(struct mr_queue *q, struct mr_message *message, mr_msec now);
/* Appends a message that was fetched from the backing. False when out of memory: `taken` stays the
 * caller's. */
bool mr_queue_arrive(struct mr_queue *q, struct mr_message *message, struct mr_taken *taken,
	mr_msec expires, bool redelivered);
/* All its ready messages that the backing keeps go back there: nobody receives here any more. */
void mr_queue_return_all(struct mr_queue *q);
/* The next message to leave: of the highest priority, the oldest. NULL when empty. */
struct mr_entry *mr_queue_head(const struct mr_queue *q);
/* Takes an entry out of the ready ones; the caller then owns it, until mr_queue_requeue,
 * mr_queue_forget or mr_queue_drop. */
void mr_queue_take(struct mr_queue *q, struct mr_entry *e);
/* Moves all ready entries to the end of `into`; they belong to no queue any more. */
void mr_queue_empty(struct mr_queue *q, struct mr_node *into);
/* True if an entry that comes back has exceeded the delivery limit; counts it. */
bool mr_queue_gives_up(const struct mr_queue *q, struct mr_entry *e);
/* Puts back an entry that was taken, to its old place, marked as redelivered. */
void mr_queue_requeue(struct mr_queue *q, struct mr_entry *e);
/* Frees all ready entries, perhaps over several turns. */
void mr_queue_purge(struct mr_queue *q);
/* Removes an entry that was taken. */
void mr_queue_forget(struct mr_queue *q, struct mr_entry *e);
/* The same, but if the queue has a dead letter exchange, the message waits to be dead-lettered. */
void mr_queue_drop(struct mr_queue *q, struct mr_entry *e, enum mr_death why);
/* The same for a message that a full queue rejected (reject-publish-dlx). */
void mr_queue_drop_unborn(struct mr_queue *q, struct mr_message *m);
/* Keeps a queue from being freed until mr_queue_unpin. */
static inline void mr_queue_pin(struct mr_queue *q) { q->out++; }
/* Undoes that, or a `q->out++`. */
void mr_queue_unpin(struct mr_queue *q);
/* Continues the queue's work in a later turn. */
void mr_queue_postpone(struct mr_queue *q);
/* False: a pump could deliver nothing. What a backing has is not known here. */
static inline bool mr_queue_may_deliver(const struct mr_queue *q)
{
	return q->ready || q->store->backing;
}
/* An expired entry at the head of a level, or NULL. */
struct mr_entry *mr_queue_expired(const struct mr_queue *q, mr_msec now);
/* The head (of the highest priority, like RabbitMQ) if the queue exceeds its limits; else NULL. */
struct mr_entry *mr_queue_surplus(const struct mr_queue *q);
/* True if one more message of this size must be rejected. */
bool mr_queue_refuses(const struct mr_queue *q, uint64_t bytes);
/* When the next entry expires; MR_NEVER. */
mr_msec mr_queue_next_expiry(const struct mr_queue *q);

static inline mr_slice mr_queue_name(const struct mr_queue *q) { return mr_slice_str(q->name); }

#endif
