/* raze: the end of queues, exchanges and bindings, of which very many may hang together.
 * SPDX-License-Identifier: MIT */
#include "broker/store/raze.h"

#include "broker/client/channel.h"
#include "broker/client/consumer.h"

#define WORK_OF_A_NAME 4 /* steps: the name, the deadline, what it held */

static void ruin(struct mr_broker *b, struct mr_target *target)
{
	target->gone = true;
	b->work += WORK_OF_A_NAME;
	mr_list_append(&b->fresh_ruins, &target->ruin);
}

static void doom(struct mr_exchange *x)
{
	if (x->target.gone) return;
	mr_dict_take(&x->vhost->exchanges, mr_slice_str(x->name));
	ruin(x->broker, &x->target);
}

static void unbind(struct mr_binding *binding)
{
	struct mr_exchange *source = binding->source;
	mr_unbind(binding);
	if (source->auto_delete && !source->binding_count) doom(source);
}

static void cancel(struct mr_consumer *c)
{
	mr_broker_channel_cancelled(c->channel, c);
	mr_consumer_end(c);
}

static void raze_one(struct mr_target *t)
{
	struct mr_queue *q = t->queue;
	struct mr_exchange *x = t->exchange;
	if (q && !mr_list_is_empty(&q->consumers)) {
		cancel(mr_container(q->consumers.next, struct mr_consumer, at_queue));
	} else if (!mr_list_is_empty(&t->inbound)) {
		unbind(mr_container(t->inbound.next, struct mr_binding, at_target));
	} else if (x && !mr_list_is_empty(&x->bindings)) {
		mr_unbind(mr_container(x->bindings.next, struct mr_binding, at_source));
	} else {
		mr_list_remove(&t->ruin);
		if (q)
			mr_vhost_unpin(q);
		else
			mr_exchange_free(x);
	}
}

bool mr_raze(struct mr_broker *b, struct mr_node *ruins)
{
	struct mr_node *fresh = &b->fresh_ruins;
	if (b->razing) return false; /* who does it comes to these, too */
	b->razing = true;
	for (;; b->work++) {
		if (ruins != fresh) mr_list_splice(ruins, fresh);
		if (mr_list_is_empty(ruins) || mr_broker_is_spent(b)) break;
		raze_one(mr_container(ruins->next, struct mr_target, ruin));
	}
	b->razing = false;
	return mr_list_is_empty(ruins);
}

void mr_vhost_unbind(struct mr_binding *binding)
{
	struct mr_broker *b = binding->source->broker;
	unbind(binding);
	mr_raze(b, &b->fresh_ruins);
}

void mr_vhost_remove_exchange(struct mr_exchange *x)
{
	struct mr_broker *b = x->broker;
	doom(x);
	mr_raze(b, &b->fresh_ruins);
}

void mr_vhost_remove_queue(struct mr_queue *q)
{
	struct mr_broker *b = q->vhost->broker;
	if (q->deleted) return;
	q->deleted = true;
	q->out++; /* it goes when nothing hangs on it */
	q->owner = NULL;
	mr_dict_take(&q->vhost->queues, mr_queue_name(q));
	mr_broker_unschedule(b, q);
	mr_list_remove(&q->busy);
	mr_list_remove(&q->at_held);
	mr_list_remove(&q->at_owner);
	mr_queue_empty(q, &b->garbage);
	ruin(b, &q->target);
	mr_raze(b, &b->fresh_ruins);
	mr_broker_sweep(b); /* nobody waits for that */
}
