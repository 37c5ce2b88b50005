/* vhost: a virtual host: the names of exchanges and queues, and a message's way into them.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_VHOST_H
#define MR_BROKER_STORE_VHOST_H

#include "broker/client/broker.h"

struct mr_spread;

struct mr_vhost {
	struct mr_broker *broker;
	char *name;
	struct mr_dict exchanges, queues;
	struct mr_exchange *nameless; /* the default exchange */
};

struct mr_vhost *mr_vhost_new(struct mr_broker *b, mr_slice name); /* with amq.*; NULL: no memory */
void mr_vhost_free(struct mr_vhost *v);

struct mr_exchange *mr_vhost_exchange(const struct mr_vhost *v, mr_slice name);
struct mr_queue *mr_vhost_queue(const struct mr_vhost *v, mr_slice name);
/* Gives it a name here; on failure (no memory) it is freed. A queue is also bound to the default
 * exchange by its name. */
enum mr_status mr_vhost_add_exchange(struct mr_vhost *v, struct mr_exchange *x);
enum mr_status mr_vhost_add_queue(struct mr_vhost *v, struct mr_queue *q);
/* Removes it with its bindings; exchanges that were auto-deleted for want of one go, too. */
void mr_vhost_remove_exchange(struct mr_exchange *x);
/* Removes it: its consumers are told (basic.cancel), its messages dropped. Its memory may live on until
 * what it delivered is settled. */
void mr_vhost_remove_queue(struct mr_queue *q);
void mr_vhost_unbind(struct mr_binding *binding);

/* Where a message published to `x` goes: into v->broker->route. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_vhost_route(struct mr_vhost *v, struct mr_exchange *x,
	const struct mr_message *m);
/* Brings a message to those of the routed queues that are direct reply-to's, and takes these off the route: as
 * in RabbitMQ an answer goes at once, whatever the transaction, and is no route that `mandatory` would count. */
void mr_vhost_reply(struct mr_vhost *v, struct mr_message *m);
/* Puts a message into the routed queues and lets them deliver. False: a full queue rejected it, or
 * there was no memory. *rest is given when there are more than the turn has room for, else left alone. */
bool mr_vhost_enqueue(struct mr_vhost *v, struct mr_message *m, struct mr_spread **rest);
bool mr_vhost_enqueue_one(struct mr_queue *q, struct mr_message *m);

/* After anything that may let a queue deliver, expire or overflow. */
void mr_vhost_queue_moved(struct mr_queue *q);
void mr_vhost_queue_step(struct mr_queue *q, size_t most); /* the same, but few deliveries */
void mr_vhost_queue_back(
	struct mr_queue *q); /* after messages came back: what is too much goes first */
void mr_vhost_queue_due(struct mr_queue *q); /* its deadline has come */
/* Drops all messages that are ready. */
void mr_vhost_purge(struct mr_queue *q);
/* An entry that was taken leaves for good. */
void mr_vhost_forget(struct mr_queue *q, struct mr_entry *e);
/* Undoes a `q->out++` that kept a queue from being freed. */
void mr_vhost_unpin(struct mr_queue *q);
/* The queue was used by a client: x-expires counts anew. */
void mr_vhost_queue_used(struct mr_queue *q);

#endif
