/* exchange: exchanges, bindings, and the routing of messages.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_EXCHANGE_H
#define MR_BROKER_STORE_EXCHANGE_H

#include "base/map.h"
#include "base/list.h"
#include "broker/store/store.h"
#include "broker/store/topic.h"

struct mr_vhost;

enum mr_exchange_type { MR_X_DIRECT, MR_X_FANOUT, MR_X_TOPIC, MR_X_HEADERS };

struct mr_exchange {
	struct mr_target target; /* first */
	struct mr_store *store;  /* counts its memory; NULL before it is added to a vhost */
	struct mr_vhost *vhost;
	char *name;
	enum mr_exchange_type type;
	bool durable, auto_delete, internal;
	mr_slice arguments;      /* an encoded table, given; empty: none */
	char *alternate;         /* name of the alternate exchange, or NULL */
	struct mr_node bindings; /* of mr_binding.at_source */
	size_t binding_count;
	struct mr_map known;        /* of mr_binding, by all that it is */
	struct mr_map leaves;       /* direct */
	struct mr_topic_node *root; /* topic */
	struct mr_exchange *next;   /* in mr_route.pending */
};

struct mr_binding {
	struct mr_node at_source, at_leaf, at_target;
	struct mr_exchange *source;
	struct mr_target *target;
	struct mr_leaf *leaf; /* of direct and topic */
	bool is_noted;        /* the backing is told when it ends: see backing.h */
	mr_slice key,
		arguments; /* parts of `id`; an encoded table in the order of its keys, or empty */
	size_t id_size;
	char id[]; /* where it leads, key, arguments */
};

/* *gives*; copies arguments, takes alternate (on failure too). NULL when out of memory. */
struct mr_exchange *mr_exchange_new(mr_slice name, enum mr_exchange_type type, mr_slice arguments,
	char *alternate);
size_t mr_exchange_weight(const struct mr_exchange *x);
/* Frees it with all of its bindings. */
void mr_exchange_free(struct mr_exchange *x);
const char *mr_exchange_type_name(enum mr_exchange_type type);
bool mr_exchange_type_of(mr_slice name, enum mr_exchange_type *out);

/* Binds; an equal binding (with the same fields of the same types, in any order) is added only
 * once. `arguments` is an encoded table, or empty. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_exchange_bind(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments);
/* *out: the binding, or NULL. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_exchange_find_binding(struct mr_exchange *source, struct mr_target *target,
	mr_slice key, mr_slice arguments, struct mr_binding **out);
void mr_exchange_unbind(struct mr_binding *binding);

/* Adds the queues that a message with these addresses is routed to from here: each exchange on the
 * way checks all keys, once. */
void mr_exchange_route(struct mr_exchange *x, const struct mr_addresses *to,
	struct mr_route *route);

#endif
