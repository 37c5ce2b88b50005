/* queue_bench: a broker with one queue, without clients.
 * SPDX-License-Identifier: MIT */
#ifndef QUEUE_BENCH_H
#define QUEUE_BENCH_H

#include "broker_bench.h"

static const struct mr_limits no_limits = {.ttl = -1,
	.expires = -1,
	.max_length = -1,
	.max_bytes = -1,
	.deliveries = -1};

struct place {
	long before;
	struct mr_broker *b;
	struct mr_queue *q;
};

static inline void begin(struct place *p, struct mr_limits limits)
{
	p->before = mr_alloc_live();
	p->b = new_broker();
	p->q = mr_queue_new(&p->b->store, mr_slice_str("q"), (mr_slice){0}, &limits);
	assert_non_null(p->q);
	assert_int_equal(mr_vhost_add_queue(mr_broker_vhost(p->b, mr_slice_str("/")), p->q), MR_OK);
}

static inline void end(struct place *p)
{
	mr_turn_finish(p->b);
	mr_broker_close(p->b);
	assert_int_equal(mr_alloc_live(), p->before);
}

static inline struct mr_entry *push(struct place *p, const char *body, uint8_t priority,
	uint64_t expiration)
{
	size_t size = strlen(body);
	struct mr_message *m =
		mr_message_new(mr_slice_str(""), mr_slice_str("q"), mr_slice_of("\0\0", 2), size);
	assert_non_null(m);
	m->body_size = size;
	m->priority = priority;
	m->expiration = expiration;
	memcpy(m->data + 1 + 2, body, size);
	mr_store_grew(&p->b->store, mr_message_weight(m));
	struct mr_entry *e = mr_queue_push(p->q, m, p->b->store.now);
	mr_store_drop(&p->b->store, m);
	assert_non_null(e);
	mr_store_grew(&p->b->store, sizeof *e); /* as mr_pump_in does */
	return e;
}

static inline struct mr_entry *plain(struct place *p, const char *body)
{
	return push(p, body, 0, MR_NO_EXPIRATION);
}

static inline struct mr_entry *take(struct place *p, const char *body)
{
	struct mr_entry *e = mr_queue_head(p->q);
	assert_non_null(e);
	mr_slice got = mr_message_body(e->message);
	if (!mr_slice_equal(got, mr_slice_str(body)))
		fail_msg("%.*s, not %s", (int)got.size, got.data, body);
	mr_queue_take(p->q, e);
	return e;
}

static inline void leaves(struct place *p, const char *body)
{
	mr_queue_forget(p->q, take(p, body));
}

#endif
