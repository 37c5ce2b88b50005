/* inbound: what the broker's methods mean for a channel.
 * SPDX-License-Identifier: MIT
 * Pure; a part of channel, called by session through mr_amqp_channel_method. */
#include <string.h>

#include "amqp/curb.h"
#include "amqp/pending.h"
#include "amqp/request.h"
#include "base/alloc.h"

static enum mr_status send(struct mr_amqp_channel *ch, uint32_t id, mr_slice name, uint32_t flags)
{
	struct mr_method m = {.id = id, .name = name, .flags = flags};
	/* Behind our channel.close the broker takes anything else for a frame on a channel that is not
	 * open, which costs the connection (504). */
	if (ch->state == MR_CH_CLOSING && id != MR_M_CHANNEL_CLOSE_OK) return MR_OK;
	return mr_method_put(&ch->outlet->out, ch->number, &m, ch->outlet->frame_max, NULL);
}

/* ---- consumers ---- */

static enum mr_status add_consumer(struct mr_amqp_channel *ch, mr_slice tag, struct mr_pending *p)
{
	size_t count = ch->consumer_count;
	struct mr_consumer_entry *entry = mr_malloc(sizeof *entry);
	struct mr_consumer_entry **list = mr_realloc(ch->consumers, (count + 1) * sizeof *list);
	if (list) ch->consumers = list;
	if (!entry || !list) {
		mr_free(entry);
		return MR_NO_MEMORY;
	}
	*entry = (struct mr_consumer_entry){.number = p->consumer,
		.may_be_curbed = p->may_be_curbed,
		.arguments = p->arguments};
	p->arguments = NULL;
	entry->is_loose = p->is_loose || p->consumer & MR_CONSUMER_NO_ACK;
	entry->queue_size = p->queue_size;
	memcpy(entry->queue, p->queue, p->queue_size);
	entry->size = (uint8_t)tag.size;
	if (tag.size) memcpy(entry->tag, tag.data, tag.size);
	list[count] = entry;
	ch->consumer_count++;
	return MR_OK;
}

static bool is_tag(const struct mr_consumer_entry *entry, mr_slice tag)
{
	return mr_slice_equal(mr_slice_of(entry->tag, entry->size), tag) ||
	       mr_curb_is_second(entry, tag);
}

/* The consumer of a tag; ch->last_consumer is where it stands. NULL when there is none. */
static struct mr_consumer_entry *find_consumer(struct mr_amqp_channel *ch, mr_slice tag)
{
	size_t last = ch->last_consumer; /* most deliveries go where the one before went */
	if (last < ch->consumer_count && is_tag(ch->consumers[last], tag))
		return ch->consumers[last];
	for (size_t i = 0; i < ch->consumer_count; i++) {
		if (!is_tag(ch->consumers[i], tag)) continue;
		ch->last_consumer = i;
		return ch->consumers[i];
	}
	return NULL;
}

/* The first of a curbed one goes unseen. */
static uint32_t remove_consumer(struct mr_amqp_channel *ch, mr_slice tag)
{
	struct mr_consumer_entry *entry = find_consumer(ch, tag);
	if (!entry || !mr_curb_is_wire(entry, tag)) return 0;
	uint32_t number = entry->number;
	ch->consumers[ch->last_consumer] = ch->consumers[--ch->consumer_count];
	mr_consumer_free(entry);
	return number;
}

/* ---- messages ---- */

void mr_amqp_channel_tell_delivery(struct mr_amqp_channel *ch, mr_delivery *d)
{
	mr_event ev = {.type = MR_EV_DELIVERY};
	ev.connection = d->connection;
	ev.channel = d->channel;
	ev.epoch = d->epoch;
	ev.consumer = d->consumer;
	ev.data.delivery = d;
	ch->outlet->options->emit(ch->outlet->options->owner, &ev);
}

