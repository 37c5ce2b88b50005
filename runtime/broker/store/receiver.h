/* receiver: the receivers of a queue, and their turns.
 * SPDX-License-Identifier: MIT
 * Pure. The queue's view of its consumers; the rest is in client/consumer. */
#ifndef MR_BROKER_STORE_RECEIVER_H
#define MR_BROKER_STORE_RECEIVER_H

#include "broker/store/queue.h"

struct mr_receiver_class {
	bool (*takes)(const struct mr_receiver *r); /* true if it can take a message now */
	/* How many messages it could take now, at most `most`. */
	size_t (*room)(const struct mr_receiver *r, size_t most);
	/* Gives it an entry that was taken from its queue. False: out of memory, it was not
	 * delivered. */
	bool (*deliver)(struct mr_receiver *r, struct mr_entry *e);
	/* Others may go on that have waited for this one: see mr_backing_order. */
	void (*pass)(struct mr_receiver *r);
	void (*cancelled)(struct mr_receiver *r); /* the queue is deleted: it must leave */
};

struct mr_receiver {
	const struct mr_receiver_class *class;
	struct mr_node at_queue;
	struct mr_queue *queue; /* NULL: it has left */
	int64_t priority;
	bool exclusive;
};

/* Adds it to the queue; deliveries begin with the next mr_pump. */
void mr_receiver_join(struct mr_receiver *r, struct mr_queue *q);
/* Removes it from its queue. True: it was the single active one, and the next one may get
 * messages. */
bool mr_receiver_leave(struct mr_receiver *r);
/* After its turn: moves it behind all others of its priority. */
void mr_receiver_line_up(struct mr_receiver *r);
/* A backing has answered for the queue: those that wait for it may go on. */
void mr_receiver_pass(const struct mr_queue *q);
/* How many messages the queue's receivers could take now, at most `most`. */
size_t mr_receiver_room(const struct mr_queue *q, size_t most);
/* The next receiver that can take a message, or NULL. */
struct mr_receiver *mr_receiver_next(const struct mr_queue *q);

#endif
