/* deadline: the deadlines of queues: for expiring messages, and for the expiry of the queue.
 * SPDX-License-Identifier: MIT
 * A binary heap. */
#include "broker/store/deadline.h"

#include "base/alloc.h"

static void place(struct mr_store *s, struct mr_queue *q, size_t at)
{
	s->heap[at] = q;
	q->at_heap = at + 1;
}

static void sift_up(struct mr_store *s, struct mr_queue *q, size_t at)
{
	while (at && s->heap[(at - 1) / 2]->deadline > q->deadline) {
		place(s, s->heap[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	place(s, q, at);
}

static void sift_down(struct mr_store *s, struct mr_queue *q, size_t at)
{
	for (;;) {
		size_t child = at * 2 + 1;
		if (child >= s->heap_count) break;
		if (child + 1 < s->heap_count &&
			s->heap[child + 1]->deadline < s->heap[child]->deadline)
			child++;
		if (s->heap[child]->deadline >= q->deadline) break;
		place(s, s->heap[child], at);
		at = child;
	}
	place(s, q, at);
}

void mr_deadline_clear(struct mr_queue *q)
{
	struct mr_store *s = q->store;
	if (!q->at_heap) return;
	size_t at = q->at_heap - 1;
	struct mr_queue *last = s->heap[--s->heap_count];
	q->at_heap = 0;
	q->deadline = MR_NEVER;
	if (last == q) return;
	sift_up(s, last, at);
	sift_down(s, last, last->at_heap - 1);
}

static bool has_room(struct mr_store *s)
{
	if (s->heap_count < s->heap_capacity) return true;
	size_t capacity = s->heap_capacity ? s->heap_capacity * 2 : 16;
	struct mr_queue **heap = mr_realloc(s->heap, capacity * sizeof *heap);
	if (!heap) return false;
	s->heap = heap;
	s->heap_capacity = capacity;
	return true;
}

void mr_deadline_set(struct mr_queue *q)
{
	struct mr_store *s = q->store;
	mr_msec at = mr_queue_next_expiry(q);
	if (q->limits.expires >= 0 && !q->consumer_count)
		at = mr_earlier(at, q->used + q->limits.expires);
	if (at == q->deadline) return;
	if (at == MR_NEVER) {
		mr_deadline_clear(q);
		return;
	}
	/* Without memory the queue is checked at its next use. */
	if (!q->at_heap && !has_room(s)) return;
	q->deadline = at;
	if (!q->at_heap) {
		sift_up(s, q, s->heap_count++);
		return;
	}
	sift_up(s, q, q->at_heap - 1);
	sift_down(s, q, q->at_heap - 1);
}

void mr_deadline_renew(struct mr_queue *q)
{
	q->used = q->store->now;
	mr_deadline_set(q);
}

mr_msec mr_deadline_next(const struct mr_store *s)
{
	return s->heap_count ? s->heap[0]->deadline : MR_NEVER;
}

struct mr_queue *mr_deadline_due(const struct mr_store *s)
{
	return mr_deadline_next(s) <= s->now ? s->heap[0] : NULL;
}