static enum mr_status tell_got(struct mr_amqp_channel *ch, mr_delivery *d)
{
	struct mr_pending *p = mr_pending_take(ch, &(struct mr_method){.id = MR_M_BASIC_GET_OK});
	struct mr_pending done = *p;
	uint64_t token = p->token;
	mr_pending_free(p);
	mr_reply *reply = token ? mr_calloc(1, sizeof *reply) : NULL;
	if (!reply) { /* nobody waits any more: back it goes */
		uint64_t tag = d->tag;
		bool no_ack = d->flags & MR_DELIVERY_NO_ACK;
		mr_delivery_give(ch->outlet->options->pool, d);
		if (token) mr_pending_done(ch, &done, NULL);
		return no_ack ? MR_OK : mr_amqp_channel_settle(ch, tag, MR_NACK, MR_SETTLE_REQUEUE);
	}
	reply->delivery = d;
	reply->message_count = d->message_count;
	mr_pending_done(ch, &done, reply);
	return MR_OK;
}

void mr_inbound_too_large(struct mr_amqp_channel *ch, mr_slice queue, const char *fate)
{
	const struct mr_session_options *options = ch->outlet->options;
	const struct mr_method *m = &ch->content.method;
	struct mr_too_large what = {.queue = queue,
		.exchange = m->name,
		.routing_key = m->key,
		.size = ch->content.body_size,
		.limit = options->max_message_size,
		.fate = fate};
	if (m->id == MR_M_BASIC_DELIVER) what.consumer_tag = m->other;
	options->stats->oversized++;
	if (options->too_large) options->too_large(options->owner, &what);
}

/* It was taken off the wire without its body. Nobody could do anything with it: it is refused, so that the
 * queue's dead letters have it; who asked for it by get is told. */
static enum mr_status refuse_large(struct mr_amqp_channel *ch, mr_delivery *d, mr_slice queue)
{
	bool no_ack = d->flags & MR_DELIVERY_NO_ACK;
	uint64_t tag = d->tag;
	mr_inbound_too_large(ch, queue, no_ack ? "dropped" : "rejected");
	mr_delivery_give(ch->outlet->options->pool, d);
	if (ch->content.method.id == MR_M_BASIC_GET_OK) {
		struct mr_pending *p =
			mr_pending_take(ch, &(struct mr_method){.id = MR_M_BASIC_GET_OK});
		mr_reply *reply = p->token ? mr_calloc(1, sizeof *reply) : NULL;
		if (reply)
			mr_error_set(&reply->error, MR_CONTENT_TOO_LARGE, MR_SCOPE_MESSAGE, 0,
				"a message of %llu bytes, over max_message_size: it was %s",
				(unsigned long long)ch->content.body_size,
				no_ack ? "dropped" : "rejected without requeue");
		mr_pending_done(ch, p, reply);
		mr_pending_free(p);
	}
	if (no_ack) return MR_OK;
	ch->outlet->options->stats->settled++;
	return mr_amqp_channel_settle(ch, tag, MR_REJECT, 0);
}

/* Whose it is. */
struct target {
	uint32_t consumer;
	bool is_loose;
	mr_slice queue;                  /* valid until the channel changes */
	struct mr_consumer_entry *entry; /* NULL: it was got, or nobody's */
	bool is_curbed;                  /* by the consumer that took its first one's place */
};

static struct target target_of(struct mr_amqp_channel *ch, const mr_delivery *d, bool got)
{
	if (got) {
		const struct mr_pending *p = mr_pending_find(ch, &ch->content.method);
		return (struct target){p->consumer, false, mr_slice_of(p->queue, p->queue_size),
			NULL, false};
	}
	mr_slice tag = mr_slice_of(d->consumer_tag, d->consumer_tag_size);
	struct mr_consumer_entry *entry = find_consumer(ch, tag);
	if (!entry) return (struct target){.queue = mr_slice_of("", 0)};
	bool is_bound = ch->is_limited && !(entry->number & MR_CONSUMER_NO_ACK);
	bool is_curbed = mr_curb_is_second(entry, tag);
	return (struct target){entry->number, entry->is_loose && !is_bound && !is_curbed,
		mr_slice_of(entry->queue, entry->queue_size), entry, is_curbed};
}

/* Its tag is the broker's, and in order. */
static enum mr_status count_tag(struct mr_amqp_channel *ch, mr_delivery *d, bool no_ack,
	mr_error *error)
{
	uint64_t gaps = ch->acks.gaps;
	enum mr_status st = mr_acks_delivered(&ch->acks, d->tag, no_ack);
	if (gaps != ch->acks.gaps)
		mr_outlet_odd(ch->outlet, ch->number,
			"ignored: delivery tags that nobody got, before %llu",
			(unsigned long long)d->tag);
	if (st == MR_OK) return MR_OK;
	mr_delivery_give(ch->outlet->options->pool, d);
	return mr_error_set(error, st, MR_SCOPE_CONNECTION, st == MR_NO_MEMORY ? 506 : 503,
		st == MR_NO_MEMORY ? "out of memory" : "a delivery tag is out of order");
}

