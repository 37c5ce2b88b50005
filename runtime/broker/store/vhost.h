/* vhost: a virtual host: the names of exchanges and queues.
 * SPDX-License-Identifier: MIT
 * Pure. raze deletes them. */
#ifndef MR_BROKER_STORE_VHOST_H
#define MR_BROKER_STORE_VHOST_H

#include "broker/store/exchange.h"
#include "broker/store/queue.h"

struct mr_vhost {
	struct mr_store *store;
	char *name;
	struct mr_map exchanges, queues;
	struct mr_exchange *nameless; /* the default exchange */
};

struct mr_vhost *mr_vhost_new(struct mr_store *s, mr_slice name); /* with amq.*; NULL: no memory */
void mr_vhost_free(struct mr_vhost *v); /* its queues must be deleted; NULL is allowed */

struct mr_exchange *mr_vhost_exchange(const struct mr_vhost *v, mr_slice name);
struct mr_queue *mr_vhost_queue(const struct mr_vhost *v, mr_slice name);
/* Adds it by its name; on failure (no memory) it is freed. A queue is also bound to the default
 * exchange by its name. */
enum mr_status mr_vhost_add_exchange(struct mr_vhost *v, struct mr_exchange *x);
enum mr_status mr_vhost_add_queue(struct mr_vhost *v, struct mr_queue *q);

/* Routes a message published to `x`: the result is v->store->route. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_vhost_route(struct mr_vhost *v, struct mr_exchange *x,
	const struct mr_message *m);

#endif
