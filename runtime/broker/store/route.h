/* route: the queues that a message gets to, each once.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_ROUTE_H
#define MR_BROKER_STORE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct mr_map;
struct mr_exchange;
struct mr_queue;

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

struct mr_route {
	struct mr_queue **queues;
	size_t count, capacity;
	uint64_t mark; /* of this message: queues that have it */
	uint64_t walk; /* of this routing: exchanges that were asked */
	uint64_t last; /* the last of both that was given */
	struct mr_exchange *pending;
	const struct mr_map *exchanges; /* by name, for the alternate ones */
	size_t matched;                 /* bindings of the exchange being asked */
	uint64_t steps;                 /* bindings that were looked at, for the bound of a turn */
	bool failed;                    /* out of memory */
};

void mr_route_target(struct mr_target *t, struct mr_queue *queue, struct mr_exchange *exchange);

/* Begins with no queues. */
void mr_route_begin(struct mr_route *route);
void mr_route_add(struct mr_route *route, struct mr_queue *queue, struct mr_target *target);
void mr_route_fini(struct mr_route *route);

#endif
