/* publish: a client's publishes: assembled from their frames, routed and confirmed.
 * SPDX-License-Identifier: MIT */
#include "broker/client/publish.h"

#include "base/alloc.h"
#include "broker/client/backed.h"
#include "broker/client/chore.h"
#include "broker/client/confirm.h"
#include "broker/client/pledge.h"
#include "broker/client/settle.h"
#include "broker/store/dead_letter.h"
#include "broker/store/reply_error.h"
#include "broker/store/spread.h"

#define MESSAGE_MAX (128u << 20) /* RabbitMQ's max_message_size */
#define FIRST_ROOM (1u << 20) /* memory reserved by a header's size alone; more as bytes arrive */

enum { BIT_MANDATORY = 1, BIT_IMMEDIATE = 2 };

struct staged { /* a message of a transaction */
	struct mr_node node;
	struct mr_message *message;
	bool mandatory;
	size_t count; /* of the queues that it was routed to */
	struct mr_queue *queues[];
};

/* ---- putting together ---- */

static mr_slice exchange_of(const struct mr_incoming *in)
{
	return mr_slice_of(in->names, in->exchange_size);
}

enum mr_status mr_publish_begin(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_incoming *in = &ch->incoming;
	mr_slice exchange = m->names[0], key = m->names[1];
	const struct mr_vhost *v = ch->session->vhost;
	if (m->bits & BIT_IMMEDIATE) return mr_reply_error(error, 540, "immediate=true");
	const struct mr_exchange *x = mr_vhost_exchange(v, exchange);
	if (!x)
		return mr_reply_error(error, 404, "no exchange '%.*s' in vhost '%s'",
			(int)exchange.size, exchange.data, v->name);
	if (x->internal)
		return mr_reply_error(error, 403,
			"cannot publish to internal exchange '%s' in vhost '%s'", x->name, v->name);
	in->state = MR_INCOMING_HEADER;
	in->mandatory = m->bits & BIT_MANDATORY;
	in->exchange_size = (uint8_t)exchange.size;
	in->key_size = (uint8_t)key.size;
	memcpy(in->names, exchange.data, exchange.size);
	memcpy(in->names + exchange.size, key.data, key.size);
	return MR_OK;
}

void mr_publish_abandon(struct mr_broker_channel *ch)
{
	struct mr_incoming *in = &ch->incoming;
	if (in->message) {
		mr_store_shrank(&ch->session->broker->store, in->room);
		mr_store_drop(&ch->session->broker->store, in->message);
	}
	in->message = NULL;
	in->state = MR_INCOMING_NONE;
}

static enum mr_status take_header(struct mr_broker_channel *ch, const struct mr_frame *frame,
	mr_error *error)
{
	struct mr_incoming *in = &ch->incoming;
	if (frame->type != MR_FRAME_HEADER)
		return mr_reply_error(error, 505,
			"expected content header for class 60, got non content header frame instead");
	if (mr_get16(frame->payload) != 60)
		return mr_reply_error(error, 505,
			"expected content header for class 60, got one for class %u instead",
			mr_get16(frame->payload));
	in->size = mr_get64(frame->payload + 4);
	if (in->size > MESSAGE_MAX)
		return mr_reply_error(error, 406,
			"message size %llu is larger than configured max size %u",
			(unsigned long long)in->size, MESSAGE_MAX);
	in->room = in->size < FIRST_ROOM ? in->size : FIRST_ROOM;
	in->got = 0;
	in->message = mr_message_new(exchange_of(in),
		mr_slice_of(in->names + in->exchange_size, in->key_size),
		mr_slice_of((const char *)frame->payload + 12, frame->size - 12), in->room);
	if (!in->message) return MR_NO_MEMORY;
	mr_store_grew(&ch->session->broker->store, mr_message_weight(in->message) + in->room);
	in->state = MR_INCOMING_BODY;
	return MR_OK;
}

static bool make_room(struct mr_broker_channel *ch, uint32_t more)
{
	struct mr_incoming *in = &ch->incoming;
	if (in->got + more <= in->room) return true;
	uint64_t room = in->room * 2 < in->got + more ? in->got + more : in->room * 2;
	if (room > in->size) room = in->size;
	struct mr_message *grown = mr_realloc(in->message, mr_message_weight(in->message) + room);
	if (!grown) return false;
	mr_store_grew(&ch->session->broker->store, room - in->room);
	in->message = grown;
	in->room = room;
	return true;
}

