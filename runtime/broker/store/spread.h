/* spread: a message on its way into the queues that it was routed to.
 * SPDX-License-Identifier: MIT
 * Pure. They may be more than a turn has room for. */
#ifndef MR_BROKER_STORE_SPREAD_H
#define MR_BROKER_STORE_SPREAD_H

#include "broker/store/store.h"

struct mr_spread {
	struct mr_message *message;
	size_t at, count;
	bool taken; /* no queue has rejected it so far */
	struct mr_queue *queues[];
};

/* Brings a message to those of the routed queues that are direct reply-to's, and takes these off the route: as
 * in RabbitMQ an answer goes at once, whatever the transaction, and is no route that `mandatory` would count. */
void mr_spread_reply(struct mr_store *s, struct mr_message *m);
/* Puts a message into the routed queues and lets them deliver. False: a full queue rejected it, or
 * there was no memory. *rest is given when there are more than the turn has room for, else left alone. */
bool mr_spread_begin(struct mr_store *s, struct mr_message *m, struct mr_spread **rest);
/* False: there is more than the turn has room for. */
bool mr_spread_go_on(struct mr_store *s, struct mr_spread *rest);
/* Frees it; returns whether all took it. */
bool mr_spread_end(struct mr_store *s, struct mr_spread **rest);

#endif