/* To the host, if it is the host's still. */
static enum mr_status hand_over(struct mr_amqp_channel *ch, mr_delivery *d,
	const struct target *target, bool we_ack)
{
	struct mr_consumer_entry *entry = target->entry;
	if (target->is_curbed) mr_curb_hide(entry, d);
	if (ch->state !=
		MR_CH_OPEN) { /* closing: the broker takes it back; its tag had to be counted */
		mr_delivery_give(ch->outlet->options->pool, d);
		return MR_OK;
	}
	if (we_ack) return mr_curb_take(ch, entry, d);
	bool is_behind = entry && entry->is_curbed && mr_buffer_size(&ch->held);
	enum mr_status st = is_behind ? mr_curb_catch_up(ch, d->consumer) : MR_OK;
	mr_amqp_channel_tell_delivery(ch, d);
	if (st != MR_OK) return st;
	return entry && mr_curb_is_due(ch, entry) ? mr_curb_begin(ch, entry) : MR_OK;
}

enum mr_status mr_inbound_delivery(struct mr_amqp_channel *ch, mr_delivery *d, mr_error *error)
{
	bool got = ch->content.method.id == MR_M_BASIC_GET_OK;
	struct target target = target_of(ch, d, got);
	bool is_settled = target.consumer & MR_CONSUMER_NO_ACK;
	bool we_ack = is_settled && target.is_curbed;
	d->consumer = target.consumer & ~MR_CONSUMER_NO_ACK;
	if (is_settled && !we_ack) d->flags |= MR_DELIVERY_NO_ACK | MR_DELIVERY_SETTLED;
	enum mr_status st = count_tag(ch, d, is_settled && !we_ack, error);
	if (st != MR_OK) return st;
	bool is_kept =
		target.consumer & MR_CONSUMER_LARGE && !is_settled && ch->state == MR_CH_OPEN;
	if (ch->content.is_skipped && !is_kept) return refuse_large(ch, d, target.queue);
	if (ch->content.is_skipped) {
		d->flags |= MR_DELIVERY_TOO_LARGE;
		mr_inbound_too_large(ch, target.queue, "kept in its queue, unacked");
	}
	if (we_ack) d->flags |= MR_DELIVERY_NO_ACK | MR_DELIVERY_SETTLED;
	if (!we_ack) mr_delivery_count(d, ch->outlet->options->tally, target.is_loose);
	if (got) return tell_got(ch, d); /* an answer, so it counts to the end */
	st = hand_over(ch, d, &target, we_ack);
	if (st == MR_OK) return MR_OK;
	return mr_error_set(error, st, MR_SCOPE_CONNECTION, 506, "out of memory");
}

/* ---- replies ---- */

static void copy_name(mr_reply *reply, mr_slice name)
{
	reply->name_size = (uint16_t)name.size;
	if (name.size) memcpy(reply->name, name.data, name.size);
	reply->name[name.size] = '\0';
}

/* The asker of a consumer has gone: nobody would ever settle its deliveries. Those that come before
 * the broker reads this are still told as the consumer's, with or without acks as it was asked. */
static enum mr_status cancel_late(struct mr_amqp_channel *ch, mr_slice tag)
{
	if (ch->state == MR_CH_CLOSING) return MR_OK; /* it goes with its channel */
	struct mr_pending answer = {.expects = MR_M_BASIC_CANCEL_OK,
		.deadline = MR_NEVER,
		.key = tag};
	enum mr_status st = mr_pending_add(ch, &answer);
	return st == MR_OK ? send(ch, MR_M_BASIC_CANCEL, tag, 0) : st;
}

/* A queue that the broker named, and whose name nobody will hear. While the host waits for something on this
 * channel, that may speak of it as the last one declared. */
