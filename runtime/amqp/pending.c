/* pending: the requests of a channel that wait for the broker's answer, and how each ends.
 * SPDX-License-Identifier: MIT */
#include "amqp/pending.h"

#include "amqp/curb.h"
#include "base/alloc.h"

static struct mr_pending *at_node(struct mr_node *node)
{
	return mr_container(node, struct mr_pending, node);
}

/* ---- telling ---- */

static void emit_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token, bool late,
	enum mr_status status, mr_reply *reply)
{
	const struct mr_session_options *o = outlet->options;
	mr_event ev = {.type = MR_EV_DONE, .status = status, .token = token};
	ev.connection = o->connection;
	ev.channel = channel;
	ev.data.reply = reply;
	if (token && !late && token != MR_TOKEN_NONE) {
		o->emit(o->owner, &ev);
		return;
	}
	mr_free(reply);
	if (token && o->late) o->late(o->owner, channel, token, status);
}

void mr_outlet_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	const mr_error *error)
{
	mr_reply *reply = token ? mr_calloc(1, sizeof *reply) : NULL;
	if (reply) reply->error = *error;
	emit_done(outlet, channel, token, false, error->kind, reply);
}

void mr_pending_done(struct mr_amqp_channel *ch, const struct mr_pending *p, mr_reply *reply)
{
	emit_done(ch->outlet, ch->number, p->token, p->late,
		reply ? (enum mr_status)reply->error.kind : MR_OK, reply);
}

/* ---- finding ---- */

enum mr_status mr_pending_add(struct mr_amqp_channel *ch, const struct mr_pending *pending)
{
	struct mr_pending *p = mr_malloc(sizeof *p + pending->key.size);
	if (!p) return MR_NO_MEMORY;
	*p = *pending;
	p->node = (struct mr_node){0};
	p->key.data = (char *)(p + 1);
	if (p->key.size) memcpy(p + 1, pending->key.data, p->key.size);
	mr_list_append(&ch->pending, &p->node);
	if (p->expects == MR_M_BASIC_RECOVER_OK) ch->recovering++;
	ch->outlet->earliest = mr_earlier(ch->outlet->earliest, p->deadline);
	return MR_OK;
}

/* However a request ends, it leaves the list here: so the recovers among them are counted rightly. */
static void leave(struct mr_amqp_channel *ch, struct mr_pending *p)
{
	mr_list_remove(&p->node);
	if (p->expects == MR_M_BASIC_RECOVER_OK) ch->recovering--;
}

static bool is_keyed(uint32_t answer)
{
	return answer == MR_M_BASIC_CONSUME_OK || answer == MR_M_BASIC_CANCEL_OK ||
	       answer == MR_M_QUEUE_DECLARE_OK;
}

bool mr_pending_is_told_apart(uint32_t answer)
{
	return is_keyed(answer) || answer == MR_M_CHANNEL_OPEN_OK;
}

struct mr_pending *mr_pending_keyed(struct mr_amqp_channel *ch, uint32_t expects, mr_slice key)
{
	struct mr_node *head = &ch->pending;
	for (struct mr_node *at = head->next; at != head; at = at->next) {
		struct mr_pending *p = at_node(at);
		if (p->expects == expects && mr_slice_equal(p->key, key)) return p;
	}
	return NULL;
}

/* Who left the name to the broker is answered by a name that nobody else waits for. */
struct mr_pending *mr_pending_find(struct mr_amqp_channel *ch, const struct mr_method *answer)
{
	uint32_t id = answer->id == MR_M_BASIC_GET_EMPTY ? MR_M_BASIC_GET_OK : answer->id;
	struct mr_pending *p = NULL;
	if (is_keyed(id)) p = mr_pending_keyed(ch, id, answer->name);
	return p ? p : mr_pending_keyed(ch, id, mr_slice_of("", 0));
}

