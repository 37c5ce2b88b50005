/* pledge: a publish that the store's backing has not confirmed yet.
 * SPDX-License-Identifier: MIT */
#include "broker/client/pledge.h"

#include "base/alloc.h"
#include "broker/client/confirm.h"
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

enum mr_status mr_pledge_publish(struct mr_broker_channel *ch, struct mr_message *m, bool mandatory)
{
	struct mr_vhost *v = ch->session->vhost;
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
	mr_dead_letter_keep(v, x, m,
		p ? &p->promise : NULL); /* x is NULL if it was deleted meanwhile */
	mr_store_drop(v->store, m);
	return MR_OK;
}

void mr_pledge_abandon(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&ch->pledges)))
		mr_container(node, struct mr_pledge, node)->channel = NULL;
}
