/* pledge: a publish that the store's backing has not confirmed yet.
 * SPDX-License-Identifier: MIT */
#include "broker/client/pledge.h"

#include "base/alloc.h"
#include "broker/client/backed.h"
#include "broker/client/confirm.h"
#include "broker/store/backing.h"
#include "broker/store/dead_letter.h"

static void told(struct mr_promise *promise)
{
	struct mr_pledge *p = mr_container(promise, struct mr_pledge, promise);
	struct mr_broker_channel *ch = p->channel;
	bool is_kept = promise->status == MR_OK;
	if (ch && !ch->closing && !promise->is_lost) {
		if (is_kept && !promise->count && p->mandatory) mr_confirm_return(ch, p->mandatory);
		if (p->tag) mr_confirm_later(ch, p->tag, is_kept);
		ch->session->touch(ch->session->owner);
	}
	mr_list_remove(&p->node);
	if (p->mandatory) mr_store_drop(p->store, p->mandatory);
	mr_free(p);
}

/* It is not kept for the queue, but for what becomes of it there when it expires. */
static void put_off(struct mr_backing *b, const struct mr_queue *q, const struct mr_message *m,
	struct mr_promise *p)
{
	const struct mr_exchange *x = mr_vhost_exchange(q->vhost, q->limits.dead_exchange);
	uint64_t ms = (uint64_t)q->limits.ttl;
	if (m->expiration < ms) ms = m->expiration;
	struct mr_message *letter = x ? mr_dead_letter_expired(q, m) : NULL;
	if (letter)
		b->class->delay(b, x, letter, ms, p);
	else if (x)
		mr_backing_refuse(p, 506, "out of memory");
	else if (p) /* as in RabbitMQ: without the exchange it is gone */
		p->told(p);
	mr_message_drop(letter);
}

enum mr_status mr_pledge_publish(struct mr_broker_channel *ch, struct mr_message *m, bool mandatory)
{
	struct mr_vhost *v = ch->session->vhost;
	struct mr_backing *b = v->store->backing;
	const struct mr_exchange *x = mr_vhost_exchange(v, mr_message_exchange(m));
	struct mr_pledge *p = NULL;
	if (ch->confirming || mandatory) {
		p = mr_calloc(1, sizeof *p);
		if (!p) {
			mr_store_drop(v->store, m);
			return MR_NO_MEMORY;
		}
		p->promise.told = told;
		p->channel = ch;
		p->store = v->store;
		if (mandatory) p->mandatory = mr_message_keep(m);
		if (ch->confirming) p->tag = ++ch->published;
		mr_list_append(&ch->pledges, &p->node);
	}
	struct mr_queue *delay = mr_backed_delay(ch, m);
	if (delay)
		put_off(b, delay, m, p ? &p->promise : NULL);
	else if (x)
		b->class->publish(b, x, m, p ? &p->promise : NULL);
	else if (p) /* deleted since the publish began: no queue gets it */
		p->promise.told(&p->promise);
	mr_store_drop(v->store, m);
	return MR_OK;
}

void mr_pledge_abandon(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&ch->pledges)))
		mr_container(node, struct mr_pledge, node)->channel = NULL;
}