static enum mr_status take_body(struct mr_broker_channel *ch, const struct mr_frame *frame,
	mr_error *error)
{
	struct mr_incoming *in = &ch->incoming;
	if (frame->type != MR_FRAME_BODY)
		return mr_reply_error(error, 505,
			"expected content body, got non content body frame instead");
	if (frame->size > in->size - in->got)
		return mr_reply_error(error, 505, "a content body longer than its header said");
	if (mr_broker_is_blocked(ch->session->broker)) mr_broker_session_published(ch->session);
	if (!make_room(ch, frame->size)) return MR_NO_MEMORY;
	char *body = (char *)(uintptr_t)mr_message_body(in->message).data;
	memcpy(body + in->got, frame->payload, frame->size);
	in->got += frame->size;
	return MR_OK;
}

/* ---- on its way ---- */

/* Continues ch->spread, and confirms it at its end. Returns false if the rest must wait for a later
 * turn. */
static bool spread_some(struct mr_broker_channel *ch)
{
	struct mr_store *s = &ch->session->broker->store;
	bool is_done = mr_spread_go_on(s, ch->spread);
	mr_dead_letter_bury(s);
	if (!is_done) return false;
	bool taken = mr_spread_end(s, &ch->spread);
	if (ch->confirming && !ch->closing) mr_confirm_next(ch, taken);
	return true;
}

/* Stores the message in the queues of the routing; takes the message. Returns false if a queue
 * rejected it. The part for a later turn is in ch->spread. */
static bool store(struct mr_broker_channel *ch, struct mr_message *m, bool mandatory)
{
	struct mr_vhost *v = ch->session->vhost;
	bool taken = true;
	if (v->store->route.count) {
		taken = mr_spread_begin(v->store, m, &ch->spread);
		mr_dead_letter_bury(v->store);
		mr_store_drop(v->store, m);
		return taken;
	}
	if (mandatory) mr_confirm_return(ch, m);
	mr_store_drop(v->store, m);
	return true;
}

static enum mr_status route(struct mr_broker_channel *ch, struct mr_message *m)
{
	struct mr_vhost *v = ch->session->vhost;
	struct mr_exchange *x = mr_vhost_exchange(v, mr_message_exchange(m));
	if (x) {
		enum mr_status st = mr_vhost_route(v, x, m);
		if (st == MR_OK) mr_spread_reply(v->store, m);
		return st;
	}
	mr_route_begin(&v->store->route); /* deleted since the publish began: no queue gets it */
	return MR_OK;
}

static size_t staged_size(const struct staged *staged)
{
	return sizeof *staged + staged->count * sizeof *staged->queues;
}

/* A message of a transaction: routed now, stored at the commit. Takes the message. */
static enum mr_status stage(struct mr_broker_channel *ch, struct mr_message *m, bool mandatory)
{
	const struct mr_route *r = &ch->session->broker->store.route;
	struct staged *staged = mr_malloc(sizeof *staged + r->count * sizeof *staged->queues);
	if (!staged) {
		mr_store_drop(&ch->session->broker->store, m);
		return MR_NO_MEMORY;
	}
	*staged = (struct staged){.message = m, .mandatory = mandatory, .count = r->count};
	for (size_t i = 0; i < r->count; i++) {
		staged->queues[i] = r->queues[i];
		staged->queues[i]->out++; /* it must not be freed before the commit */
	}
	mr_list_append(&ch->staged, &staged->node);
	mr_store_grew(&ch->session->broker->store, staged_size(staged));
	return MR_OK;
}

static void free_staged(struct mr_broker_channel *ch, struct staged *staged)
{
	mr_store_shrank(&ch->session->broker->store, staged_size(staged));
	for (size_t i = 0; i < staged->count; i++) mr_queue_unpin(staged->queues[i]);
	mr_free(staged);
}

static void store_staged(struct mr_broker_channel *ch, struct staged *staged)
{
	struct mr_route *r = &ch->session->broker->store.route;
	mr_route_begin(r);
	for (size_t i = 0; i < staged->count; i++) {
		struct mr_queue *q = staged->queues[i];
		/* As in RabbitMQ, by its name: a new queue with this name gets the message. */
		if (q->deleted) q = mr_vhost_queue(ch->session->vhost, mr_queue_name(q));
		if (q) mr_route_add(r, q, &q->target);
	}
	store(ch, staged->message, staged->mandatory);
	free_staged(ch, staged);
}

