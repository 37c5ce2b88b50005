/* found: queues that nobody has declared here, but that the store's backing has messages of.
 * SPDX-License-Identifier: MIT */
#include "broker/client/found.h"

#include <string.h>

#include "broker/client/await.h"
#include "broker/store/exchange.h"
#include "broker/store/raze.h"
#include "broker/store/reply_error.h"

static struct mr_queue *plain_queue(const struct mr_broker_channel *ch, mr_slice name)
{
	static const struct mr_limits none = {.ttl = -1,
		.expires = -1,
		.max_length = -1,
		.max_bytes = -1,
		.deliveries = -1};
	return mr_queue_new(ch->session->vhost->store, name, (mr_slice){0}, &none);
}

/* The queue of this name; it may have been declared, or found, while the backing was asked. */
static enum mr_status here(const struct mr_broker_channel *ch, mr_slice name, struct mr_queue **out)
{
	*out = mr_vhost_queue(ch->session->vhost, name);
	if (*out) return MR_OK;
	*out = plain_queue(ch, name);
	if (!*out) return MR_NO_MEMORY;
	(*out)->is_found = true;
	return mr_vhost_add_queue(ch->session->vhost, *out);
}

static void heard(struct mr_broker_channel *ch, struct mr_await *a)
{
	struct mr_promise *p = &a->promise;
	mr_slice name = mr_queue_name(a->queue);
	struct mr_queue *q = NULL;
	if (!p->count)
		p->status = mr_reply_error(&p->error, 404, "no queue '%.*s' in vhost '%s'",
			(int)name.size, name.data, ch->session->vhost->name);
	else if (here(ch, name, &q) != MR_OK)
		p->status = mr_error_set(&p->error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506,
			"out of memory");
	if (p->status != MR_OK) return;
	mr_broker_channel_note(ch, q);
	a->answer.name = name;
	a->answer.consumers = (uint32_t)q->consumer_count;
	if (a->answer.id) mr_broker_channel_put(ch, &a->answer);
}

enum mr_status mr_found_ask(struct mr_broker_channel *ch, mr_slice name, bool no_wait,
	mr_error *error)
{
	struct mr_backing *b = ch->session->broker->store.backing;
	if (memchr(name.data, 0, name.size)) return MR_NOT_FOUND;
	struct mr_queue *q = plain_queue(ch, name); /* to ask with: nobody sees it */
	if (!q) return MR_NO_MEMORY;
	q->deleted = true; /* it is freed with the answer */
	struct mr_await *a = mr_await_begin(ch, MR_M_QUEUE_DECLARE, q);
	if (!a) {
		mr_queue_free(q);
		return MR_NO_MEMORY;
	}
	memset(error, 0, sizeof *error);
	if (!no_wait) a->answer.id = MR_M_QUEUE_DECLARE_OK;
	a->heard = heard;
	b->class->count(b, q, &a->promise);
	return MR_OK;
}

/* To an exchange of a name: the binding would end here, though Redis has it still. */
static bool is_bound(const struct mr_queue *q)
{
	const struct mr_node *all = &q->target.inbound, *n = all->next;
	while (n != all && !*mr_container(n, const struct mr_binding, at_target)->source->name)
		n = n->next;
	return n != all;
}

enum mr_status mr_found_yield(struct mr_queue **q, mr_error *error)
{
	struct mr_queue *found = *q;
	if (found->consumer_count || found->out || is_bound(found))
		return mr_reply_error(error, 406,
			"queue '%s' in vhost '%s' is in use, though it was not declared here: "
			"declare it before",
			found->name, found->vhost->name);
	mr_raze_queue(found);
	*q = NULL;
	return MR_OK;
}
