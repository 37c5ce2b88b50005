/* receiver: who waits at a queue for its messages, and whose turn it is.
 * SPDX-License-Identifier: MIT
 * Pure. What a queue knows of its consumers: the rest is client/consumer's. */
#ifndef MR_BROKER_STORE_RECEIVER_H
#define MR_BROKER_STORE_RECEIVER_H

#include "broker/store/queue.h"

struct mr_receiver_class {
	bool (*takes)(const struct mr_receiver *r); /* it may have a message now */
	/* Gives it an entry that was taken from its queue. False: out of memory, it has not got it. */
	bool (*deliver)(struct mr_receiver *r, struct mr_entry *e);
	void (*cancelled)(struct mr_receiver *r); /* the queue goes: it must leave */
};

struct mr_receiver {
	const struct mr_receiver_class *class;
	struct mr_node at_queue;
	struct mr_queue *queue; /* NULL: it has left */
	int64_t priority;
	bool exclusive;
};

/* Comes to the queue; deliveries begin with the next mr_pump. */
void mr_receiver_join(struct mr_receiver *r, struct mr_queue *q);
/* Leaves its queue. True: it was the single active one, and the next one may take what it could not. */
bool mr_receiver_leave(struct mr_receiver *r);
/* Its turn has been: it goes behind all others of its priority. */
void mr_receiver_line_up(struct mr_receiver *r);
/* Whose turn it is, of those that may have a message; or NULL. */
struct mr_receiver *mr_receiver_next(const struct mr_queue *q);

#endif
