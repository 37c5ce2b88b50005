/* channel: one channel of a client's connection: its life, and what is delivered on it.
 * SPDX-License-Identifier: MIT */
#include "broker/client/channel.h"

#include <string.h>

#include "base/alloc.h"
#include "broker/store/pump.h"
#include "broker/store/reply_error.h"
#include "codec/frame.h"

struct mr_broker_channel *mr_broker_channel_open(struct mr_broker_session *s, uint16_t number)
{
	struct mr_broker_channel *ch = mr_calloc(1, sizeof *ch);
	if (!ch || mr_map_put(&s->channels, number, ch) != MR_OK) {
		mr_free(ch);
		return NULL;
	}
	mr_store_built(&s->broker->store, sizeof *ch);
	ch->session = s;
	ch->number = number;
	ch->next_tag = 1;
	mr_list_init(&ch->consumers);
	mr_list_init(&ch->staged);
	mr_list_init(&ch->held);
	mr_list_init(&ch->ruins);
	return ch;
}

/* What is unsettled goes back before the consumers end: the next single active one takes what comes behind. */
void mr_broker_channel_quit(struct mr_broker_channel *ch, uint32_t answer)
{
	struct mr_chore end = {.kind = MR_CHORE_QUIT,
		.how = MR_SETTLE_PUT_BACK,
		.last = UINT64_MAX,
		.answer = answer};
	ch->closing = true; /* nothing more goes to its consumers */
	mr_incoming_drop(ch);
	mr_chore_start(ch, &end);
}

void mr_broker_channel_free(struct mr_broker_channel *ch)
{
	if (!ch) return;
	mr_broker_channel_quit(ch, 0);
	mr_chore_finish(ch);
	mr_map_take(&ch->session->channels, ch->number);
	mr_store_razed(&ch->session->broker->store,
		sizeof *ch + ch->capacity * sizeof *ch->unacked);
	mr_dict_fini(&ch->tags);
	mr_free(ch->unacked);
	mr_free(ch->last_queue);
	mr_free(ch->reply_queue);
	mr_free(ch);
}

/* ---- writing ---- */

void mr_broker_channel_put(struct mr_broker_channel *ch, const struct mr_method *m)
{
	mr_broker_session_put(ch->session, ch->number, m);
}

void mr_broker_channel_put_simple(struct mr_broker_channel *ch, uint32_t id)
{
	struct mr_method m = {.id = id};
	mr_broker_channel_put(ch, &m);
}

/* Method, header and body as one unit: all or nothing. */
static bool put_message(struct mr_broker_channel *ch, const struct mr_method *m,
	const struct mr_message *message)
{
	struct mr_broker_session *s = ch->session;
	size_t before = mr_buffer_size(&s->out);
	bool ok = mr_method_put(&s->out, ch->number, m, s->frame_max, NULL) == MR_OK &&
	          mr_frame_put_letter(&s->out, ch->number, mr_message_properties(message),
			  mr_message_body(message), s->frame_max) == MR_OK;
	if (!ok) s->out.end = s->out.start + before;
	if (mr_buffer_size(&s->out) > MR_SESSION_HIGH) s->congested = true;
	s->touch(s->owner);
	return ok;
}

/* ---- unsettled deliveries ---- */

static bool has_room(struct mr_broker_channel *ch)
{
	if (ch->last < ch->capacity) return true;
	/* Settled ones leave holes: close them before asking for more. */
	if (ch->live * 2 <= ch->capacity && ch->capacity) {
		size_t kept = 0;
		for (size_t i = ch->first; i < ch->last; i++)
			if (ch->unacked[i].entry) ch->unacked[kept++] = ch->unacked[i];
		ch->first = 0;
		ch->last = kept;
		return true;
	}
	size_t capacity = ch->capacity ? ch->capacity * 2 : 16;
	struct mr_unacked *grown = mr_realloc(ch->unacked, capacity * sizeof *grown);
	if (!grown) return false;
	mr_store_built(&ch->session->broker->store, (capacity - ch->capacity) * sizeof *grown);
	ch->unacked = grown;
	ch->capacity = capacity;
	return true;
}

