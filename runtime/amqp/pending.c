/* pending: the requests of a channel that wait for the broker's answer, and how each ends.
 * SPDX-License-Identifier: MIT */
#include "amqp/pending.h"

#include "base/alloc.h"

static void emit_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	enum mr_status status, mr_reply *reply)
{
	mr_event ev = {.type = MR_EV_DONE, .status = status, .token = token};
	ev.connection = outlet->options->connection;
	ev.channel = channel;
	ev.data.reply = reply;
	if (token)
		outlet->options->emit(outlet->options->owner, &ev);
	else
		mr_free(reply);
}

void mr_outlet_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	const mr_error *error)
{
	mr_reply *reply = token ? mr_calloc(1, sizeof *reply) : NULL;
	if (reply) reply->error = *error;
	emit_done(outlet, channel, token, error->kind, reply);
}

void mr_pending_done(struct mr_chan *ch, uint64_t token, mr_reply *reply)
{
	emit_done(ch->outlet, ch->number, token, reply ? (enum mr_status)reply->error.kind : MR_OK,
		reply);
}

enum mr_status mr_pending_add(struct mr_chan *ch, uint64_t token, uint32_t expects,
	uint32_t consumer, mr_msec deadline)
{
	struct mr_pending *p = mr_calloc(1, sizeof *p);
	if (!p) return MR_NO_MEMORY;
	p->token = token;
	p->expects = expects;
	p->consumer = consumer;
	p->deadline = deadline;
	mr_list_append(&ch->pending, &p->node);
	ch->outlet->earliest = mr_earlier(ch->outlet->earliest, deadline);
	return MR_OK;
}

static struct mr_pending *first(struct mr_chan *ch)
{
	if (mr_list_is_empty(&ch->pending)) return NULL;
	return mr_container(ch->pending.next, struct mr_pending, node);
}

/* RabbitMQ answers these two from the queue's process; what its channel answers itself may go first. */
static bool may_be_overtaken(const struct mr_pending *p)
{
	return p->expects == MR_M_BASIC_CONSUME_OK || p->expects == MR_M_BASIC_CANCEL_OK;
}

struct mr_pending *mr_pending_find(struct mr_chan *ch, uint32_t method)
{
	struct mr_node *head = &ch->pending;
	if (method == MR_M_BASIC_GET_EMPTY) method = MR_M_BASIC_GET_OK;
	for (struct mr_node *at = head->next; at != head; at = at->next) {
		struct mr_pending *p = mr_container(at, struct mr_pending, node);
		if (p->expects == method) return p;
		if (!may_be_overtaken(p)) return NULL;
	}
	return NULL;
}

struct mr_pending *mr_pending_take(struct mr_chan *ch, uint32_t method)
{
	struct mr_pending *p = mr_pending_find(ch, method);
	if (p) mr_list_remove(&p->node);
	return p;
}

void mr_pending_free(struct mr_pending *p) { mr_free(p); }

void mr_pending_fail(struct mr_chan *ch, const mr_error *why)
{
	struct mr_pending *p;
	while ((p = first(ch))) {
		mr_list_remove(&p->node);
		mr_outlet_done(ch->outlet, ch->number, p->token, why);
		mr_free(p);
	}
}

void mr_pending_expire(struct mr_chan *ch, mr_msec now)
{
	struct mr_node *head = &ch->pending;
	for (struct mr_node *at = head->next; at != head; at = at->next) {
		struct mr_pending *p = mr_container(at, struct mr_pending, node);
		if (!p->token) continue;
		if (p->deadline > now) {
			ch->outlet->earliest = mr_earlier(ch->outlet->earliest, p->deadline);
			continue;
		}
		mr_error error = {0};
		mr_error_set(&error, MR_TIMEOUT, MR_SCOPE_CHANNEL, 0,
			"the broker did not send %s in time", mr_method_name(p->expects));
		mr_outlet_done(ch->outlet, ch->number, p->token, &error);
		p->token = 0;
	}
}