static enum mr_status delete_late(struct mr_amqp_channel *ch, mr_slice name)
{
	struct mr_pending answer = {.expects = MR_M_QUEUE_DELETE_OK, .deadline = MR_NEVER};
	if (ch->state == MR_CH_CLOSING || mr_pending_is_awaited(ch)) return MR_OK;
	enum mr_status st = mr_pending_add(ch, &answer);
	return st == MR_OK ? send(ch, MR_M_QUEUE_DELETE, name, 0) : st;
}

/* The broker took all back that it has delivered so far: the host must not believe that it can settle those. It
 * counts its recovers, so each is told. */
static void tell_taken_back(struct mr_amqp_channel *ch)
{
	mr_event ev = {.type = MR_EV_CHANNEL, .status = MR_OK, .detail = MR_CHANNEL_TAKEN_BACK};
	ev.last = ch->acks.next - 1;
	ev.connection = ch->outlet->options->connection;
	ev.channel = ch->number;
	ev.epoch = ch->epoch;
	ch->outlet->options->emit(ch->outlet->options->owner, &ev);
}

/* Recovers have ended, by their answer or by one to what was asked later: then theirs will not come, and whatever
 * they did was done before this. */
static void recovered(struct mr_amqp_channel *ch, uint32_t count)
{
	if (count) mr_curb_drop(ch);
	for (uint32_t n = 0; n < count; n++) tell_taken_back(ch);
	if (count) mr_acks_forget(&ch->acks);
}

/* The question that this answers, or NULL. */
static const struct mr_pending *pass_to(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	const struct mr_pending *p = mr_pending_find(ch, m);
	uint32_t recovers = ch->recovering;
	if (!p) return NULL;
	mr_pending_pass(ch, p);
	recovered(ch, recovers - ch->recovering);
	return p;
}

/* What is held of it goes back to its queue. */
static enum mr_status cancelled(struct mr_amqp_channel *ch, mr_slice tag)
{
	uint32_t number = remove_consumer(ch, tag) & ~MR_CONSUMER_NO_ACK;
	return number ? mr_curb_give_back(ch, number) : MR_OK;
}

/* What an answer changes in the channel, before the host hears of it. */
static enum mr_status apply(struct mr_amqp_channel *ch, struct mr_pending *p,
	const struct mr_method *m)
{
	enum mr_status st;
	if (p->is_of_curb) return MR_OK;
	switch (m->id) {
	case MR_M_BASIC_CONSUME_OK:
		st = add_consumer(ch, m->name, p);
		return st == MR_OK && !p->token ? cancel_late(ch, m->name) : st;
	case MR_M_QUEUE_DECLARE_OK:
		return p->late && !p->key.size ? delete_late(ch, m->name) : MR_OK;
	case MR_M_BASIC_CANCEL_OK: return cancelled(ch, m->name);
	case MR_M_BASIC_RECOVER_OK: recovered(ch, 1); return MR_OK;
	default: return MR_OK;
	}
}

/* An answer to nothing that says what it speaks of changes nothing: but a consumer that nobody wants must go. Any
 * other might be taken for the answer to the next question of its kind: then no answer can be trusted. */
static enum mr_status answers_nothing(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	const char *name = mr_method_name(m->id);
	if (!mr_pending_is_told_apart(m->id))
		return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
			"unexpected %s: nothing on channel %u waits for it", name, ch->number);
	mr_outlet_odd(ch->outlet, ch->number, "ignored: %s, for which nothing waits", name);
	bool is_consumer = m->id == MR_M_BASIC_CONSUME_OK && ch->state == MR_CH_OPEN;
	return is_consumer ? cancel_late(ch, m->name) : MR_OK;
}

static enum mr_status answer(struct mr_amqp_channel *ch, const struct mr_method *m, mr_error *error)
{
	struct mr_pending *p = pass_to(ch, m) ? mr_pending_take(ch, m) : NULL;
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
	mr_pending_done(ch, p, reply);
	mr_pending_free(p);
	return st;
}

/* ---- the life of the channel ---- */

