/* channel: one AMQP channel of a session: its requests, consumers, contents, confirms and acks.
 * SPDX-License-Identifier: MIT */
#include "amqp/channel.h"

#include <stdio.h>
#include <string.h>

#include "amqp/curb.h"
#include "amqp/pending.h"
#include "amqp/request.h"
#include "base/alloc.h"
#include "base/machine.h"
#include "codec/frame.h"

#define REFUSED_TIME 5000 /* ms for the broker to close a channel on which it broke the protocol */

#define BIT(n) (1u << (n))
static const unsigned may_follow[MR_CH_COUNT] = {
	[MR_CH_CLOSED] = BIT(MR_CH_OPENING),
	[MR_CH_OPENING] = BIT(MR_CH_OPEN) | BIT(MR_CH_CLOSING) | BIT(MR_CH_CLOSED),
	[MR_CH_OPEN] = BIT(MR_CH_CLOSING) | BIT(MR_CH_CLOSED),
	[MR_CH_CLOSING] = BIT(MR_CH_CLOSED),
};
#define NAME(s) #s,
static const char *const names[] = {MR_CHANNEL_STATES(NAME)};
static const struct mr_machine machine = {"channel", names, may_follow, MR_CH_COUNT};

void mr_amqp_channel_enter(struct mr_amqp_channel *ch, enum mr_channel_state next)
{
	if (mr_machine_moves(&machine, ch->state, next, &ch->outlet->fault)) ch->state = next;
}

static void emit(struct mr_amqp_channel *ch, mr_event *ev)
{
	ev->connection = ch->outlet->options->connection;
	ev->channel = ch->number;
	ev->epoch = ch->epoch;
	ch->outlet->options->emit(ch->outlet->options->owner, ev);
}

static enum mr_status send(struct mr_amqp_channel *ch, const struct mr_method *method,
	mr_error *error)
{
	return mr_method_put(&ch->outlet->out, ch->number, method, ch->outlet->frame_max, error);
}

/* A method and the place of its answer: both, or nothing on the wire. */
static enum mr_status ask(struct mr_amqp_channel *ch, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error)
{
	struct mr_buffer *out = &ch->outlet->out;
	size_t before = mr_buffer_size(out);
	enum mr_status st = send(ch, method, error);
	if (st == MR_OK) st = mr_pending_add(ch, answer);
	if (st != MR_OK) out->end = out->start + before;
	return st;
}

enum mr_status mr_outlet_odd(struct mr_outlet *outlet, uint16_t channel, const char *format, ...)
{
	mr_error what = {0};
	char text[256];
	va_list args;
	outlet->options->stats->violations++;
	if (!outlet->options->odd) return MR_OK;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	mr_error_set(&what, MR_COMMAND_INVALID, MR_SCOPE_NONE, 0, "%s", text);
	outlet->options->odd(outlet->options->owner, channel, &what);
	return MR_OK;
}

void mr_outlet_lost(struct mr_outlet *outlet, uint16_t channel, uint32_t epoch, uint64_t number)
{
	mr_event ev = {.type = MR_EV_CONFIRM, .status = MR_LOST, .token = number, .last = number};
	ev.connection = outlet->options->connection;
	ev.channel = channel;
	ev.epoch = epoch;
	outlet->options->emit(outlet->options->owner, &ev);
}

static void tell_confirmed(void *owner, uint64_t first, uint64_t last, enum mr_status outcome,
	int shift)
{
	struct mr_amqp_channel *ch = owner;
	uint64_t count = last - first + 1;
	if (outcome == MR_OK) ch->outlet->options->stats->confirmed += count;
	if (outcome == MR_LOST) ch->outlet->options->stats->lost += count;
	mr_event ev = {.type = MR_EV_CONFIRM, .status = outcome, .token = first, .last = last};
	ev.consumer = (uint32_t)shift;
	emit(ch, &ev);
}

