/* inbound: handles the broker's methods for a channel.
 * SPDX-License-Identifier: MIT */
#include "amqp/inbound.h"

#include <string.h>

#include "amqp/channel.h"
#include "amqp/curb.h"
#include "base/alloc.h"

static enum mr_status send(struct mr_amqp_channel *ch, uint32_t id, mr_slice name, uint32_t flags)
{
	struct mr_method m = {.id = id, .name = name, .flags = flags};
	/* After our channel.close the broker would treat any other frame as one on a closed
	 * channel, which ends the connection (504). */
	if (ch->state == MR_CH_CLOSING && id != MR_M_CHANNEL_CLOSE_OK) return MR_OK;
	return mr_outlet_send(ch->outlet, ch->number, &m, NULL);
}

/* ---- replies ---- */

static void copy_name(mr_reply *reply, mr_slice name)
{
	reply->name_size = (uint16_t)name.size;
	if (name.size) memcpy(reply->name, name.data, name.size);
	reply->name[name.size] = '\0';
}

/* The request for a consumer has timed out, so its deliveries would never be settled. Deliveries
 * that arrive before the broker reads this cancel are still reported for the consumer, with or
 * without acks as requested. */
static enum mr_status cancel_late(struct mr_amqp_channel *ch, mr_slice tag)
{
	if (ch->state == MR_CH_CLOSING) return MR_OK; /* it ends with its channel */
	struct mr_pending answer = {.expects = MR_M_BASIC_CANCEL_OK,
		.deadline = MR_NEVER,
		.key = tag};
	struct mr_method cancel = {.id = MR_M_BASIC_CANCEL, .name = tag};
	return mr_pending_ask(&ch->pending, &cancel, &answer, NULL);
}

/* A queue that the broker named, and whose name the host will never get. It is not deleted while
 * another request of this channel may mean it as the last declared one. */
static enum mr_status delete_late(struct mr_amqp_channel *ch, mr_slice name)
{
	struct mr_pending answer = {.expects = MR_M_QUEUE_DELETE_OK, .deadline = MR_NEVER};
	if (ch->state == MR_CH_CLOSING || mr_pending_is_awaited(&ch->pending)) return MR_OK;
	struct mr_method delete = {.id = MR_M_QUEUE_DELETE, .name = name};
	return mr_pending_ask(&ch->pending, &delete, &answer, NULL);
}

/* The broker has taken back all earlier deliveries: the host must know that it cannot settle them.
 * It counts its recovers, so each is reported. */
static void tell_taken_back(struct mr_amqp_channel *ch)
{
	mr_event ev = {.type = MR_EV_CHANNEL, .status = MR_OK};
	ev.as.channel.change = MR_CHANNEL_TAKEN_BACK;
	ev.as.channel.last_tag = ch->acks.next - 1;
	mr_amqp_channel_emit(ch, &ev);
}

/* Recovers have ended, by their answer or by the answer to a later request: then theirs will not
 * come, and their effects came before this. */
static void recovered(struct mr_amqp_channel *ch, uint32_t count)
{
	if (count) mr_curb_drop(ch);
	for (uint32_t n = 0; n < count; n++) tell_taken_back(ch);
	if (count) mr_acks_forget(&ch->acks);
}

/* The request that this answers, or NULL. */
static const struct mr_pending *pass_to(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	const struct mr_pending *p = mr_pending_find(&ch->pending, m);
	uint32_t recovers = ch->pending.recovers;
	if (!p) return NULL;
	mr_pending_pass(&ch->pending, p);
	recovered(ch, recovers - ch->pending.recovers);
	return p;
}

static enum mr_status declared(struct mr_amqp_channel *ch, const struct mr_pending *p,
	mr_slice name)
{
	const struct mr_session_options *o = ch->outlet->options;
	if (p->is_declare && o->declared) o->declared(o->owner, name, p->is_single_active);
	return p->late && !p->key.size ? delete_late(ch, name) : MR_OK;
}

static void tell_resume(struct mr_amqp_channel *ch, mr_slice tag)
{
	const struct mr_consumer_entry *entry = mr_consumers_find(&ch->consumers, tag);
	if (entry) mr_amqp_channel_tell_resume(ch, entry);
}

/* Requeues its held deliveries. */
static enum mr_status cancelled(struct mr_amqp_channel *ch, mr_slice tag)
{
	tell_resume(ch, tag);
	uint32_t number = mr_consumers_remove(&ch->consumers, tag) & ~MR_CONSUMER_NO_ACK;
	return number ? mr_curb_give_back(ch, number) : MR_OK;
}