static enum mr_status finish(struct mr_broker_channel *ch, mr_error *error)
{
	struct mr_incoming *in = &ch->incoming;
	struct mr_message *m = in->message;
	m->body_size = in->got;
	in->message = NULL;
	in->state = MR_INCOMING_NONE;
	struct mr_broker *b = ch->session->broker;
	size_t weight = mr_message_weight(m);
	enum mr_status st =
		mr_message_inspect(&m, mr_slice_str(ch->session->user), ch->reply_queue, error);
	b->store.memory += mr_message_weight(m) - weight; /* it may be a changed copy */
	if (mr_broker_is_blocked(b)) mr_broker_session_published(ch->session);
	if (st == MR_OK) st = mr_backed_check_message(ch, m, error);
	if (st == MR_OK && b->store.backing) return mr_pledge_publish(ch, m, in->mandatory);
	if (st == MR_OK) st = route(ch, m);
	if (st != MR_OK) {
		mr_store_drop(&b->store, m);
		return st;
	}
	if (ch->transacting) return stage(ch, m, in->mandatory);
	bool taken = store(ch, m, in->mandatory);
	if (ch->spread)
		mr_chore_start(ch, &(struct mr_chore){.step = spread_some});
	else if (ch->confirming)
		mr_confirm_next(ch, taken);
	return MR_OK;
}

enum mr_status mr_publish_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	mr_error *error)
{
	struct mr_incoming *in = &ch->incoming;
	if (in->state == MR_INCOMING_NONE)
		return mr_reply_error(error, 505,
			"expected method frame, got non method frame instead");
	enum mr_status st = in->state == MR_INCOMING_HEADER ? take_header(ch, frame, error)
	                                                    : take_body(ch, frame, error);
	if (st == MR_OK && in->got == in->size) st = finish(ch, error);
	mr_store_watch(&ch->session->broker->store);
	return st;
}

/* ---- transactions ---- */

static void drop_staged(struct mr_broker_channel *ch, struct staged *staged)
{
	mr_store_drop(&ch->session->broker->store, staged->message);
	free_staged(ch, staged);
}

/* Stores or drops the messages of a transaction. Returns false if the rest must wait for a later
 * turn. */
static bool staged_some(struct mr_broker_channel *ch, bool commit)
{
	struct mr_broker *b = ch->session->broker;
	for (; !ch->spread && !mr_list_is_empty(&ch->staged) && !mr_store_is_spent(&b->store);
		b->store.work++) {
		struct staged *staged =
			mr_container(mr_list_shift(&ch->staged), struct staged, node);
		if (commit)
			store_staged(ch, staged);
		else
			drop_staged(ch, staged);
	}
	return !ch->spread && mr_list_is_empty(&ch->staged);
}

bool mr_publish_drop_staged(struct mr_broker_channel *ch) { return staged_some(ch, false); }

static bool commit_some(struct mr_broker_channel *ch)
{
	if (ch->spread && !spread_some(ch)) return false;
	return staged_some(ch, true) && mr_settle_go_on(ch);
}

static enum mr_status commit(struct mr_broker_channel *ch)
{
	struct mr_chore chore = {.step = commit_some,
		.settles = true,
		.last = ch->next_tag - 1,
		.answer = MR_M_TX_COMMIT_OK};
	mr_chore_start(ch, &chore);
	return MR_OK;
}

static enum mr_status rollback(struct mr_broker_channel *ch)
{
	struct mr_chore chore = {.step = mr_publish_drop_staged,
		.settles = true,
		.answer = MR_M_TX_ROLLBACK_OK};
	mr_settle_unstage(ch);
	mr_chore_start(ch, &chore);
	return MR_OK;
}

static enum mr_status confirm_select(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	if (ch->transacting)
		return mr_reply_error(error, 406, "cannot switch from tx to confirm mode");
	ch->confirming = true;
	if (!(m->bits & 1)) mr_broker_channel_put_simple(ch, MR_M_CONFIRM_SELECT_OK);
	return MR_OK;
}

enum mr_status mr_publish_mode(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_CONFIRM_SELECT: return confirm_select(ch, m, error);
	case MR_M_TX_SELECT:
		if (ch->confirming)
			return mr_reply_error(error, 406, "cannot switch from confirm to tx mode");
		if (ch->session->broker->store.backing)
			return mr_reply_error(error, 540, "transactions: this store has none");
		ch->transacting = true;
		mr_broker_channel_put_simple(ch, MR_M_TX_SELECT_OK);
		return MR_OK;
	case MR_M_TX_COMMIT:
		if (!ch->transacting) break;
		return commit(ch);
	default:
		if (!ch->transacting) break;
		return rollback(ch);
	}
	return mr_reply_error(error, 406, "channel is not transactional");
}