static void hold(struct mr_broker_channel *ch, struct mr_consumer *c, struct mr_queue *q,
	struct mr_entry *e)
{
	ch->unacked[ch->last++] =
		(struct mr_unacked){.tag = ch->next_tag++, .entry = e, .queue = q, .consumer = c};
	ch->live++;
	if (!c) return;
	c->unacked++;
	ch->counted++;
}

/* Consumers without acks do not use the channel's prefetch up, but as in RabbitMQ they wait when it is. */
bool mr_broker_channel_takes(const struct mr_broker_channel *ch)
{
	const struct mr_broker_session *s = ch->session;
	if (ch->closing || ch->stopped || ch->settling || s->congested || s->state != MR_BS_OPEN)
		return false;
	return !ch->prefetch_all || ch->counted < ch->prefetch_all;
}

/* As RabbitMQ: answers by direct reply-to bear the next tag, and do not use it up. */
static bool is_counted(const struct mr_queue *q) { return !q->is_reply; }

bool mr_broker_channel_deliver(struct mr_broker_channel *ch, struct mr_consumer *c,
	struct mr_entry *e)
{
	struct mr_queue *q = c->receiver.queue;
	struct mr_method m = {.id = MR_M_BASIC_DELIVER,
		.other = mr_slice_str(c->tag),
		.tag = ch->next_tag,
		.flags = e->redelivered,
		.name = mr_message_exchange(e->message),
		.key = mr_message_key(e->message)};
	if (!c->no_ack && !has_room(ch)) return false;
	if (!put_message(ch, &m, e->message)) return false;
	if (c->no_ack) {
		if (is_counted(q)) ch->next_tag++;
		mr_queue_forget(q, e);
	} else {
		hold(ch, c, q, e);
	}
	return true;
}

bool mr_broker_channel_got(struct mr_broker_channel *ch, struct mr_queue *q, struct mr_entry *e,
	bool no_ack)
{
	struct mr_method m = {.id = MR_M_BASIC_GET_OK,
		.tag = ch->next_tag,
		.flags = e->redelivered,
		.name = mr_message_exchange(e->message),
		.key = mr_message_key(e->message),
		.count = (uint32_t)q->ready};
	if (!no_ack && !has_room(ch)) return false;
	if (!put_message(ch, &m, e->message)) return false;
	if (no_ack) {
		ch->next_tag++;
		mr_queue_forget(q, e);
	} else {
		hold(ch, NULL, q, e);
	}
	return true;
}

/* ---- consumers ---- */

struct mr_consumer *mr_broker_channel_consumer(const struct mr_broker_channel *ch, mr_slice tag)
{
	return mr_dict_get(&ch->tags, tag);
}

void mr_broker_channel_cancelled(struct mr_broker_channel *ch, const struct mr_consumer *c)
{
	struct mr_method m = {.id = MR_M_BASIC_CANCEL, .name = mr_slice_str(c->tag), .flags = 1};
	if (ch->session->tells_cancel && !ch->closing) mr_broker_channel_put(ch, &m);
}

void mr_broker_channel_end_reply(struct mr_broker_channel *ch)
{
	mr_free(ch->reply_queue);
	ch->reply_queue = NULL;
}

/* One message from the queue of a consumer. False: it had none to give. */
static bool serve_one(struct mr_consumer *c)
{
	struct mr_queue *q = c->receiver.queue;
	size_t before = q->ready;
	if (!before) return false;
	q->out++; /* it must not go under our hands */
	mr_pump_few(q, 1);
	bool moved = q->ready != before;
	mr_queue_unpin(q);
	return moved;
}

/* What the channel may have is given round its consumers, a message at a time. */
static void serve_in_turn(struct mr_broker_channel *ch)
{
	struct mr_broker *b = ch->session->broker;
	for (bool moved = true; moved;) {
		moved = false;
		for (size_t left = ch->tags.count; left-- > 0 && mr_broker_channel_takes(ch);) {
			struct mr_consumer *c =
				mr_container(ch->consumers.next, struct mr_consumer, at_channel);
			mr_list_remove(&c->at_channel); /* its turn has been */
			mr_list_append(&ch->consumers, &c->at_channel);
			if (mr_store_is_spent(&b->store))
				mr_queue_postpone(c->receiver.queue);
			else if (serve_one(c))
				moved = true;
		}
	}
}

