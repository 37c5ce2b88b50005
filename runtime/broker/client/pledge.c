/* pledge: a publish that the store's backing has not confirmed yet.
 * SPDX-License-Identifier: MIT */
#include "broker/client/pledge.h"

#include "base/alloc.h"
#include "broker/client/confirm.h"
#include "broker/store/cascade.h"
#include "broker/store/dead_letter.h"

static void end(struct mr_pledge *p)
{
	p->broker->pledged--;
	mr_list_remove(&p->node);
	mr_list_remove(&p->again);
	mr_store_drop(p->vhost->store, p->message);
	mr_free(p);
}

static void tell_blocked(const struct mr_broker *b)
{
	if (b->watcher.blocked) b->watcher.blocked(b->watcher.owner);
}

/* Publishers wait meanwhile, as for a broker without memory. */
static void wait(struct mr_pledge *p)
{
	struct mr_broker *b = p->broker;
	mr_list_append(&b->refused, &p->again);
	if (!b->refusal.kind) {
		b->refusal = p->promise.error;
		tell_blocked(b);
	}
	if (p->channel) mr_broker_session_published(p->channel->session);
}

static void relieve(struct mr_broker *b)
{
	if (!b->refusal.kind || !mr_list_is_empty(&b->refused)) return;
	b->refusal = (mr_error){0};
	tell_blocked(b);
	mr_broker_check_memory(b);
}

static void told(struct mr_promise *promise)
{
	struct mr_pledge *p = mr_container(promise, struct mr_pledge, promise);
	struct mr_broker_channel *ch = p->channel;
	bool is_kept = promise->status == MR_OK;
	if (promise->is_for_now && !promise->is_lost) {
		wait(p);
		return;
	}
	if (!promise->is_lost) relieve(p->broker); /* that it refuses for good is an answer, too */
	const struct mr_broker_watcher *w = &p->broker->watcher;
	if (!is_kept && !promise->is_lost && w->refused) w->refused(w->owner, p);
	if (ch && !ch->closing && !promise->is_lost) {
		if (is_kept && !promise->count && p->mandatory) mr_confirm_return(ch, p->message);
		if (p->tag) mr_confirm_later(ch, p->tag, is_kept);
		ch->session->touch(ch->session->owner);
	}
	end(p);
}

static void give(struct mr_pledge *p)
{
	struct mr_vhost *v = p->vhost;
	const struct mr_exchange *x = mr_vhost_exchange(v, mr_message_exchange(p->message));
	p->promise = (struct mr_promise){.told = told};
	if (mr_cascade_is(mr_message_exchange(p->message))) {
		mr_cascade_keep(v, p->message, &p->promise);
		return;
	}
	/* x is NULL if it was deleted meanwhile */
	mr_dead_letter_keep(v, x, p->message, 0, &p->promise);
}

enum mr_status mr_pledge_publish(struct mr_broker_channel *ch, struct mr_message *m, bool mandatory)
{
	struct mr_pledge *p = mr_calloc(1, sizeof *p);
	if (!p) {
		mr_store_drop(ch->session->vhost->store, m);
		return MR_NO_MEMORY;
	}
	p->channel = ch;
	p->broker = ch->session->broker;
	p->vhost = ch->session->vhost;
	p->message = m;
	p->mandatory = mandatory;
	if (ch->confirming) p->tag = ++ch->published;
	mr_list_append(&ch->pledges, &p->node);
	p->broker->pledged++;
	give(p);
	return MR_OK;
}

void mr_pledge_retry(struct mr_broker *b)
{
	struct mr_node all, *node;
	mr_list_init(&all);
	mr_list_splice(&all, &b->refused);
	while ((node = mr_list_shift(&all))) give(mr_container(node, struct mr_pledge, again));
}

void mr_pledge_lose(struct mr_broker *b)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&b->refused)))
		end(mr_container(node, struct mr_pledge, again));
	relieve(b);
}

void mr_pledge_abandon(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&ch->pledges)))
		mr_container(node, struct mr_pledge, node)->channel = NULL;
}
