/* queue: messages in order, with their priorities, limits and times to live.
 * SPDX-License-Identifier: MIT */
#include "broker/store/queue.h"

#include "base/alloc.h"
#include "broker/store/backing.h"

static size_t level_count(const struct mr_queue *q) { return (size_t)q->limits.max_priority + 1; }

struct mr_queue *mr_queue_new(struct mr_store *store, mr_slice name, mr_slice arguments,
	const struct mr_limits *limits)
{
	struct mr_queue *q = mr_calloc(1, sizeof *q);
	if (!q) {
		mr_free((void *)(uintptr_t)arguments.data);
		return NULL;
	}
	q->arguments = arguments;
	q->limits = *limits;
	q->store = store;
	q->deadline = MR_NEVER;
	mr_route_target(&q->target, q, NULL);
	mr_list_init(&q->consumers);
	q->name = mr_strdup_n(name.data, name.size);
	q->levels = mr_calloc(level_count(q), sizeof *q->levels);
	if (!q->name || !q->levels) {
		mr_queue_free(q);
		return NULL;
	}
	for (size_t i = 0; i < level_count(q); i++) mr_list_init(&q->levels[i]);
	q->weight = sizeof *q + name.size + arguments.size + level_count(q) * sizeof *q->levels;
	mr_store_built(store, q->weight);
	return q;
}

void mr_queue_free(struct mr_queue *q)
{
	mr_store_razed(q->store, q->weight);
	mr_free((void *)(uintptr_t)q->arguments.data);
	mr_free(q->levels);
	mr_free(q->name);
	mr_free(q);
}

/* ---- in and out ---- */

static mr_msec expiry(const struct mr_queue *q, const struct mr_message *m, mr_msec now)
{
	uint64_t ttl = q->limits.ttl >= 0 ? (uint64_t)q->limits.ttl : MR_NO_EXPIRATION;
	if (m->expiration < ttl) ttl = m->expiration;
	return ttl == MR_NO_EXPIRATION ? MR_NEVER : now + (mr_msec)ttl;
}

static void count(struct mr_queue *q, const struct mr_entry *e, bool in)
{
	q->ready += in ? 1 : (size_t)-1;
	if (!e->taken) q->own += in ? 1 : (size_t)-1;
	q->ready_bytes += in ? e->message->body_size : -e->message->body_size;
}

struct mr_entry *mr_queue_push(struct mr_queue *q, struct mr_message *message, mr_msec now)
{
	struct mr_entry *e = mr_malloc(sizeof *e);
	if (!e) return NULL;
	*e = (struct mr_entry){.message = mr_message_keep(message),
		.position = q->next_position++,
		.expires = expiry(q, message, now)};
	int top = q->limits.max_priority;
	e->level = (uint8_t)(message->priority < top ? message->priority : top);
	mr_list_append(&q->levels[e->level], &e->node);
	count(q, e, true);
	return e;
}

bool mr_queue_arrive(struct mr_queue *q, struct mr_message *message, struct mr_taken *taken,
	mr_msec expires, bool redelivered)
{
	struct mr_entry *e = mr_queue_push(q, message, q->store->now);
	if (!e) return false;
	mr_list_remove(&e->node); /* the order is the backing's, too */
	e->level = 0;
	mr_list_append(&q->levels[0], &e->node);
	e->expires = expires;
	e->taken = taken;
	q->own--; /* it was counted without */
	e->redelivered = redelivered;
	mr_store_grew(q->store, sizeof *e);
	return true;
}

static struct mr_entry *first(const struct mr_node *level)
{
	return level->next == level ? NULL : mr_container(level->next, struct mr_entry, node);
}

struct mr_entry *mr_queue_head(const struct mr_queue *q)
{
	struct mr_entry *e = NULL;
	if (!q->ready) return NULL;
	for (size_t i = level_count(q); !e && i-- > 0;) e = first(&q->levels[i]);
	return e;
}

void mr_queue_take(struct mr_queue *q, struct mr_entry *e)
{
	mr_list_remove(&e->node);
	if (q->back == e) q->back = NULL;
	count(q, e, false);
	q->out++;
}

void mr_queue_empty(struct mr_queue *q, struct mr_node *into)
{
	for (size_t i = 0; i < level_count(q); i++) mr_list_splice(into, &q->levels[i]);
	q->back = NULL;
	q->ready = q->own = 0;
	q->ready_bytes = 0;
}

static void give_back(struct mr_queue *q, struct mr_entry *e)
{
	struct mr_backing *b = q->store->backing;
	b->class->back(b, q, e->taken);
	e->taken = NULL;
	mr_entry_discard(q->store, e);
}

