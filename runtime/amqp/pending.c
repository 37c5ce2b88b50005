/* pending: the requests of a channel that wait for the broker's answers, and the end of each.
 * SPDX-License-Identifier: MIT */
#include "amqp/pending.h"

#include "base/alloc.h"

static struct mr_pending *at_node(struct mr_node *node)
{
	return mr_container(node, struct mr_pending, node);
}

void mr_pending_init(struct mr_pending_list *list, struct mr_outlet *outlet, uint16_t channel)
{
	*list = (struct mr_pending_list){.outlet = outlet, .channel = channel};
	mr_list_init(&list->all);
}

/* ---- asking ---- */

/* A copy, with its key. */
static enum mr_status add(struct mr_pending_list *list, const struct mr_pending *pending)
{
	struct mr_pending *p = mr_malloc(sizeof *p + pending->key.size);
	if (!p) return MR_NO_MEMORY;
	*p = *pending;
	p->node = (struct mr_node){0};
	p->key.data = (char *)(p + 1);
	if (p->key.size) memcpy(p + 1, pending->key.data, p->key.size);
	mr_list_append(&list->all, &p->node);
	if (p->expects == MR_M_BASIC_RECOVER_OK) list->recovers++;
	mr_outlet_expect(list->outlet, p->deadline);
	return MR_OK;
}

enum mr_status mr_pending_ask(struct mr_pending_list *list, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error)
{
	struct mr_buffer *out = &list->outlet->out.bytes;
	size_t before = mr_buffer_size(out);
	enum mr_status st = mr_outlet_send(list->outlet, list->channel, method, error);
	if (st == MR_OK) st = add(list, answer);
	if (st != MR_OK) out->end = out->start + before;
	return st;
}

void mr_pending_join(struct mr_pending_list *list, struct mr_pending *p, uint64_t token,
	mr_msec deadline)
{
	p->token = token;
	p->deadline = deadline;
	p->late = false;
	mr_outlet_expect(list->outlet, deadline);
}

/* Every request leaves the list here, so that the recovers among them are counted correctly. */
static void leave(struct mr_pending_list *list, struct mr_pending *p)
{
	mr_list_remove(&p->node);
	if (p->expects == MR_M_BASIC_RECOVER_OK) list->recovers--;
}

/* ---- finding ---- */

static bool is_keyed(uint32_t answer)
{
	return answer == MR_M_BASIC_CONSUME_OK || answer == MR_M_BASIC_CANCEL_OK ||
	       answer == MR_M_QUEUE_DECLARE_OK;
}

bool mr_pending_is_told_apart(uint32_t answer)
{
	return is_keyed(answer) || answer == MR_M_CHANNEL_OPEN_OK;
}

struct mr_pending *mr_pending_keyed(const struct mr_pending_list *list, uint32_t expects,
	mr_slice key)
{
	for (struct mr_node *at = list->all.next; at != &list->all; at = at->next) {
		struct mr_pending *p = at_node(at);
		if (p->expects == expects && mr_slice_equal(p->key, key)) return p;
	}
	return NULL;
}

/* A declare without a name is answered by a name that no other request waits for. */
struct mr_pending *mr_pending_find(const struct mr_pending_list *list,
	const struct mr_method *answer)
{
	uint32_t id = answer->id == MR_M_BASIC_GET_EMPTY ? MR_M_BASIC_GET_OK : answer->id;
	struct mr_pending *p = NULL;
	if (is_keyed(id)) p = mr_pending_keyed(list, id, answer->name);
	return p ? p : mr_pending_keyed(list, id, mr_slice_of("", 0));
}

/* RabbitMQ answers these two from the queue's process, the others from the channel's, in order. */
static bool may_be_overtaken(const struct mr_pending *p)
{
	return p->expects == MR_M_BASIC_CONSUME_OK || p->expects == MR_M_BASIC_CANCEL_OK;
}

static void end_late(struct mr_pending_list *list, struct mr_pending *p, enum mr_status status)
{
	leave(list, p);
	mr_outlet_late(list->outlet, list->channel, p->token, status);
	mr_pending_free(p);
}

void mr_pending_pass(struct mr_pending_list *list, const struct mr_pending *answered)
{
	if (may_be_overtaken(answered)) return;
	struct mr_node *next;
	for (struct mr_node *at = list->all.next; at != &answered->node; at = next) {
		struct mr_pending *p = at_node(at);
		next = at->next;
		if (p->late && !may_be_overtaken(p)) end_late(list, p, MR_TIMEOUT);
	}
}

struct mr_pending *mr_pending_take(struct mr_pending_list *list, const struct mr_method *answer)
{
	struct mr_pending *p = mr_pending_find(list, answer);
	if (p) leave(list, p);
	return p;
}

struct mr_pending *mr_pending_first(const struct mr_pending_list *list)
{
	return mr_list_is_empty(&list->all) ? NULL : at_node(list->all.next);
}

struct mr_pending *mr_pending_last(const struct mr_pending_list *list)
{
	return mr_list_is_empty(&list->all) ? NULL : at_node(list->all.prev);
}

bool mr_pending_curb_is_next(const struct mr_pending_list *list)
{
	for (struct mr_node *at = list->all.next; at != &list->all; at = at->next)
		if (at_node(at)->expects == MR_M_BASIC_CONSUME_OK) return at_node(at)->is_of_curb;
	return false;
}

bool mr_pending_is_awaited(const struct mr_pending_list *list)
{
	for (struct mr_node *at = list->all.next; at != &list->all; at = at->next)
		if (at_node(at)->token && !at_node(at)->late) return true;
	return false;
}

/* ---- ends ---- */

void mr_pending_free(struct mr_pending *p)
{
	if (p) mr_table_free(p->arguments);
	mr_free(p);
}

void mr_pending_done(struct mr_pending_list *list, const struct mr_pending *p, mr_reply *reply)
{
	enum mr_status status = reply ? (enum mr_status)reply->error.kind : MR_OK;
	if (!p->late) {
		mr_outlet_reply(list->outlet, list->channel, p->token, status, reply);
		return;
	}
	mr_free(reply);
	mr_outlet_late(list->outlet, list->channel, p->token, status);
}

void mr_pending_fail(struct mr_pending_list *list, const mr_error *why,
	const struct mr_pending *but)
{
	struct mr_pending *p;
	while ((p = mr_pending_first(list)) && p != but) {
		if (p->late) {
			end_late(list, p, why->kind);
			continue;
		}
		leave(list, p);
		mr_outlet_done(list->outlet, list->channel, p->token, why);
		mr_pending_free(p);
	}
}

/* Late answers that must be reported: recovery must not restore a deleted object, and a channel's
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

static void expire(struct mr_pending_list *list, struct mr_pending *p)
{
	mr_error error = {0};
	mr_error_set(&error, MR_TIMEOUT, MR_SCOPE_CHANNEL, 0, "the broker did not send %s in time",
		mr_method_name(p->expects));
	mr_outlet_done(list->outlet, list->channel, p->token, &error);
	if (p->fatal) mr_error_keep(&list->outlet->fault, p->fatal);
	p->token = token_when_late(p);
	p->late = true;
}

void mr_pending_expire(struct mr_pending_list *list, mr_msec now)
{
	for (struct mr_node *at = list->all.next; at != &list->all; at = at->next) {
		struct mr_pending *p = at_node(at);
		if (p->late) continue;
		if (p->deadline > now)
			mr_outlet_expect(list->outlet, p->deadline);
		else
			expire(list, p);
	}
}
