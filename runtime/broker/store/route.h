/* route: the set of queues that a message is routed to.
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

/* The destination of a binding: a queue, or an exchange. */
struct mr_target {
	struct mr_node inbound; /* of mr_binding.at_target */
	size_t inbound_count;
	uint64_t mark; /* the last routing that reached it: mr_route.mark, or .walk */
	bool gone;     /* deleted, so that nothing is routed there: see raze.h */
	struct mr_node ruin;
	struct mr_queue *queue; /* one of these two is set */
	struct mr_exchange *exchange;
};

struct mr_route {
	struct mr_queue **queues;
	size_t count, capacity;
	uint64_t mark; /* marks queues that are in the set */
	uint64_t walk; /* marks exchanges that were visited */
	uint64_t last; /* the last value of either */
	struct mr_exchange *pending;
	const struct mr_map *exchanges; /* by name, for the alternate ones */
	size_t matched;                 /* matching bindings of the current exchange */
	uint64_t steps;                 /* checked bindings, for the limit of a turn */
	bool failed;                    /* out of memory */
};

void mr_route_target(struct mr_target *t, struct mr_queue *queue, struct mr_exchange *exchange);

/* Begins with no queues. */
void mr_route_begin(struct mr_route *route);
void mr_route_add(struct mr_route *route, struct mr_queue *queue, struct mr_target *target);
void mr_route_fini(struct mr_route *route);

#endif
