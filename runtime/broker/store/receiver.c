/* receiver: the receivers of a queue, and their turns.
 * SPDX-License-Identifier: MIT */
#include "broker/store/receiver.h"

static struct mr_receiver *at(struct mr_node *node)
{
	return mr_container(node, struct mr_receiver, at_queue);
}

/* Puts it after all with its priority, before all with less. */
static void line_up(struct mr_receiver *r)
{
	struct mr_node *head = &r->queue->consumers, *behind = head->prev;
	while (behind != head && at(behind)->priority < r->priority) behind = behind->prev;
	mr_list_append(behind->next, &r->at_queue);
}

void mr_receiver_join(struct mr_receiver *r, struct mr_queue *q)
{
	r->queue = q;
	line_up(r);
	q->consumer_count++;
	if (r->exclusive) q->exclusive_consumer = r;
	if (q->limits.single_active && !q->active) q->active = r;
}

/* The next single active consumer is the first one with the highest priority. */
static void elect(struct mr_queue *q)
{
	q->active = mr_list_is_empty(&q->consumers) ? NULL : at(q->consumers.next);
}

bool mr_receiver_leave(struct mr_receiver *r)
{
	struct mr_queue *q = r->queue;
	bool is_active = q->active == r;
	mr_list_remove(&r->at_queue);
	q->consumer_count--;
	if (q->exclusive_consumer == r) q->exclusive_consumer = NULL;
	if (is_active) elect(q);
	r->queue = NULL;
	return is_active;
}

void mr_receiver_line_up(struct mr_receiver *r)
{
	if (r->queue->consumers.next == r->queue->consumers.prev) return; /* it is the only one */
	mr_list_remove(&r->at_queue);
	line_up(r);
}

struct mr_receiver *mr_receiver_next(const struct mr_queue *q)
{
	struct mr_receiver *found = NULL;
	size_t glances = 0;
	for (struct mr_node *n = q->consumers.next; !found && n != &q->consumers; n = n->next) {
		struct mr_receiver *r = at(n);
		bool waits = q->limits.single_active && q->active != r;
		if (!waits && r->class->takes(r)) found = r;
		glances++;
	}
	q->store->work += glances / MR_GLANCES;
	return found;
}

void mr_receiver_pass(const struct mr_queue *q)
{
	for (struct mr_node *n = q->consumers.next; n != &q->consumers; n = n->next)
		at(n)->class->pass(at(n));
}

size_t mr_receiver_room(const struct mr_queue *q, size_t most)
{
	size_t room = 0;
	for (struct mr_node *n = q->consumers.next; room < most && n != &q->consumers;
		n = n->next) {
		struct mr_receiver *r = at(n);
		bool waits = q->limits.single_active && q->active != r;
		if (!waits && r->class->takes(r)) room += r->class->room(r, most - room);
	}
	return room;
}
