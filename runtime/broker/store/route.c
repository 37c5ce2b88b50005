/* route: the set of queues that a message is routed to.
 * SPDX-License-Identifier: MIT */
#include "broker/store/route.h"

#include "base/alloc.h"

void mr_route_target(struct mr_target *t, struct mr_queue *queue, struct mr_exchange *exchange)
{
	*t = (struct mr_target){.queue = queue, .exchange = exchange};
	mr_list_init(&t->inbound);
}

void mr_route_begin(struct mr_route *route)
{
	route->count = 0;
	route->failed = false;
	route->mark = ++route->last;
}

void mr_route_add(struct mr_route *route, struct mr_queue *queue, struct mr_target *target)
{
	if (target->mark == route->mark) return;
	target->mark = route->mark;
	if (route->count == route->capacity) {
		size_t capacity = route->capacity ? route->capacity * 2 : 16;
		struct mr_queue **queues = mr_realloc(route->queues, capacity * sizeof *queues);
		if (!queues) {
			route->failed = true;
			return;
		}
		route->queues = queues;
		route->capacity = capacity;
	}
	route->queues[route->count++] = queue;
}

void mr_route_fini(struct mr_route *route) { mr_free(route->queues); }