void mr_broker_channel_moved(struct mr_broker_channel *ch)
{
	struct mr_node *n = ch->consumers.next;
	ch->session->broker->store.work += ch->tags.count / MR_GLANCES;
	if (ch->prefetch_all) {
		serve_in_turn(ch);
		return;
	}
	while (n != &ch->consumers) {
		struct mr_consumer *c = mr_container(n, struct mr_consumer, at_channel);
		n = n->next;
		if (c->receiver.queue->ready) mr_pump(c->receiver.queue);
	}
}

/* ---- methods ---- */

static void close_ok(struct mr_broker_channel *ch)
{
	mr_broker_channel_flush(ch);
	mr_broker_channel_quit(ch, MR_M_CHANNEL_CLOSE_OK);
}

static enum mr_status flow(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_CHANNEL_FLOW_OK, .flags = 1};
	if (!(m->bits & 1)) return mr_reply_error(error, 540, "active=false");
	mr_broker_channel_put(ch, &ok);
	return MR_OK;
}

/* A relic of AMQP 0-8 that old clients still send: everybody gets ticket 1. */
static enum mr_status access_request(struct mr_broker_channel *ch)
{
	uint8_t answer[] = {1, 0, 0, 0, 0, 0, 6, 0, 30, 0, 11, 0, 1, MR_FRAME_END};
	mr_put16(answer + 1, ch->number);
	if (mr_buffer_append(&ch->session->out, answer, sizeof answer) != MR_OK)
		mr_broker_session_end(ch->session);
	ch->session->touch(ch->session->owner);
	return MR_OK;
}

static enum mr_status channel_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_CHANNEL_OPEN: return mr_reply_error(error, 504, "second 'channel.open' seen");
	case MR_M_CHANNEL_CLOSE: close_ok(ch); return MR_OK;
	case MR_M_CHANNEL_FLOW: return flow(ch, m, error);
	default: return mr_reply_error(error, 503, "unimplemented method");
	}
}

static enum mr_status method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id >> 16) {
	case 20: return channel_method(ch, m, error);
	case 40:
	case 50: return mr_declare_method(ch, m, error);
	case 60: return mr_basic_method(ch, m, error);
	case 85:
	case 90: return mr_tx_method(ch, m, error);
	case 30: return access_request(ch);
	default: return mr_reply_error(error, 503, "unimplemented method");
	}
}

/* Behind our close only its answer, or the client's own close, counts. */
static enum mr_status when_closing(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *failing, mr_error *error)
{
	if (frame->type != MR_FRAME_METHOD) return MR_OK;
	*failing = mr_get32(frame->payload);
	if (*failing == MR_M_CHANNEL_OPEN)
		return mr_reply_error(error, 504, "second 'channel.open' seen");
	if (*failing == MR_M_CHANNEL_CLOSE) mr_broker_channel_put_simple(ch, MR_M_CHANNEL_CLOSE_OK);
	if (*failing == MR_M_CHANNEL_CLOSE_OK) mr_broker_channel_free(ch);
	return MR_OK;
}

enum mr_status mr_broker_channel_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *failing, mr_error *error)
{
	struct mr_client_method m;
	if (ch->closing) return when_closing(ch, frame, failing, error);
	if (frame->type != MR_FRAME_METHOD || ch->incoming.state != MR_INCOMING_NONE) {
		if (ch->incoming.state != MR_INCOMING_NONE) *failing = MR_M_BASIC_PUBLISH;
		return mr_incoming_frame(ch, frame, error);
	}
	*failing = mr_get32(frame->payload);
	enum mr_status st = mr_client_method_decode(frame, &m, error);
	return st == MR_OK ? method(ch, &m, error) : st;
}
