/* channel_requests: the host's requests and publishes on an open channel.
 * SPDX-License-Identifier: MIT */
#include "amqp/channel_requests.h"

#include <string.h>

#include "amqp/curb.h"
#include "amqp/gather.h"
#include "base/alloc.h"
#include "base/value.h"
#include "codec/frame.h"

/* Bytes of a body, and of a frame; smaller ones are copied into the output. By TLS each part of a body
 * is a record, and so is what stands between two of them. */
#define LENT_LEAST (16 * 1024)

static enum mr_status check(const struct mr_amqp_channel *ch, const mr_request *request,
	mr_error *error)
{
	if (ch->state != MR_CH_OPEN)
		return mr_error_set(error, MR_CLOSED, MR_SCOPE_CHANNEL, 0, "the channel is closed");
	if (request->number & MR_CONSUMER_NO_ACK)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CHANNEL, 0,
			"number is over 2^31 - 1");
	if (request->operation == MR_BASIC_CONSUME && request->extra.size &&
		(mr_consumers_has(&ch->consumers, request->extra) ||
			mr_pending_keyed(&ch->pending, MR_M_BASIC_CONSUME_OK, request->extra)))
		return mr_error_set(error, MR_NOT_ALLOWED, MR_SCOPE_CHANNEL, 530,
			"consumer tag \"%.*s\" is in use on this channel", (int)request->extra.size,
			request->extra.data);
	return MR_OK;
}

/* A cancel that timed out is still pending: the new request waits for its answer; it is not sent
 * twice. */
static bool waits_again(struct mr_amqp_channel *ch, const struct mr_pending *answer)
{
	struct mr_pending *p = NULL;
	if (answer->expects == MR_M_BASIC_CANCEL_OK)
		p = mr_pending_keyed(&ch->pending, MR_M_BASIC_CANCEL_OK, answer->key);
	if (!p || p->token || p->is_of_curb) return false;
	mr_pending_join(&ch->pending, p, answer->token, answer->deadline);
	return true;
}

/* If the program set no prefetch, the library sets one for a consumer with acks: otherwise the
 * broker sends the whole queue, even to a slow host. */
static bool needs_prefetch(const struct mr_amqp_channel *ch, const mr_request *request)
{
	return !ch->has_qos && request->operation == MR_BASIC_CONSUME &&
	       !(request->flags & MR_NO_ACK);
}

static enum mr_status ask_with_prefetch(struct mr_amqp_channel *ch, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error)
{
	struct mr_method qos = {.id = MR_M_BASIC_QOS, .count = MR_PREFETCH_USUAL};
	struct mr_buffer *out = &ch->outlet->out.bytes;
	size_t before = mr_buffer_size(out);
	enum mr_status st = mr_outlet_send(ch->outlet, ch->number, &qos, error);
	if (st == MR_OK) st = mr_pending_ask(&ch->pending, method, answer, error);
	if (st != MR_OK) {
		out->end = out->start + before;
		return st;
	}
	ch->has_qos = ch->is_owed_qos = true;
	ch->prefetch = MR_PREFETCH_USUAL;
	mr_gather_note_prefetch(ch, ch->prefetch);
	return MR_OK;
}

static void note_qos(struct mr_amqp_channel *ch, const mr_request *request)
{
	ch->has_qos = true;
	mr_gather_note_prefetch(ch, request->number);
	if (request->flags & MR_GLOBAL)
		ch->is_limited = request->number != 0;
	else
		ch->prefetch = request->number;
}

/* Records the properties of a new consume or get that its messages need. */
static void note_queue(struct mr_amqp_channel *ch, const mr_request *request)
{
	struct mr_pending *p = mr_pending_last(&ch->pending);
	size_t size = request->name.size < sizeof p->queue ? request->name.size : sizeof p->queue;
	p->is_loose = ch->prefetch == 0;
	p->queue_size = (uint8_t)size;
	if (size) memcpy(p->queue, request->name.data, size);
	if (request->operation == MR_BASIC_CONSUME) mr_curb_note(ch, p, request);
	if (mr_slice_equal(mr_slice_of(p->queue, size), mr_slice_str(MR_DIRECT_REPLIES)))
		ch->hears_replies = true;
}

/* Records the properties of a queue's declare that are reported with its answer. */
static void note_declare(struct mr_amqp_channel *ch, const mr_request *request)
{
	struct mr_pending *p = mr_pending_last(&ch->pending);
	const mr_value *single = mr_table_find(request->arguments, "x-single-active-consumer");
	p->is_declare = !(request->flags & MR_PASSIVE);
	p->is_single_active = single && single->type == 't' && single->as.boolean;
}

/* Applies the immediate effects of a sent operation, as the broker does. */
static void note(struct mr_amqp_channel *ch, const mr_request *request)
{
	switch (request->operation) {
	/* Publishes are numbered from the request on, not from select-ok, as at the broker. */
	case MR_CONFIRM_SELECT: ch->confirming = true; break;
	case MR_BASIC_QOS: note_qos(ch, request); break;
	case MR_TX_SELECT: ch->has_tx = true; break;
	case MR_QUEUE_DECLARE: note_declare(ch, request); break;
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
		st = mr_pending_ask(&ch->pending, &method, &answer, &error);
	if (st == MR_OK) {
		note(ch, request);
		return;
	}
	if (!error.kind) mr_error_set(&error, st, MR_SCOPE_CHANNEL, 0, "%s", mr_status_text(st));
	error.scope = MR_SCOPE_CHANNEL;
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

static enum mr_status put_content(struct mr_amqp_channel *ch, const struct mr_publish *p,
	void *kept)
{
	struct mr_outbox *out = &ch->outlet->out;
	uint32_t frame_max = ch->outlet->frame_max;
	if (!kept)
		return mr_frame_put_content(&out->bytes, ch->number, p->properties, p->body,
			frame_max);
	return mr_outbox_put_content(out, ch->number, p->properties, p->body, kept, frame_max);
}

enum mr_status mr_amqp_channel_publish(struct mr_amqp_channel *ch, const struct mr_publish *p,
	mr_error *error)
{
	struct mr_method m = {.id = MR_M_BASIC_PUBLISH,
		.tag = p->number, /* for who sees it */
		.name = p->exchange,
		.key = p->routing_key};
	struct mr_outbox_mark before = mr_outbox_mark(&ch->outlet->out);
	bool is_lent = p->body.size >= LENT_LEAST && ch->outlet->frame_max > LENT_LEAST;
	void *kept = is_lent ? p->block : NULL;

	if (p->flags & MR_MANDATORY) m.flags = MR_MANDATORY;
	enum mr_status st = mr_outlet_send(ch->outlet, ch->number, &m, error);
	if (st == MR_OK) st = put_content(ch, p, kept);
	if (st == MR_OK && ch->confirming) {
		struct mr_identity id = {0};
		if (m.flags)
			id = mr_identity_of(p->exchange, p->routing_key, p->properties, p->body);
		st = mr_confirm_add(&ch->confirm, m.flags ? &id : NULL, p->deadline);
		mr_outlet_expect(ch->outlet, p->deadline);
	}
	if (st != MR_OK) {
		mr_outbox_cut(&ch->outlet->out, before); /* all frames of a publish, or none */
		return st;
	}
	if (p->block && !kept) mr_free(p->block);
	ch->outlet->options->stats->published++;
	return MR_OK;
}
