/* backing: a server that keeps the messages of a store's queues, instead of this process's memory.
 * SPDX-License-Identifier: MIT
 * Broker thread; nothing blocks: what has an answer is told by a promise. Without a backing
 * (mr_store.backing is NULL) the store keeps all messages itself. With one, a queue here holds
 * messages that were fetched for its receivers and are still recorded as taken at the server; and
 * those that the server only passes on, of fanout exchanges, which are this store's own. */
#ifndef MR_BROKER_STORE_BACKING_H
#define MR_BROKER_STORE_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct mr_binding;
struct mr_exchange;
struct mr_message;
struct mr_queue;
struct mr_taken; /* what the backing knows of a fetched message: mr_entry.taken */

/* Waits for one answer. `told` is called once, perhaps at once, and owns the promise then. */
struct mr_promise {
	void (*told)(struct mr_promise *p);
	enum mr_status status; /* the answer: MR_OK, or why not, with `error` */
	size_t count;          /* the answer: of queues that were reached, of messages */
	bool is_lost;          /* nobody knows: the server went away, and so do all clients */
	bool is_for_now;       /* not MR_OK, but it may be if it is tried again */
	mr_error error;
};

/* Which of a channel's queues goes first while its consumers could take less than there is. In the last two a queue waits while
 * one before it may have messages, and its consumer room. */
enum mr_backing_order {
	MR_ORDER_TURNS,    /* each in turn */
	MR_ORDER_NAMES,    /* by name */
	MR_ORDER_CONSUMERS /* as they were consumed */
};

struct mr_backing {
	const struct mr_backing_class *class;
	enum mr_backing_order order;
};

struct mr_backing_class {
	/* Routes and keeps a message; `x` is the default exchange if its name is empty. *count: how many
	 * queues it reached. `p` may be NULL: nobody waits for the answer. */
	void (*publish)(struct mr_backing *b, const struct mr_exchange *x,
		const struct mr_message *m, struct mr_promise *p);
	/* The same in `ms` from now. */
	void (*delay)(struct mr_backing *b, const struct mr_exchange *x, const struct mr_message *m,
		uint64_t ms, struct mr_promise *p);
	/* Its receivers could take up to `most` messages more: they will be put into the queue by
	 * mr_queue_arrive and delivered. Asking again while an answer is due has no effect. */
	void (*fetch)(struct mr_backing *b, struct mr_queue *q, size_t most);
	/* True: the server has said that the queue has nothing more. When that changes, it is told by mr_receiver_pass. */
	bool (*is_empty)(struct mr_backing *b, const struct mr_queue *q);
	/* One message, if there is one, for a get: it is in the queue before `p` is told. *count: how many
	 * are left there. */
	void (*get)(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p);
	/* A fetched message was acked or dropped. Takes it. */
	void (*done)(struct mr_backing *b, struct mr_taken *taken);
	/* A fetched message goes back to its queue, marked as redelivered. Takes it. */
	void (*back)(struct mr_backing *b, const struct mr_queue *q, struct mr_taken *taken);
	/* *count: the messages of a queue that are ready there. */
	void (*count)(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p);
	void (*bind)(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
		mr_slice key, struct mr_promise *p);
	void (*unbind)(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
		mr_slice key, struct mr_promise *p);
	/* Removes the ready messages (*count), and with `whole` the queue's bindings, too. */
	void (*purge)(struct mr_backing *b, struct mr_queue *q, bool whole, struct mr_promise *p);
	/* Frees what it has noted for a queue that ends. */
	void (*forget)(struct mr_backing *b, struct mr_queue *q);
	/* A binding that it has noted (mr_binding.is_noted, which it sets) ends, however that comes. */
	void (*unbound)(struct mr_backing *b, const struct mr_binding *binding);
};

/* The server has gone, or is not there: tells the promise so. NULL is allowed, here and below. */
void mr_backing_lose(struct mr_promise *p);
/* Fills the promise with an error of RabbitMQ's form and tells it. */
void mr_backing_refuse(struct mr_promise *p, int code, const char *text);

#endif
