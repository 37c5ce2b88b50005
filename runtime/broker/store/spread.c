/* spread: a message on its way into more queues than a turn has room for.
 * SPDX-License-Identifier: MIT */
#include "broker/store/spread.h"

#include "base/alloc.h"

static size_t size_of(size_t count)
{
	return sizeof(struct mr_spread) + count * sizeof(struct mr_queue *);
}

struct mr_spread *mr_spread_new(struct mr_broker *b, struct mr_message *m, size_t at, bool taken)
{
	const struct mr_route *r = &b->route;
	size_t count = r->count - at;
	struct mr_spread *s = mr_malloc(size_of(count));
	if (!s) return NULL;
	*s = (struct mr_spread){.message = mr_message_keep(m), .count = count, .taken = taken};
	for (size_t i = 0; i < count; i++) {
		s->queues[i] = r->queues[at + i];
		s->queues[i]->out++; /* it must not be freed before its turn has come */
	}
	mr_broker_grew(b, size_of(count));
	return s;
}

bool mr_spread_go_on(struct mr_broker *b, struct mr_spread *s)
{
	for (; s->at < s->count && !mr_broker_is_spent(b); s->at++) {
		struct mr_queue *q = s->queues[s->at];
		if (!q->deleted && !mr_vhost_enqueue_one(q, s->message)) s->taken = false;
		mr_vhost_unpin(q);
	}
	return s->at == s->count;
}

bool mr_spread_end(struct mr_broker *b, struct mr_spread **spread)
{
	struct mr_spread *s = *spread;
	bool taken = s->taken;
	*spread = NULL;
	mr_broker_shrank(b, size_of(s->count));
	mr_broker_drop(b, s->message);
	mr_free(s);
	return taken;
}
