/* consumer: a client's consumer: receives from a queue and writes to its channel.
 * SPDX-License-Identifier: MIT */
#include "broker/client/consumer.h"

#include "base/alloc.h"
#include "broker/store/deadline.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "codec/method.h"

/* ---- as a receiver ---- */

static bool is_full(const struct mr_consumer *c)
{
	return !c->no_ack && c->prefetch && c->unacked >= c->prefetch;
}

static bool is_ordered(const struct mr_consumer *c)
{
	return c->store->backing && c->store->backing->order != MR_ORDER_TURNS;
}

/* False: one before it on its channel has room, and may have messages. */
static bool has_turn(const struct mr_consumer *c)
{
	struct mr_backing *b = c->store->backing;
	const struct mr_node *n = c->at_channel.prev;
	for (; is_ordered(c) && n != &c->channel->consumers; n = n->prev) {
		const struct mr_consumer *first =
			mr_container(n, const struct mr_consumer, at_channel);
		const struct mr_queue *q = first->receiver.queue;
		if (!is_full(first) && (q->ready || !b->class->is_empty(b, q))) return false;
	}
	return true;
}

static bool takes(const struct mr_receiver *r)
{
	const struct mr_consumer *c = mr_container(r, const struct mr_consumer, receiver);
	return !is_full(c) && mr_broker_channel_takes(c->channel) && has_turn(c);
}

static size_t room(const struct mr_receiver *r, size_t most)
{
	const struct mr_consumer *c = mr_container(r, const struct mr_consumer, receiver);
	const struct mr_broker_channel *ch = c->channel;
	if (!c->no_ack && c->prefetch && c->prefetch - c->unacked < most)
		most = c->prefetch - c->unacked;
	if (ch->prefetch_all && ch->prefetch_all - ch->counted < most)
		most = ch->prefetch_all - ch->counted;
	return most;
}

/* As in RabbitMQ, answers of direct reply-to have the next tag, but do not use it up. */
static bool is_counted(const struct mr_queue *q) { return !q->is_reply; }

static bool deliver(struct mr_receiver *r, struct mr_entry *e)
{
	struct mr_consumer *c = mr_container(r, struct mr_consumer, receiver);
	struct mr_broker_channel *ch = c->channel;
	struct mr_queue *q = r->queue;
	struct mr_method m = {.id = MR_M_BASIC_DELIVER,
		.other = mr_slice_str(c->tag),
		.tag = ch->next_tag,
		.flags = e->redelivered,
		.name = mr_message_exchange(e->message),
		.key = mr_message_key(e->message)};
	if (!c->no_ack && !mr_broker_channel_has_room(ch)) return false;
	if (!mr_broker_channel_put_message(ch, &m, e->message)) return false;
	if (c->no_ack) {
		if (is_counted(q)) ch->next_tag++;
		mr_queue_forget(q, e);
	} else {
		mr_broker_channel_hold(ch, c, q, e);
		c->unacked++;
	}
	if (is_ordered(c) && (is_full(c) || !q->ready)) mr_receiver_pass(q);
	return true;
}

/* Later: callers are within a change of their own. */
static void pass(struct mr_receiver *r)
{
	struct mr_consumer *c = mr_container(r, struct mr_consumer, receiver);
	struct mr_node *n = c->at_channel.next;
	for (; is_ordered(c) && n != &c->channel->consumers; n = n->next)
		mr_queue_postpone(mr_container(n, struct mr_consumer, at_channel)->receiver.queue);
}

static void cancelled(struct mr_receiver *r)
{
	struct mr_consumer *c = mr_container(r, struct mr_consumer, receiver);
	struct mr_broker_channel *ch = c->channel;
	struct mr_method m = {.id = MR_M_BASIC_CANCEL, .name = mr_slice_str(c->tag), .flags = 1};
	if (ch->session->tells_cancel && !ch->closing) mr_broker_channel_put(ch, &m);
	mr_consumer_end(c);
}

static const struct mr_receiver_class class = {takes, room, deliver, pass, cancelled};

/* ---- life ---- */

static mr_slice tag_of(const void *consumer)
{
	return mr_slice_str(((const struct mr_consumer *)consumer)->tag);
}

/* Behind those that go before it. */
static void line_up(struct mr_broker_channel *ch, struct mr_consumer *c)
{
	const struct mr_backing *b = c->store->backing;
	struct mr_node *behind = ch->consumers.prev;
	while (b && b->order == MR_ORDER_NAMES && behind != &ch->consumers &&
		strcmp(mr_container(behind, struct mr_consumer, at_channel)->receiver.queue->name,
			c->receiver.queue->name) > 0)
		behind = behind->prev;
	mr_list_append(behind->next, &c->at_channel);
}