void mr_queue_return_all(struct mr_queue *q)
{
	/* Each is put before those that are there already: the oldest comes last. */
	for (size_t i = level_count(q); q->ready > q->own && i-- > 0;) {
		for (struct mr_node *n = q->levels[i].prev, *next; n != &q->levels[i]; n = next) {
			struct mr_entry *e = mr_container(n, struct mr_entry, node);
			next = n->prev;
			if (!e->taken) continue;
			mr_list_remove(n);
			if (q->back == e) q->back = NULL;
			count(q, e, false);
			give_back(q, e);
		}
	}
}

void mr_queue_requeue(struct mr_queue *q, struct mr_entry *e)
{
	if (e->taken) {
		give_back(q, e);
		mr_queue_unpin(q);
		return;
	}
	struct mr_node *level = &q->levels[e->level], *at = level->next;
	/* A requeued message is older than nearly all messages of the queue, or follows the
	 * previously requeued one. */
	if (q->back && q->back->level == e->level && q->back->position < e->position)
		at = q->back->node.next;
	size_t glances = 0;
	for (; at != level && mr_container(at, struct mr_entry, node)->position < e->position;
		at = at->next)
		glances++;
	q->store->work += glances / MR_GLANCES;
	mr_list_append(at, &e->node); /* before `at` */
	e->redelivered = true;
	q->back = e;
	count(q, e, true);
	q->out--;
}

bool mr_queue_gives_up(const struct mr_queue *q, struct mr_entry *e)
{
	return q->limits.deliveries >= 0 && e->returns++ >= q->limits.deliveries;
}

/* ---- out for good ---- */

void mr_queue_purge(struct mr_queue *q)
{
	mr_queue_empty(q, &q->store->garbage);
	mr_entry_sweep(q->store);
}

void mr_queue_unpin(struct mr_queue *q)
{
	if (--q->out == 0 && q->deleted) mr_queue_free(q);
}

void mr_queue_forget(struct mr_queue *q, struct mr_entry *e)
{
	mr_entry_discard(q->store, e);
	mr_queue_unpin(q);
}

void mr_queue_drop(struct mr_queue *q, struct mr_entry *e, enum mr_death why)
{
	if (q->deleted || !q->limits.dead_exchange.data) {
		mr_queue_forget(q, e);
		return;
	}
	e->from = q;
	e->why = (uint8_t)why;
	q->store->work++;
	mr_list_append(&q->store->dying, &e->node);
}

void mr_queue_drop_unborn(struct mr_queue *q, struct mr_message *m)
{
	struct mr_entry *e = q->limits.dead_exchange.data ? mr_calloc(1, sizeof *e) : NULL;
	if (!e) return; /* without memory it is dropped, as without a dead-letter exchange */
	e->message = mr_message_keep(m);
	mr_store_grew(q->store, sizeof *e);
	q->out++;
	mr_queue_drop(q, e, MR_DEATH_MAXLEN);
}

void mr_queue_postpone(struct mr_queue *q)
{
	if (!q->busy.next) mr_list_append(&q->store->busy, &q->busy);
}

/* ---- times and limits ---- */

/* As in RabbitMQ, a message expires only at the head. */
struct mr_entry *mr_queue_expired(const struct mr_queue *q, mr_msec now)
{
	for (size_t i = 0; q->ready && i < level_count(q); i++) {
		struct mr_entry *e = first(&q->levels[i]);
		if (e && e->expires <= now) return e;
	}
	return NULL;
}

mr_msec mr_queue_next_expiry(const struct mr_queue *q)
{
	mr_msec at = MR_NEVER;
	for (size_t i = 0; q->ready && i < level_count(q); i++) {
		const struct mr_entry *e = first(&q->levels[i]);
		if (e) at = mr_earlier(at, e->expires);
	}
	return at;
}

static bool is_over(const struct mr_queue *q, size_t messages, uint64_t bytes)
{
	const struct mr_limits *l = &q->limits;
	return (l->max_length >= 0 && messages > (uint64_t)l->max_length) ||
	       (l->max_bytes >= 0 && bytes > (uint64_t)l->max_bytes);
}

bool mr_queue_refuses(const struct mr_queue *q, uint64_t bytes)
{
	return q->limits.overflow != MR_DROP_HEAD &&
	       is_over(q, q->ready + 1, q->ready_bytes + bytes);
}

struct mr_entry *mr_queue_surplus(const struct mr_queue *q)
{
	return is_over(q, q->ready, q->ready_bytes) ? mr_queue_head(q) : NULL;
}
