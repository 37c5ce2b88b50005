/* exchange: exchanges and bindings, and where a message goes.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_EXCHANGE_H
#define MR_BROKER_STORE_EXCHANGE_H

#include "base/dict.h"
#include "base/list.h"
#include "broker/store/message.h"
#include "broker/store/topic.h"

struct mr_queue;
struct mr_broker;
struct mr_vhost;

enum mr_exchange_type { MR_X_DIRECT, MR_X_FANOUT, MR_X_TOPIC, MR_X_HEADERS };

/* What can be bound to: a queue, or an exchange. */
struct mr_target {
	struct mr_node inbound; /* of mr_binding.at_target */
	size_t inbound_count;
	uint64_t mark; /* the last routing that met it: mr_route.mark, or .walk */
	bool gone;     /* nothing is routed there any more: see raze.h */
	struct mr_node ruin;
	struct mr_queue *queue; /* one of the two */
	struct mr_exchange *exchange;
};

struct mr_exchange {
	struct mr_target target;  /* first */
	struct mr_broker *broker; /* where it and its bindings count; NULL before it has a place */
	struct mr_vhost *vhost;
	char *name;
	enum mr_exchange_type type;
	bool durable, auto_delete, internal;
	mr_slice arguments;      /* an encoded table, given; empty: none */
	char *alternate;         /* name of the alternate exchange, or NULL */
	struct mr_node bindings; /* of mr_binding.at_source */
	size_t binding_count;
	struct mr_dict known;       /* of mr_binding, by all that it is */
	struct mr_dict leaves;      /* direct */
	struct mr_topic_node *root; /* topic */
	struct mr_exchange *next;   /* in mr_route.pending */
};

struct mr_binding {
	struct mr_node at_source, at_leaf, at_target;
	struct mr_exchange *source;
	struct mr_target *target;
	struct mr_leaf *leaf; /* of direct and topic */
	mr_slice key,
		arguments; /* parts of `id`; an encoded table in the order of its keys, or empty */
	size_t id_size;
	char id[]; /* where it leads, key, arguments */
};

/* Queues that a message goes to, each once. */
struct mr_route {
	struct mr_queue **queues;
	size_t count, capacity;
	uint64_t mark; /* of this message: queues that have it */
	uint64_t walk; /* of this routing: exchanges that were asked */
	uint64_t last; /* the last of both that was given */
	struct mr_exchange *pending;
	const struct mr_dict *exchanges; /* by name, for the alternate ones */
	size_t matched;                  /* bindings of the exchange being asked */
	uint64_t steps;                  /* bindings that were looked at, for the bound of a turn */
	bool failed;                     /* out of memory */
};

/* *gives*; copies arguments, takes alternate (on failure too). NULL when out of memory. */
struct mr_exchange *mr_exchange_new(mr_slice name, enum mr_exchange_type type, mr_slice arguments,
	char *alternate);
size_t mr_exchange_weight(const struct mr_exchange *x);
/* Frees it with its bindings on either side. */
void mr_exchange_free(struct mr_exchange *x);
const char *mr_exchange_type_name(enum mr_exchange_type type);
bool mr_exchange_type_of(mr_slice name, enum mr_exchange_type *out);

void mr_target_init(struct mr_target *t, struct mr_queue *queue, struct mr_exchange *exchange);

/* Binds; the same binding twice is one: with the same fields of the same types, whatever their order.
 * `arguments` is an encoded table, or empty. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_bind(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments);
/* *out: the binding, or NULL. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_binding_find(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments, struct mr_binding **out);
void mr_unbind(struct mr_binding *binding);

/* Begins with no queues. */
void mr_route_begin(struct mr_route *route);
/* Adds the queues that a message of these addresses gets to from here: each exchange on the way looks at
 * all of its keys, and once. */
void mr_exchange_route(struct mr_exchange *x, const struct mr_addresses *to,
	struct mr_route *route);
void mr_route_add(struct mr_route *route, struct mr_queue *queue, struct mr_target *target);

#endif
