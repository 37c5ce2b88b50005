/* consumer: what a client consumes with: it receives from a queue and writes to its channel.
 * SPDX-License-Identifier: MIT */
#include "broker/client/consumer.h"

#include "base/alloc.h"
#include "broker/client/channel.h"
#include "broker/store/deadline.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"

/* ---- as a receiver ---- */

static bool takes(const struct mr_receiver *r)
{
	const struct mr_consumer *c = mr_container(r, const struct mr_consumer, receiver);
	if (!c->no_ack && c->prefetch && c->unacked >= c->prefetch) return false;
	return mr_broker_channel_takes(c->channel);
}

static bool deliver(struct mr_receiver *r, struct mr_entry *e)
{
	struct mr_consumer *c = mr_container(r, struct mr_consumer, receiver);
	return mr_broker_channel_deliver(c->channel, c, e);
}

static void cancelled(struct mr_receiver *r)
{
	struct mr_consumer *c = mr_container(r, struct mr_consumer, receiver);
	mr_broker_channel_cancelled(c->channel, c);
	mr_consumer_end(c);
}

static const struct mr_receiver_class class = {takes, deliver, cancelled};

/* ---- life ---- */

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
	c->store = queue->store;
	c->prefetch = how->prefetch;
	c->no_ack = how->no_ack;
	c->receiver.class = &class;
	c->receiver.priority = how->priority;
	c->receiver.exclusive = how->exclusive;
	mr_store_built(c->store, sizeof *c + strlen(c->tag));
	mr_list_append(&channel->consumers, &c->at_channel);
	mr_receiver_join(&c->receiver, queue);
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
	bool was_active = mr_receiver_leave(&c->receiver);
	mr_list_remove(&c->at_channel);
	mr_dict_take(&c->channel->tags, mr_slice_str(c->tag));
	if (q->is_reply) mr_broker_channel_end_reply(c->channel);
	c->gone = true;
	c->channel = NULL;
	free_if_done(c);
	if (q->deleted) return;
	mr_deadline_renew(q);
	if (q->auto_delete && !q->consumer_count)
		mr_raze_queue(q);
	else if (was_active) /* the next one may take what this one could not */
		mr_pump(q);
}

void mr_consumer_settled(struct mr_consumer *c)
{
	bool was_full = c->prefetch && c->unacked == c->prefetch;
	c->unacked--;
	if (was_full && !c->gone) /* it joins the end of the turn again, as RabbitMQ has it */
		mr_receiver_line_up(&c->receiver);
	free_if_done(c);
}