struct mr_amqp_channel *mr_amqp_channel_open(struct mr_outlet *outlet, uint16_t number,
	uint32_t epoch, uint64_t token, mr_msec deadline)
{
	struct mr_amqp_channel *ch = mr_calloc(1, sizeof *ch);
	if (!ch) return NULL;
	ch->number = number;
	ch->epoch = epoch;
	ch->outlet = outlet;
	mr_list_init(&ch->pending);
	mr_confirm_init(&ch->confirm, tell_confirmed, ch);
	ch->confirm.clock = outlet->options->clock;
	ch->confirm.times = outlet->options->confirm_times;
	mr_acks_init(&ch->acks);
	struct mr_method open = {.id = MR_M_CHANNEL_OPEN};
	struct mr_pending answer = {.token = token,
		.expects = MR_M_CHANNEL_OPEN_OK,
		.deadline = deadline};
	if (ask(ch, &open, &answer, NULL) != MR_OK) {
		mr_amqp_channel_free(ch);
		return NULL;
	}
	mr_amqp_channel_enter(ch, MR_CH_OPENING);
	return ch;
}

void mr_consumer_free(struct mr_consumer_entry *entry)
{
	if (entry) mr_table_free(entry->arguments);
	mr_free(entry);
}

void mr_amqp_channel_free(struct mr_amqp_channel *ch)
{
	if (!ch) return;
	mr_list_remove(&ch->dirty);
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	mr_curb_drop(ch);
	mr_buffer_fini(&ch->held);
	mr_confirm_fini(&ch->confirm);
	mr_acks_fini(&ch->acks);
	for (size_t i = 0; i < ch->consumer_count; i++) mr_consumer_free(ch->consumers[i]);
	mr_free(ch->consumers);
	mr_free(ch->why);
	mr_free(ch);
}

void mr_amqp_channel_end(struct mr_amqp_channel *ch, const mr_error *why, bool tell)
{
	if (ch->state == MR_CH_CLOSED) return;
	mr_amqp_channel_enter(ch, MR_CH_CLOSED);
	mr_list_remove(&ch->dirty);
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	mr_curb_drop(ch);
	mr_confirm_lose(&ch->confirm);
	mr_pending_fail(ch, why);
	if (!tell) return;
	mr_event ev = {.type = MR_EV_CHANNEL, .status = why->kind, .detail = ch->is_probing};
	ev.data.error = mr_malloc(sizeof *why);
	if (ev.data.error) *ev.data.error = *why;
	emit(ch, &ev);
}

/* ---- what the host asks for ---- */

static enum mr_status write_settle(void *owner, uint64_t tag, int how, int flags)
{
	static const uint32_t id[] = {[MR_ACK] = MR_M_BASIC_ACK,
		[MR_NACK] = MR_M_BASIC_NACK,
		[MR_REJECT] = MR_M_BASIC_REJECT};
	struct mr_amqp_channel *ch = owner;
	struct mr_method m = {.id = id[how], .tag = tag};
	if (flags & MR_SETTLE_MULTIPLE) m.flags |= 1;
	if (flags & MR_SETTLE_REQUEUE) m.flags |= MR_REQUEUE;
	ch->outlet->options->stats->acks_out++;
	return send(ch, &m, NULL);
}

enum mr_status mr_amqp_channel_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags)
{
	/* Closing, or asked to take them back: the broker does. */
	if (ch->state != MR_CH_OPEN || ch->recovering) return MR_OK;
	if (!ch->dirty.next) mr_list_append(&ch->outlet->dirty, &ch->dirty);
	if (flags & MR_SETTLE_MULTIPLE && mr_buffer_size(&ch->held))
		return mr_curb_settle(ch, tag, how, flags, write_settle);
	return mr_acks_settle(&ch->acks, tag, how, flags, write_settle, ch);
}

enum mr_status mr_amqp_channel_flush(struct mr_amqp_channel *ch)
{
	mr_list_remove(&ch->dirty);
	if (ch->state != MR_CH_OPEN) return MR_OK;
	return mr_acks_flush(&ch->acks, write_settle, ch);
}