/* Applies an answer to the channel, before it is reported to the host. */
static enum mr_status apply(struct mr_amqp_channel *ch, struct mr_pending *p,
	const struct mr_method *m)
{
	enum mr_status st;
	if (p->is_of_curb) {
		mr_curb_done(ch, m);
		return MR_OK;
	}
	switch (m->id) {
	case MR_M_BASIC_CONSUME_OK:
		st = mr_consumers_add(&ch->consumers, m->name, p, ch->outlet->now);
		return st == MR_OK && !p->token ? cancel_late(ch, m->name) : st;
	case MR_M_QUEUE_DECLARE_OK: return declared(ch, p, m->name);
	case MR_M_BASIC_CANCEL_OK: return cancelled(ch, m->name);
	case MR_M_BASIC_RECOVER_OK: recovered(ch, 1); return MR_OK;
	default: return MR_OK;
	}
}

/* An unexpected answer with a key is ignored, except that an unwanted consumer is cancelled. One
 * without a key might be taken for the answer to the next request of its kind: then no answer can
 * be trusted. */
static enum mr_status answers_nothing(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	const char *name = mr_method_name(m->id);
	if (!mr_pending_is_told_apart(m->id))
		return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
			"unexpected %s: nothing on channel %u waits for it", name, ch->number);
	mr_outlet_odd(ch->outlet, ch->number, "ignored: %s, for which nothing waits", name);
	bool is_consumer = m->id == MR_M_BASIC_CONSUME_OK && ch->state == MR_CH_OPEN &&
	                   !mr_consumers_has(&ch->consumers, m->name);
	return is_consumer ? cancel_late(ch, m->name) : MR_OK;
}

static enum mr_status answer(struct mr_amqp_channel *ch, const struct mr_method *m, mr_error *error)
{
	struct mr_pending *p = pass_to(ch, m) ? mr_pending_take(&ch->pending, m) : NULL;
	if (!p) return answers_nothing(ch, m, error);
	enum mr_status st = apply(ch, p, m);
	mr_reply *reply = p->token ? mr_calloc(1, sizeof *reply) : NULL;
	if (reply) {
		copy_name(reply, p->shown ? mr_slice_of(m->name.data, p->shown) : m->name);
		reply->message_count = m->count;
		reply->consumer_count = m->consumers;
	}
	if (m->id == MR_M_BASIC_GET_EMPTY && reply)
		mr_error_set(&reply->error, MR_EMPTY, MR_SCOPE_CHANNEL, 0, "the queue is empty");
	mr_pending_done(&ch->pending, p, reply);
	mr_pending_free(p);
	return st;
}

/* ---- the life of the channel ---- */

static enum mr_status closed_by_broker(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	mr_error why = {0};
	mr_error_set(&why, mr_status_of_code(m->code), MR_SCOPE_CHANNEL, m->code, "%.*s",
		(int)m->text.size, m->text.data);
	enum mr_status st = send(ch, MR_M_CHANNEL_CLOSE_OK, (mr_slice){0}, 0);
	mr_curb_closed(ch, m, &why);
	if (ch->state != MR_CH_CLOSING) {
		ch->is_probing = ch->is_probing && (m->failing == MR_M_QUEUE_DECLARE ||
							   m->failing == MR_M_EXCHANGE_DECLARE);
		mr_amqp_channel_end(ch, &why, true);
		return st;
	}
	/* Both sides closed at the same time. The broker still answers our close, and the number is
	 * in use until then. */
	mr_pending_fail(&ch->pending, &why, mr_pending_last(&ch->pending));
	return st;
}

static enum mr_status cancelled_by_broker(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	mr_event ev = {.type = MR_EV_CANCEL, .status = MR_CANCELLED};
	tell_resume(ch, m->name);
	uint32_t consumer = mr_consumers_remove(&ch->consumers, m->name) & ~MR_CONSUMER_NO_ACK;
	ev.as.cancel.consumer = consumer;
	if (consumer) mr_curb_give_back(ch, consumer);
	if (consumer) mr_amqp_channel_emit(ch, &ev);
	return m->flags & 1 ? MR_OK : send(ch, MR_M_BASIC_CANCEL_OK, m->name, 0);
}

