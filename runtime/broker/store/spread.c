/* spread: puts a message into the queues that it was routed to.
 * SPDX-License-Identifier: MIT */
#include "broker/store/spread.h"

#include "base/alloc.h"
#include "broker/store/pump.h"

#define FEW 32 /* queues that a message reaches in one turn, even if it is spent */

void mr_spread_reply(struct mr_store *s, struct mr_message *m)
{
	struct mr_route *r = &s->route;
	size_t kept = 0;
	for (size_t i = 0; i < r->count; i++) {
		if (r->queues[i]->is_reply)
			mr_pump_in(r->queues[i], m);
		else
			r->queues[kept++] = r->queues[i];
	}
	r->count = kept;
}

static size_t size_of(size_t count)
{
	return sizeof(struct mr_spread) + count * sizeof(struct mr_queue *);
}

/* *gives* the rest of a routing from its `at`th queue on; NULL if out of memory. */
static struct mr_spread *spread_rest(struct mr_store *s, struct mr_message *m, size_t at,
	bool taken)
{
	const struct mr_route *r = &s->route;
	size_t count = r->count - at;
	struct mr_spread *rest = mr_malloc(size_of(count));
	if (!rest) return NULL;
	*rest = (struct mr_spread){.message = mr_message_keep(m), .count = count, .taken = taken};
	for (size_t i = 0; i < count; i++) {
		rest->queues[i] = r->queues[at + i];
		rest->queues[i]->out++; /* it must not be freed before its turn */
	}
	mr_store_grew(s, size_of(count));
	return rest;
}

bool mr_spread_begin(struct mr_store *s, struct mr_message *m, struct mr_spread **rest)
{
	bool taken = true;
	size_t count = s->route.count;
	for (size_t i = 0; i < count; i++) {
		bool is_over = count - i > FEW && mr_store_is_spent(s);
		if (is_over && (*rest = spread_rest(s, m, i, taken))) break;
		if (!mr_pump_in(s->route.queues[i], m)) taken = false;
	}
	return taken;
}

bool mr_spread_go_on(struct mr_store *s, struct mr_spread *rest)
{
	for (; rest->at < rest->count && !mr_store_is_spent(s); rest->at++) {
		struct mr_queue *q = rest->queues[rest->at];
		if (!q->deleted && !mr_pump_in(q, rest->message)) rest->taken = false;
		mr_queue_unpin(q);
	}
	return rest->at == rest->count;
}

bool mr_spread_end(struct mr_store *s, struct mr_spread **spread)
{
	struct mr_spread *rest = *spread;
	bool taken = rest->taken;
	*spread = NULL;
	mr_store_shrank(s, size_of(rest->count));
	mr_store_drop(s, rest->message);
	mr_free(rest);
	return taken;
}