void mr_amqp_channel_close(struct mr_amqp_channel *ch, uint64_t token, mr_msec deadline)
{
	struct mr_method m = {.id = MR_M_CHANNEL_CLOSE,
		.code = 200,
		.text = mr_slice_str("Goodbye")};
	mr_error error = {0};
	enum mr_status st = mr_amqp_channel_flush(ch);
	struct mr_pending answer = {.token = token,
		.expects = MR_M_CHANNEL_CLOSE_OK,
		.deadline = deadline};
	if (st == MR_OK) st = ask(ch, &m, &answer, &error);
	if (st == MR_OK) {
		mr_amqp_channel_enter(ch, MR_CH_CLOSING);
		return;
	}
	mr_error_set(&error, st, MR_SCOPE_CHANNEL, 0, "cannot close the channel");
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

void mr_amqp_channel_refuse(struct mr_amqp_channel *ch, const mr_error *why)
{
	struct mr_method m = {.id = MR_M_CHANNEL_CLOSE, .code = (uint16_t)why->code};
	struct mr_pending answer = {.expects = MR_M_CHANNEL_CLOSE_OK,
		.is_end = true,
		.deadline = ch->outlet->now + REFUSED_TIME};
	if (ch->why || ch->state == MR_CH_CLOSED) return;
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	m.text = mr_slice_of(why->text, strnlen(why->text, 255));
	ch->why = mr_malloc(sizeof *why);
	if (ch->why) *ch->why = *why;
	if (ch->why && ch->state == MR_CH_CLOSING) return; /* its close-ok is on its way already */
	if (!ch->why || ask(ch, &m, &answer, NULL) != MR_OK)
		ch->outlet->fault = *why;
	else
		mr_amqp_channel_enter(ch, MR_CH_CLOSING);
}

bool mr_amqp_channel_is_parting(const struct mr_amqp_channel *ch)
{
	const struct mr_node *first = ch->pending.next;
	if (ch->state == MR_CH_CLOSING) return true;
	if (ch->state != MR_CH_OPENING || first == &ch->pending) return false;
	return mr_container((struct mr_node *)(uintptr_t)first, struct mr_pending, node)->late;
}

static bool has_tag(const struct mr_amqp_channel *ch, mr_slice tag)
{
	for (size_t i = 0; i < ch->consumer_count; i++)
		if (mr_slice_equal(mr_slice_of(ch->consumers[i]->tag, ch->consumers[i]->size),
			    tag) ||
			mr_curb_is_second(ch->consumers[i], tag))
			return true;
	return false;
}

static enum mr_status check(struct mr_amqp_channel *ch, const mr_request *request, mr_error *error)
{
	if (ch->state != MR_CH_OPEN)
		return mr_error_set(error, MR_CLOSED, MR_SCOPE_CHANNEL, 0, "the channel is closed");
	if (request->number & MR_CONSUMER_NO_ACK)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CHANNEL, 0,
			"number is over 2^31 - 1");
	if (request->operation == MR_BASIC_CONSUME && request->extra.size &&
		(has_tag(ch, request->extra) ||
			mr_pending_keyed((struct mr_amqp_channel *)(uintptr_t)ch,
				MR_M_BASIC_CONSUME_OK, request->extra)))
		return mr_error_set(error, MR_NOT_ALLOWED, MR_SCOPE_CHANNEL, 530,
			"consumer tag \"%.*s\" is in use on this channel", (int)request->extra.size,
			request->extra.data);
	return MR_OK;
}

/* A cancel whose time was up is under way still: it is waited for anew, not asked for twice. */
static bool waits_again(struct mr_amqp_channel *ch, const struct mr_pending *answer)
{
	struct mr_pending *p = NULL;
	if (answer->expects == MR_M_BASIC_CANCEL_OK)
		p = mr_pending_keyed(ch, MR_M_BASIC_CANCEL_OK, answer->key);
	if (!p || p->token || p->is_of_curb) return false;
	p->token = answer->token;
	p->deadline = answer->deadline;
	p->late = false;
	ch->outlet->earliest = mr_earlier(ch->outlet->earliest, p->deadline);
	return true;
}

/* Where the program asked for no prefetch, a consumer with acks gets one of ours: else the broker sends the
 * whole queue, whatever the host can take. */
static bool needs_prefetch(const struct mr_amqp_channel *ch, const mr_request *request)
{
	return !ch->has_qos && request->operation == MR_BASIC_CONSUME &&
	       !(request->flags & MR_NO_ACK);
}

static enum mr_status ask_with_prefetch(struct mr_amqp_channel *ch, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error)
{
	struct mr_method qos = {.id = MR_M_BASIC_QOS, .count = MR_PREFETCH_USUAL};
	struct mr_buffer *out = &ch->outlet->out;
	size_t before = mr_buffer_size(out);
	enum mr_status st = send(ch, &qos, error);
	if (st == MR_OK) st = ask(ch, method, answer, error);
	if (st != MR_OK) {
		out->end = out->start + before;
		return st;
	}
	ch->has_qos = ch->is_owed_qos = true;
	ch->prefetch = MR_PREFETCH_USUAL;
	return MR_OK;
}