static enum mr_status confirmed(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	enum mr_status outcome = m->id == MR_M_BASIC_ACK ? MR_OK : MR_NACKED;
	enum mr_status st = MR_COMMAND_INVALID;
	if (ch->confirming) st = mr_confirm_settle(&ch->confirm, m->tag, m->flags & 1, outcome);
	if (st != MR_COMMAND_INVALID) return st;
	return mr_outlet_odd(ch->outlet, ch->number, "ignored: %s of publish %llu, never sent",
		mr_method_name(m->id), (unsigned long long)m->tag);
}

static enum mr_status opened(struct mr_amqp_channel *ch, const struct mr_method *m, mr_error *error)
{
	bool is_abandoned = mr_amqp_channel_is_parting(ch);
	if (ch->state == MR_CH_OPENING) mr_amqp_channel_enter(ch, MR_CH_OPEN);
	enum mr_status st = answer(ch, m, error);
	if (st == MR_OK && is_abandoned && ch->state == MR_CH_OPEN)
		mr_amqp_channel_close(ch, MR_TOKEN_NONE, MR_NEVER);
	return st;
}

/* It was not requested, and the broker considers the channel closed. */
static enum mr_status closed_unasked(struct mr_amqp_channel *ch)
{
	mr_error why = {0};
	mr_error_set(&why, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
		"the broker sent channel.close-ok for a channel that was not closing");
	mr_outlet_odd(ch->outlet, ch->number, "the channel ends: channel.close-ok, not asked for");
	mr_amqp_channel_end(ch, &why, true);
	return MR_OK;
}

static enum mr_status close_ok(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	if (ch->state != MR_CH_CLOSING) return closed_unasked(ch);
	/* Pending requests get no answer any more; the close, the last of them, succeeded. */
	mr_error closed = {0}, none = {0};
	struct mr_pending *p = mr_pending_take(&ch->pending, m), last = *p;
	mr_pending_free(p);
	mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CHANNEL, 0,
		"the channel was closed by the program");
	bool is_refused = last.fatal != NULL;
	mr_amqp_channel_end(ch, is_refused ? ch->why : &closed, is_refused);
	mr_outlet_done(ch->outlet, ch->number, last.token, &none);
	return MR_OK;
}

static bool is_of_the_end(uint32_t id)
{
	return id == MR_M_CHANNEL_CLOSE || id == MR_M_CHANNEL_CLOSE_OK;
}

/* The consumer ends with the channel: that is not reported separately. */
static enum mr_status interrupts(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	const char *name = mr_method_name(m->id);
	if (!is_of_the_end(m->id))
		return mr_error_set(error, MR_UNEXPECTED_FRAME, MR_SCOPE_CHANNEL, 505,
			"%s in the middle of a message", name);
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	return mr_outlet_odd(ch->outlet, ch->number, "the message ends: %s in the middle of it",
		name);
}

/* Before open-ok it would have no owner, and stay unsettled until the channel ends. */
static enum mr_status begin_delivery(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	if (ch->state == MR_CH_OPENING)
		return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
			"a message before channel.open-ok");
	return mr_content_begin(&ch->content, m, error);
}

enum mr_status mr_inbound_method(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	if (ch->why && !is_of_the_end(m->id)) return MR_OK; /* from the earlier channel */
	if (ch->content.state != MR_CONTENT_IDLE && interrupts(ch, m, error) != MR_OK)
		return MR_UNEXPECTED_FRAME;
	switch (m->id) {
	case MR_M_BASIC_GET_OK:
		if (!pass_to(ch, m))
			return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
				"a message for which nothing waits (basic.get-ok)");
		return mr_content_begin(&ch->content, m, error);
	case MR_M_BASIC_DELIVER: return begin_delivery(ch, m, error);
	case MR_M_BASIC_RETURN: return mr_content_begin(&ch->content, m, error);
	case MR_M_BASIC_ACK:
	case MR_M_BASIC_NACK: return confirmed(ch, m);
	case MR_M_BASIC_CANCEL: return cancelled_by_broker(ch, m);
	case MR_M_CHANNEL_CLOSE: return closed_by_broker(ch, m);
	case MR_M_CHANNEL_CLOSE_OK: return close_ok(ch, m);
	case MR_M_CHANNEL_OPEN_OK: return opened(ch, m, error);
	case MR_M_BASIC_QOS_OK:
		if (!ch->is_owed_qos) return answer(ch, m, error);
		ch->is_owed_qos = false; /* it was sent before any request of the program */
		return MR_OK;
	case MR_M_CHANNEL_FLOW: return send(ch, MR_M_CHANNEL_FLOW_OK, (mr_slice){0}, m->flags & 1);
	default: return answer(ch, m, error);
	}
}
