/* spread: puts a message into the queues that it was routed to.
 * SPDX-License-Identifier: MIT
 * Pure. Very many queues take several turns. */
#ifndef MR_BROKER_STORE_SPREAD_H
#define MR_BROKER_STORE_SPREAD_H

#include "broker/store/store.h"

struct mr_spread {
	struct mr_message *message;
	size_t at, count;
	bool taken; /* no queue has rejected it so far */
	struct mr_queue *queues[];
};

/* Puts a message into those routed queues that are of direct reply-to, and removes them from the
 * route: as in RabbitMQ, an answer is sent at once, even in a transaction, and does not count for
 * `mandatory`. */
void mr_spread_reply(struct mr_store *s, struct mr_message *m);
/* Puts a message into the routed queues and lets them deliver. False: a full queue rejected it, or
 * there was no memory. If the turn ends before the last queue, *rest is *given*, else it is
 * unchanged. */
bool mr_spread_begin(struct mr_store *s, struct mr_message *m, struct mr_spread **rest);
/* False: the turn ended before the last queue. */
bool mr_spread_go_on(struct mr_store *s, struct mr_spread *rest);
/* Frees it; returns whether all queues accepted the message. */
bool mr_spread_end(struct mr_store *s, struct mr_spread **rest);

#endif