struct mr_consumer *mr_consumer_new(struct mr_broker_channel *channel, struct mr_queue *queue,
	const struct mr_consume *how)
{
	struct mr_consumer *c = mr_calloc(1, sizeof *c);
	if (!c) return NULL;
	c->tag = mr_strdup_n(how->tag.data, how->tag.size);
	channel->tags.name_of = tag_of;
	if (!c->tag || mr_map_put_named(&channel->tags, c) != MR_OK) {
		mr_free(c->tag);
		mr_free(c);
		return NULL;
	}
	c->channel = channel;
	c->store = queue->store;
	c->prefetch = how->prefetch;
	c->no_ack = how->no_ack;
	c->receiver.class = &class;
	c->receiver.priority = how->priority;
	c->receiver.exclusive = how->exclusive;
	mr_store_built(c->store, sizeof *c + strlen(c->tag));
	mr_receiver_join(&c->receiver, queue);
	line_up(channel, c);
	return c;
}

static void free_if_done(struct mr_consumer *c)
{
	if (!c->gone || c->unacked) return;
	mr_store_razed(c->store, sizeof *c + strlen(c->tag));
	mr_free(c->tag);
	mr_free(c);
}

void mr_consumer_end(struct mr_consumer *c)
{
	struct mr_queue *q = c->receiver.queue;
	pass(&c->receiver);
	bool was_active = mr_receiver_leave(&c->receiver);
	mr_list_remove(&c->at_channel);
	mr_map_take_named(&c->channel->tags, mr_slice_str(c->tag));
	if (q->is_reply) mr_broker_channel_end_reply(c->channel);
	c->gone = true;
	c->channel = NULL;
	free_if_done(c);
	if (q->deleted) return;
	mr_deadline_renew(q);
	if (!q->consumer_count && q->store->backing) mr_queue_return_all(q);
	if (q->auto_delete && !q->consumer_count)
		mr_raze_queue(q);
	else if (was_active) /* the next one may take messages that this one could not */
		mr_pump(q);
}

void mr_consumer_settled(struct mr_consumer *c)
{
	bool was_full = c->prefetch && c->unacked == c->prefetch;
	c->unacked--;
	if (was_full && !c->gone) /* it goes to the end of the line again, as in RabbitMQ */
		mr_receiver_line_up(&c->receiver);
	free_if_done(c);
}

struct mr_consumer *mr_consumer_find(const struct mr_broker_channel *ch, mr_slice tag)
{
	return mr_map_get_named(&ch->tags, tag);
}

/* ---- all of a channel ---- */

/* Delivers one message from the queue of a consumer. Returns false if there was none to deliver. */
static bool serve_one(struct mr_consumer *c)
{
	struct mr_queue *q = c->receiver.queue;
	size_t before = q->ready;
	if (!mr_queue_may_deliver(q)) return false;
	q->out++; /* it must not be freed meanwhile */
	mr_pump_few(q, 1);
	bool moved = q->ready != before;
	mr_queue_unpin(q);
	return moved;
}

/* Gives the channel's prefetch to its consumers in turn, one message at a time. */
static void serve_in_turn(struct mr_broker_channel *ch)
{
	struct mr_broker *b = ch->session->broker;
	for (bool moved = true; moved;) {
		moved = false;
		for (size_t left = ch->tags.count; left-- > 0 && mr_broker_channel_takes(ch);) {
			struct mr_consumer *c =
				mr_container(ch->consumers.next, struct mr_consumer, at_channel);
			mr_list_remove(&c->at_channel); /* it has had its turn */
			mr_list_append(&ch->consumers, &c->at_channel);
			if (mr_store_is_spent(&b->store))
				mr_queue_postpone(c->receiver.queue);
			else if (serve_one(c))
				moved = true;
		}
	}
}

void mr_consumer_serve(struct mr_broker_channel *ch)
{
	struct mr_node *n = ch->consumers.next;
	ch->session->broker->store.work += ch->tags.count / MR_GLANCES;
	if (ch->prefetch_all && n != &ch->consumers &&
		!is_ordered(mr_container(n, struct mr_consumer, at_channel))) {
		serve_in_turn(ch);
		return;
	}
	while (n != &ch->consumers) {
		struct mr_consumer *c = mr_container(n, struct mr_consumer, at_channel);
		n = n->next;
		if (mr_queue_may_deliver(c->receiver.queue)) mr_pump(c->receiver.queue);
	}
}
