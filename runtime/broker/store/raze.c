/* raze: deletes queues, exchanges and bindings, with all that depends on them.
 * SPDX-License-Identifier: MIT */
#include "broker/store/raze.h"

#include "broker/store/backing.h"
#include "broker/store/deadline.h"
#include "broker/store/receiver.h"

#define WORK_OF_A_NAME 4 /* steps: for the name, the deadline, and the contents */

static void ruin(struct mr_store *s, struct mr_target *target)
{
	target->gone = true;
	s->work += WORK_OF_A_NAME;
	mr_list_append(&s->fresh_ruins, &target->ruin);
}

static void doom(struct mr_exchange *x)
{
	if (x->target.gone) return;
	mr_map_take_named(&x->vhost->exchanges, mr_slice_str(x->name));
	ruin(x->store, &x->target);
}

static void unbind(struct mr_binding *binding)
{
	struct mr_exchange *source = binding->source;
	mr_exchange_unbind(binding);
	if (source->auto_delete && !source->binding_count) doom(source);
}

static void raze_one(struct mr_target *t)
{
	struct mr_queue *q = t->queue;
	struct mr_exchange *x = t->exchange;
	if (q && !mr_list_is_empty(&q->consumers)) {
		struct mr_receiver *r =
			mr_container(q->consumers.next, struct mr_receiver, at_queue);
		r->class->cancelled(r);
	} else if (!mr_list_is_empty(&t->inbound)) {
		unbind(mr_container(t->inbound.next, struct mr_binding, at_target));
	} else if (x && !mr_list_is_empty(&x->bindings)) {
		mr_exchange_unbind(mr_container(x->bindings.next, struct mr_binding, at_source));
	} else {
		mr_list_remove(&t->ruin);
		if (q)
			mr_queue_unpin(q);
		else
			mr_exchange_free(x);
	}
}

bool mr_raze(struct mr_store *s, struct mr_node *ruins)
{
	struct mr_node *fresh = &s->fresh_ruins;
	if (s->razing) return false; /* the active call handles these, too */
	s->razing = true;
	for (;; s->work++) {
		if (ruins != fresh) mr_list_splice(ruins, fresh);
		if (mr_list_is_empty(ruins) || mr_store_is_spent(s)) break;
		raze_one(mr_container(ruins->next, struct mr_target, ruin));
	}
	s->razing = false;
	return mr_list_is_empty(ruins);
}

void mr_raze_binding(struct mr_binding *binding)
{
	struct mr_store *s = binding->source->store;
	unbind(binding);
	mr_raze(s, &s->fresh_ruins);
}

void mr_raze_exchange(struct mr_exchange *x)
{
	struct mr_store *s = x->store;
	doom(x);
	mr_raze(s, &s->fresh_ruins);
}

void mr_raze_queue(struct mr_queue *q)
{
	struct mr_store *s = q->store;
	if (q->deleted) return;
	q->deleted = true;
	q->out++; /* it is freed when nothing refers to it */
	q->owner = NULL;
	mr_map_take_named(&q->vhost->queues, mr_queue_name(q));
	mr_deadline_clear(q);
	mr_list_remove(&q->busy);
	mr_list_remove(&q->at_held);
	mr_list_remove(&q->at_owner);
	mr_queue_empty(q, &s->garbage);
	if (s->backing) s->backing->class->forget(s->backing, q);
	ruin(s, &q->target);
	mr_raze(s, &s->fresh_ruins);
	mr_entry_sweep(s); /* no client waits for that */
}