static void note_qos(struct mr_amqp_channel *ch, const mr_request *request)
{
	ch->has_qos = true;
	if (request->flags & MR_GLOBAL)
		ch->is_limited = request->number != 0;
	else
		ch->prefetch = request->number;
}

/* What is known of a consume or get that was just asked for, for when its messages come. */
static void note_queue(struct mr_amqp_channel *ch, const mr_request *request)
{
	struct mr_pending *p = mr_container(ch->pending.prev, struct mr_pending, node);
	size_t size = request->name.size < sizeof p->queue ? request->name.size : sizeof p->queue;
	p->is_loose = ch->prefetch == 0;
	p->queue_size = (uint8_t)size;
	if (size) memcpy(p->queue, request->name.data, size);
	if (request->operation == MR_BASIC_CONSUME) mr_curb_note(ch, p, request);
	if (mr_slice_equal(mr_slice_of(p->queue, size), mr_slice_str(MR_DIRECT_REPLIES)))
		ch->hears_replies = true;
}

/* What an operation that was sent changes at once, as it does at the broker. */
static void note(struct mr_amqp_channel *ch, const mr_request *request)
{
	switch (request->operation) {
	/* Publishes count from here on, not from select-ok: so the broker numbers them. */
	case MR_CONFIRM_SELECT: ch->confirming = true; break;
	case MR_BASIC_QOS: note_qos(ch, request); break;
	case MR_TX_SELECT: ch->has_tx = true; break;
	case MR_BASIC_CONSUME:
	case MR_BASIC_GET: note_queue(ch, request); break;
	default: break;
	}
}