/* RabbitMQ answers these two from the queue's process, the others from the channel's, in order. */
static bool may_be_overtaken(const struct mr_pending *p)
{
	return p->expects == MR_M_BASIC_CONSUME_OK || p->expects == MR_M_BASIC_CANCEL_OK;
}

static void end_late(struct mr_amqp_channel *ch, struct mr_pending *p, const mr_error *why)
{
	mr_reply *reply = p->token ? mr_calloc(1, sizeof *reply) : NULL;
	if (reply) reply->error = *why;
	leave(ch, p);
	emit_done(ch->outlet, ch->number, p->token, true, why->kind, reply);
	mr_pending_free(p);
}

void mr_pending_pass(struct mr_amqp_channel *ch, const struct mr_pending *answered)
{
	if (may_be_overtaken(answered)) return;
	mr_error why = {.kind = MR_TIMEOUT, .scope = MR_SCOPE_CHANNEL};
	struct mr_node *next;
	for (struct mr_node *at = ch->pending.next; at != &answered->node; at = next) {
		struct mr_pending *p = at_node(at);
		next = at->next;
		if (p->late && !may_be_overtaken(p)) end_late(ch, p, &why);
	}
}

struct mr_pending *mr_pending_take(struct mr_amqp_channel *ch, const struct mr_method *answer)
{
	struct mr_pending *p = mr_pending_find(ch, answer);
	if (p) leave(ch, p);
	return p;
}

struct mr_pending *mr_pending_last(struct mr_amqp_channel *ch)
{
	return mr_list_is_empty(&ch->pending) ? NULL : at_node(ch->pending.prev);
}

bool mr_pending_is_awaited(const struct mr_amqp_channel *ch)
{
	for (struct mr_node *at = ch->pending.next; at != &ch->pending; at = at->next)
		if (at_node(at)->token && !at_node(at)->late) return true;
	return false;
}

/* ---- ends ---- */

void mr_pending_free(struct mr_pending *p)
{
	if (p) mr_table_free(p->arguments);
	mr_free(p);
}

void mr_pending_fail(struct mr_amqp_channel *ch, const mr_error *why)
{
	struct mr_pending *p;
	while (!mr_list_is_empty(&ch->pending)) {
		p = at_node(ch->pending.next);
		if (p->late) {
			end_late(ch, p, why);
			continue;
		}
		leave(ch, p);
		mr_outlet_done(ch->outlet, ch->number, p->token, why);
		mr_curb_failed(ch, p, why);
		mr_pending_free(p);
	}
}

/* Whose late answer somebody must hear: what went after all is not to be made again, and a channel's
 * number is free from its close-ok on. */
static uint64_t token_when_late(const struct mr_pending *p)
{
	switch (p->expects) {
	case MR_M_CHANNEL_CLOSE_OK: return p->token ? MR_TOKEN_NONE : 0;
	case MR_M_QUEUE_DELETE_OK:
	case MR_M_QUEUE_UNBIND_OK:
	case MR_M_EXCHANGE_DELETE_OK:
	case MR_M_EXCHANGE_UNBIND_OK: return p->token;
	default: return 0;
	}
}

static void expire(struct mr_amqp_channel *ch, struct mr_pending *p)
{
	mr_error error = {0};
	mr_error_set(&error, MR_TIMEOUT, MR_SCOPE_CHANNEL, 0, "the broker did not send %s in time",
		mr_method_name(p->expects));
	mr_outlet_done(ch->outlet, ch->number, p->token, &error);
	if (p->is_end) ch->outlet->fault = *ch->why;
	p->token = token_when_late(p);
	p->late = true;
}

void mr_pending_expire(struct mr_amqp_channel *ch, mr_msec now)
{
	struct mr_node *head = &ch->pending;
	for (struct mr_node *at = head->next; at != head; at = at->next) {
		struct mr_pending *p = at_node(at);
		if (p->late) continue;
		if (p->deadline > now)
			ch->outlet->earliest = mr_earlier(ch->outlet->earliest, p->deadline);
		else
			expire(ch, p);
	}
}
