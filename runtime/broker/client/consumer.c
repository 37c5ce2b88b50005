/* consumer: who waits at a queue, and who gets the next message.
 * SPDX-License-Identifier: MIT */
#include "broker/client/consumer.h"

#include "base/alloc.h"
#include "broker/client/channel.h"
#include "broker/store/dead_letter.h"
#include "broker/store/vhost.h"

/* Behind all of its own priority, before all of less. */
static void line_up(struct mr_consumer *c)
{
	struct mr_node *head = &c->queue->consumers, *at = head->prev;
	while (at != head && mr_container(at, struct mr_consumer, at_queue)->priority < c->priority)
		at = at->prev;
	mr_list_append(at->next, &c->at_queue);
}

struct mr_consumer *mr_consumer_new(struct mr_broker_channel *channel, struct mr_queue *queue,
	const struct mr_consume *how)
{
	struct mr_consumer *c = mr_calloc(1, sizeof *c);
	if (!c) return NULL;
	c->tag = mr_strdup_n(how->tag.data, how->tag.size);
	if (!c->tag || mr_dict_put(&channel->tags, mr_slice_str(c->tag), c) != MR_OK) {
		mr_free(c->tag);
		mr_free(c);
		return NULL;
	}
	c->channel = channel;
	c->queue = queue;
	c->priority = how->priority;
	c->prefetch = how->prefetch;
	c->no_ack = how->no_ack;
	c->exclusive = how->exclusive;
	c->broker = queue->vhost->broker;
	mr_broker_built(c->broker, sizeof *c + strlen(c->tag));
	line_up(c);
	mr_list_append(&channel->consumers, &c->at_channel);
	queue->consumer_count++;
	if (c->exclusive) queue->exclusive_consumer = c;
	if (queue->limits.single_active && !queue->active) queue->active = c;
	return c;
}

static void free_if_done(struct mr_consumer *c)
{
	if (!c->gone || c->unacked) return;
	mr_broker_razed(c->broker, sizeof *c + strlen(c->tag));
	mr_free(c->tag);
	mr_free(c);
}

/* The next single active consumer is the one of the highest priority that came first. */
static void elect(struct mr_queue *q)
{
	q->active = mr_list_is_empty(&q->consumers)
	                    ? NULL
	                    : mr_container(q->consumers.next, struct mr_consumer, at_queue);
}

void mr_consumer_end(struct mr_consumer *c)
{
	struct mr_queue *q = c->queue;
	mr_list_remove(&c->at_queue);
	mr_list_remove(&c->at_channel);
	mr_dict_take(&c->channel->tags, mr_slice_str(c->tag));
	q->consumer_count--;
	if (q->exclusive_consumer == c) q->exclusive_consumer = NULL;
	if (q->is_reply) mr_broker_channel_end_reply(c->channel);
	bool is_active = q->active == c;
	if (is_active) elect(q);
	c->gone = true;
	c->channel = NULL;
	c->queue = NULL;
	free_if_done(c);
	if (q->deleted) return;
	mr_vhost_queue_used(q);
	if (q->auto_delete && !q->consumer_count)
		mr_vhost_remove_queue(q);
	else if (is_active) /* the next one may take what this one could not */
		mr_vhost_queue_moved(q);
}

void mr_consumer_settled(struct mr_consumer *c)
{
	bool was_full = c->prefetch && c->unacked == c->prefetch;
	c->unacked--;
	if (was_full && !c->gone) { /* it joins the end of the turn again, as RabbitMQ has it */
		mr_list_remove(&c->at_queue);
		line_up(c);
	}
	free_if_done(c);
}

static bool may_have_one(const struct mr_consumer *c)
{
	if (c->queue->limits.single_active && c->queue->active != c) return false;
	if (!c->no_ack && c->prefetch && c->unacked >= c->prefetch) return false;
	return mr_broker_channel_takes(c->channel);
}

static struct mr_consumer *next_consumer(const struct mr_queue *q)
{
	struct mr_consumer *found = NULL;
	size_t glances = 0;
	for (struct mr_node *n = q->consumers.next; !found && n != &q->consumers; n = n->next) {
		struct mr_consumer *c = mr_container(n, struct mr_consumer, at_queue);
		if (may_have_one(c)) found = c;
		glances++;
	}
	q->vhost->broker->work += glances / MR_GLANCES;
	return found;
}

/* As in RabbitMQ a message's time is looked at when it has come to the head. */
static bool has_expired(struct mr_queue *q, struct mr_entry *e)
{
	if (e->expires > q->vhost->broker->now) return false;
	mr_queue_take(q, e);
	mr_dead_letter_die(q, e, MR_DEATH_EXPIRED);
	return true;
}

void mr_queue_pump(struct mr_queue *q, bool is_fresh, size_t most)
{
	struct mr_broker *b = q->vhost->broker;
	struct mr_entry *e;
	if (b->faults.pause_deliveries || q->at_held.next) return;
	for (; most && (e = mr_queue_head(q)); is_fresh = false) {
		if (!is_fresh && mr_broker_is_spent(b)) {
			mr_broker_is_busy(b, q);
			return;
		}
		if (!is_fresh && has_expired(q, e)) continue;
		struct mr_consumer *c = next_consumer(q);
		if (!c) return;
		b->work++;
		if (q->consumers.next != q->consumers.prev) { /* its turn has been */
			mr_list_remove(&c->at_queue);
			line_up(c);
		}
		mr_queue_take(q, e);
		if (!mr_broker_channel_deliver(c->channel, c, e)) {
			mr_queue_requeue(q, e);
			return;
		}
		most--;
	}
}