static enum mr_status closed_by_broker(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	mr_error why = {0};
	mr_error_set(&why, mr_kind_of_code(m->code), MR_SCOPE_CHANNEL, m->code, "%.*s",
		(int)m->text.size, m->text.data);
	enum mr_status st = send(ch, MR_M_CHANNEL_CLOSE_OK, (mr_slice){0}, 0);
	if (ch->state != MR_CH_CLOSING) {
		ch->is_probing = ch->is_probing && (m->failing == MR_M_QUEUE_DECLARE ||
							   m->failing == MR_M_EXCHANGE_DECLARE);
		mr_amqp_channel_end(ch, &why, true);
		return st;
	}
	/* Both closed at once. The broker still answers our close, and the number is ours until then. */
	struct mr_node *close = ch->pending.prev;
	mr_list_remove(close);
	mr_pending_fail(ch, &why);
	mr_list_append(&ch->pending, close);
	return st;
}

static enum mr_status cancelled_by_broker(struct mr_amqp_channel *ch, const struct mr_method *m)
{
	mr_event ev = {.type = MR_EV_CANCEL, .status = MR_CANCELLED};
	ev.connection = ch->outlet->options->connection;
	ev.channel = ch->number;
	ev.epoch = ch->epoch;
	ev.consumer = remove_consumer(ch, m->name) & ~MR_CONSUMER_NO_ACK;
	if (ev.consumer) mr_curb_give_back(ch, ev.consumer);
	if (ev.consumer) ch->outlet->options->emit(ch->outlet->options->owner, &ev);
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

/* We did not ask for it, and for the broker the channel has gone. */
static enum mr_status closed_unasked(struct mr_amqp_channel *ch)
{
	mr_error why = {0};
	mr_error_set(&why, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
		"the broker sent channel.close-ok for a channel that was not closing");
	mr_outlet_odd(ch->outlet, ch->number, "the channel ends: channel.close-ok, not asked for");
	mr_amqp_channel_end(ch, &why, true);
	return MR_OK;
}

static enum mr_status close_ok(struct mr_amqp_channel *ch)
{
	if (ch->state != MR_CH_CLOSING) return closed_unasked(ch);
	/* Requests still under way get no answer any more; the close, the last of them, succeeded. */
	mr_error closed = {0}, none = {0};
	struct mr_pending *p = mr_pending_last(ch), last = *p;
	mr_list_remove(&p->node);
	mr_pending_free(p);
	mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CHANNEL, 0,
		"the channel was closed by the program");
	bool is_refused = ch->why && last.is_end;
	mr_amqp_channel_end(ch, is_refused ? ch->why : &closed, is_refused);
	mr_outlet_done(ch->outlet, ch->number, last.token, &none);
	return MR_OK;
}

static bool is_of_the_end(uint32_t id)
{
	return id == MR_M_CHANNEL_CLOSE || id == MR_M_CHANNEL_CLOSE_OK;
}

enum mr_status mr_amqp_channel_method(struct mr_amqp_channel *ch, const struct mr_method *m,
	mr_error *error)
{
	if (ch->why && !is_of_the_end(m->id)) return MR_OK; /* of the past */
	ch->skips = false;
	if (ch->content.state != MR_CONTENT_IDLE)
		return mr_error_set(error, MR_UNEXPECTED_FRAME, MR_SCOPE_CHANNEL, 505,
			"%s in the middle of a message", mr_method_name(m->id));
	switch (m->id) {
	case MR_M_BASIC_GET_OK:
		if (!pass_to(ch, m))
			return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CHANNEL, 503,
				"a message for which nothing waits (basic.get-ok)");
		return mr_content_begin(&ch->content, m, error);
	case MR_M_BASIC_DELIVER:
	case MR_M_BASIC_RETURN: return mr_content_begin(&ch->content, m, error);
	case MR_M_BASIC_ACK:
	case MR_M_BASIC_NACK: return confirmed(ch, m);
	case MR_M_BASIC_CANCEL: return cancelled_by_broker(ch, m);
	case MR_M_CHANNEL_CLOSE: return closed_by_broker(ch, m);
	case MR_M_CHANNEL_CLOSE_OK: return close_ok(ch);
	case MR_M_CHANNEL_OPEN_OK: return opened(ch, m, error);
	case MR_M_BASIC_QOS_OK:
		if (!ch->is_owed_qos) return answer(ch, m, error);
		ch->is_owed_qos = false; /* ours was before any of the program's */
		return MR_OK;
	case MR_M_CHANNEL_FLOW: return send(ch, MR_M_CHANNEL_FLOW_OK, (mr_slice){0}, m->flags & 1);
	default: return answer(ch, m, error);
	}
}