void mr_amqp_channel_request(struct mr_amqp_channel *ch, uint64_t token, const mr_request *request,
	mr_msec deadline)
{
	if (request->operation == MR_QUEUE_DECLARE || request->operation == MR_EXCHANGE_DECLARE)
		ch->is_probing = (request->flags & (MR_PASSIVE | MR_UNRECORDED | MR_ASKING)) != 0;
	mr_error error = {0};
	struct mr_method method;
	struct mr_pending answer = {.token = token,
		.expects = mr_request_method(request, &method),
		.consumer = request->number,
		.deadline = deadline};
	char name[256];
	answer.key = mr_request_key(request, name);
	if (request->operation == MR_BASIC_CANCEL) mr_curb_cancel(ch, &method, &answer, name);
	if (request->flags & MR_NO_ACK) answer.consumer |= MR_CONSUMER_NO_ACK;
	enum mr_status st = check(ch, request, &error);
	if (st == MR_OK && waits_again(ch, &answer)) return;
	/* Acks given before a request take effect before it: tx.commit and basic.recover depend on it. */
	if (st == MR_OK && request->operation == MR_TX_SELECT) st = mr_curb_undo(ch);
	if (st == MR_OK) st = mr_amqp_channel_flush(ch);
	if (st == MR_OK && needs_prefetch(ch, request))
		st = ask_with_prefetch(ch, &method, &answer, &error);
	else if (st == MR_OK)
		st = ask(ch, &method, &answer, &error);
	if (st == MR_OK) {
		note(ch, request);
		return;
	}
	if (!error.kind) mr_error_set(&error, st, MR_SCOPE_CHANNEL, 0, "%s", mr_status_text(st));
	error.scope = MR_SCOPE_CHANNEL;
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

enum mr_status mr_amqp_channel_publish(struct mr_amqp_channel *ch, const struct mr_publish *p,
	mr_error *error)
{
	struct mr_method m = {.id = MR_M_BASIC_PUBLISH, .name = p->exchange, .key = p->routing_key};
	struct mr_buffer *out = &ch->outlet->out;
	size_t before = mr_buffer_size(out);

	if (p->flags & MR_MANDATORY) m.flags = MR_MANDATORY;
	enum mr_status st = send(ch, &m, error);
	if (st == MR_OK)
		st = mr_frame_put_content(out, ch->number, p->properties, p->body,
			ch->outlet->frame_max);
	if (st == MR_OK && ch->confirming) {
		struct mr_identity id = {0};
		if (m.flags)
			id = mr_identity_of(p->exchange, p->routing_key, p->properties, p->body);
		st = mr_confirm_add(&ch->confirm, m.flags ? &id : NULL, p->deadline);
		ch->outlet->earliest = mr_earlier(ch->outlet->earliest, p->deadline);
	}
	if (st != MR_OK)
		out->end = out->start + before; /* all frames of a publish, or none */
	else
		ch->outlet->options->stats->published++;
	return st;
}

static void expire_heir(struct mr_amqp_channel *ch, mr_msec now)
{
	mr_error error = {0};
	uint64_t token = ch->heir.token;
	if (!token) return;
	if (ch->heir.deadline > now) {
		ch->outlet->earliest = mr_earlier(ch->outlet->earliest, ch->heir.deadline);
		return;
	}
	ch->heir.token = 0;
	mr_error_set(&error, MR_TIMEOUT, MR_SCOPE_CHANNEL, 0,
		"the broker did not close the channel that had the number before");
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

bool mr_amqp_channel_is_asking(const struct mr_amqp_channel *ch)
{
	bool is_ending =
		ch->state == MR_CH_CLOSING && ch->why; /* in time, or the connection goes */
	return is_ending || ch->heir.token || mr_pending_is_awaited(ch) ||
	       mr_confirm_is_waiting(&ch->confirm);
}

void mr_amqp_channel_expire(struct mr_amqp_channel *ch, mr_msec now)
{
	mr_pending_expire(ch, now);
	mr_confirm_expire(&ch->confirm, now);
	expire_heir(ch, now);
	ch->outlet->earliest = mr_earlier(ch->outlet->earliest, ch->confirm.earliest);
}

/* ---- what the broker says ---- */

static enum mr_status came_back(struct mr_amqp_channel *ch, mr_delivery *d, mr_error *error)
{
	const struct mr_method *m = &ch->content.method;
	mr_event ev = {.type = MR_EV_RETURN, .status = (int32_t)mr_kind_of_code(m->code)};
	bool lacks_memory = false;
	if (ch->confirming) {
		struct mr_identity id = mr_identity_returned(m->name, m->key,
			mr_slice_of(d->properties, d->properties_size),
			mr_slice_of(d->body, d->body_size));
		ev.token = mr_confirm_returned(&ch->confirm, &id, &lacks_memory);
	}
	ev.data.delivery = d;
	if (ch->state == MR_CH_OPEN)
		emit(ch, &ev);
	else /* closing: its confirm still says that it came back */
		mr_delivery_give(ch->outlet->options->pool, d);
	if (!lacks_memory) return MR_OK;
	return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506,
		"out of memory for a message that came back");
}

static enum mr_status deliver(struct mr_amqp_channel *ch, mr_delivery *d, mr_error *error)
{
	const struct mr_method *m = &ch->content.method;
	struct mr_stats *stats = ch->outlet->options->stats;
	d->connection = ch->outlet->options->connection;
	d->channel = ch->number;
	d->epoch = ch->epoch;
	if (m->id == MR_M_BASIC_RETURN && ch->content.is_skipped) {
		mr_inbound_too_large(ch, mr_slice_of("", 0),
			"dropped"); /* none of ours is as large */
		mr_delivery_give(ch->outlet->options->pool, d);
		return MR_OK;
	}
	if (m->id == MR_M_BASIC_RETURN) {
		stats->returned++;
		return came_back(ch, d, error);
	}
	stats->delivered++;
	return mr_inbound_delivery(ch, d, error);
}

enum mr_status mr_amqp_channel_content(struct mr_amqp_channel *ch, const struct mr_frame *frame,
	mr_error *error)
{
	mr_delivery *d;
	bool is_skipped = ch->skips && ch->content.state == MR_CONTENT_IDLE;
	if (ch->why || is_skipped) return MR_OK; /* of the past, or of what we do not know */
	const struct mr_session_options *options = ch->outlet->options;
	enum mr_status st = mr_content_feed(&ch->content, options->pool, options->max_message_size,
		frame, &d, error);
	return st == MR_OK && d ? deliver(ch, d, error) : st;
}
