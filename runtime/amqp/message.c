/* message: handles messages that the broker sends on a channel: deliveries, gets, returns.
 * SPDX-License-Identifier: MIT */
#include "amqp/message.h"

#include "amqp/curb.h"
#include "base/alloc.h"

static void tell_too_large(struct mr_amqp_channel *ch, mr_slice queue, const char *fate)
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

/* ---- got ---- */

static enum mr_status tell_got(struct mr_amqp_channel *ch, mr_delivery *d)
{
	struct mr_pending *p =
		mr_pending_take(&ch->pending, &(struct mr_method){.id = MR_M_BASIC_GET_OK});
	struct mr_pending done = *p;
	uint64_t token = p->token;
	mr_pending_free(p);
	mr_reply *reply = token ? mr_calloc(1, sizeof *reply) : NULL;
	if (!reply) { /* the get has timed out: requeues the message */
		uint64_t tag = d->tag;
		bool no_ack = d->flags & MR_DELIVERY_NO_ACK;
		mr_delivery_give(ch->outlet->options->pool, d);
		if (token) mr_pending_done(&ch->pending, &done, NULL);
		return no_ack ? MR_OK : mr_amqp_channel_settle(ch, tag, MR_NACK, MR_SETTLE_REQUEUE);
	}
	reply->delivery = d;
	reply->message_count = d->message_count;
	mr_pending_done(&ch->pending, &done, reply);
	return MR_OK;
}

/* Its body was skipped, so it cannot be handled: it is rejected, and goes to the queue's dead
 * letters; in a stream it is passed over; a get ends with an error. */
static enum mr_status refuse_large(struct mr_amqp_channel *ch, mr_delivery *d, mr_slice queue)
{
	bool no_ack = d->flags & MR_DELIVERY_NO_ACK;
	bool is_stream = d->flags & MR_DELIVERY_STREAM;
	uint64_t tag = d->tag;
	const char *fate = is_stream ? "passed over" : "rejected";
	tell_too_large(ch, queue, no_ack ? "dropped" : fate);
	mr_delivery_give(ch->outlet->options->pool, d);
	if (ch->content.method.id == MR_M_BASIC_GET_OK) {
		struct mr_pending *p =
			mr_pending_take(&ch->pending, &(struct mr_method){.id = MR_M_BASIC_GET_OK});
		mr_reply *reply = p->token ? mr_calloc(1, sizeof *reply) : NULL;
		if (reply)
			mr_error_set(&reply->error, MR_CONTENT_TOO_LARGE, MR_SCOPE_MESSAGE, 0,
				"a message of %llu bytes, over max_message_size: it was %s",
				(unsigned long long)ch->content.body_size,
				no_ack ? "dropped" : "rejected without requeue");
		mr_pending_done(&ch->pending, p, reply);
		mr_pending_free(p);
	}
	if (no_ack) return MR_OK;
	ch->outlet->options->stats->settled++;
	return mr_amqp_channel_settle(ch, tag, is_stream ? MR_ACK : MR_REJECT, 0);
}

/* ---- delivered ---- */

struct target {
	uint32_t consumer;
	bool is_loose;
	mr_slice queue;                  /* valid until the channel changes */
	struct mr_consumer_entry *entry; /* NULL: of a get, or no such consumer */
	bool is_curbed;                  /* by the second consumer of a curbed one */
};

/* Finds its consumer. */
static struct target target_of(struct mr_amqp_channel *ch, const mr_delivery *d, bool got)
{
	if (got) {
		const struct mr_pending *p = mr_pending_find(&ch->pending, &ch->content.method);
		return (struct target){p->consumer, false, mr_slice_of(p->queue, p->queue_size),
			NULL, false};
	}
	mr_slice tag = mr_slice_of(d->consumer_tag, d->consumer_tag_size);
	struct mr_consumer_entry *entry = mr_consumers_find(&ch->consumers, tag);
	if (!entry) {
		mr_outlet_odd(ch->outlet, ch->number,
			"nobody's: a message for consumer \"%s\", which is not there",
			d->consumer_tag);
		return (struct target){.queue = mr_slice_of("", 0)};
	}
	bool is_bound = ch->is_limited && !(entry->number & MR_CONSUMER_NO_ACK);
	bool is_curbed = tag.size != entry->size; /* mr_consumers_find */
	return (struct target){entry->number, entry->is_loose && !is_bound && !is_curbed,
		mr_consumer_queue(entry), entry, is_curbed};
}

/* Records its tag, and its offset in a stream. */
static enum mr_status count_tag(struct mr_amqp_channel *ch, mr_delivery *d,
	struct mr_consumer_entry *entry, bool no_ack, mr_error *error)
{
	uint64_t gaps = ch->acks.gaps;
	enum mr_status st = mr_acks_delivered(&ch->acks, d->tag, no_ack);
	if (gaps != ch->acks.gaps)
		mr_outlet_odd(ch->outlet, ch->number,
			"ignored: delivery tags that nobody got, before %llu",
			(unsigned long long)d->tag);
	if (st == MR_OK && entry) st = mr_consumers_delivered(&ch->consumers, entry, d);
	if (st == MR_OK) return MR_OK;
	mr_delivery_give(ch->outlet->options->pool, d);
	return mr_error_set(error, st, MR_SCOPE_CONNECTION, st == MR_NO_MEMORY ? 506 : 503,
		st == MR_NO_MEMORY ? "out of memory" : "a delivery tag is out of order");
}

/* Its body was skipped: only the host may keep it, unsettled. A stream's must be acked for more. */
static bool is_kept(const struct mr_amqp_channel *ch, const mr_delivery *d, uint32_t consumer)
{
	return consumer & MR_CONSUMER_LARGE && !(consumer & MR_CONSUMER_NO_ACK) &&
	       !(d->flags & MR_DELIVERY_STREAM) && ch->state == MR_CH_OPEN;
}

/* Passes it to the host, if the channel is still open. */
static enum mr_status hand_over(struct mr_amqp_channel *ch, mr_delivery *d,
	const struct target *target, bool we_ack)
{
	struct mr_consumer_entry *entry = target->entry;
	if (target->is_curbed) mr_curb_hide(entry, d);
	if (ch->state != MR_CH_OPEN) { /* closing: the broker takes it back; but its tag counts */
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

static enum mr_status delivered(struct mr_amqp_channel *ch, mr_delivery *d, mr_error *error)
{
	bool got = ch->content.method.id == MR_M_BASIC_GET_OK;
	struct target target = target_of(ch, d, got);
	bool is_settled = target.consumer & MR_CONSUMER_NO_ACK;
	bool we_ack = is_settled && target.is_curbed;
	d->consumer = target.consumer & ~MR_CONSUMER_NO_ACK;
	if (is_settled && !we_ack) d->flags |= MR_DELIVERY_NO_ACK | MR_DELIVERY_SETTLED;
	if (!got) mr_outlet_seen(ch->outlet, false, ch->number, &ch->content.method, d->consumer);
	enum mr_status st = count_tag(ch, d, target.entry, is_settled && !we_ack, error);
	if (st != MR_OK) return st;
	if (ch->content.is_skipped && !is_kept(ch, d, target.consumer))
		return refuse_large(ch, d, target.queue);
	if (ch->content.is_skipped) {
		d->flags |= MR_DELIVERY_TOO_LARGE;
		tell_too_large(ch, target.queue, "kept in its queue, unacked");
	}
	if (we_ack) d->flags |= MR_DELIVERY_NO_ACK | MR_DELIVERY_SETTLED;
	if (!we_ack) mr_delivery_count(d, ch->outlet->options->tally, target.is_loose);
	if (got) return tell_got(ch, d); /* an answer, so it is handled until the end */
	st = hand_over(ch, d, &target, we_ack);
	if (st == MR_OK) return MR_OK;
	return mr_error_set(error, st, MR_SCOPE_CONNECTION, 506, "out of memory");
}

/* ---- returned ---- */

static enum mr_status came_back(struct mr_amqp_channel *ch, mr_delivery *d, mr_error *error)
{
	const struct mr_method *m = &ch->content.method;
	mr_event ev = {.type = MR_EV_RETURN, .status = (int32_t)mr_status_of_code(m->code)};
	bool lacks_memory = false;
	if (ch->confirming) {
		struct mr_identity id = mr_identity_returned(m->name, m->key,
			mr_slice_of(d->properties, d->properties_size),
			mr_slice_of(d->body, d->body_size));
		ev.as.returned.number = mr_confirm_returned(&ch->confirm, &id, &lacks_memory);
	}
	ev.as.returned.delivery = d;
	if (ch->state == MR_CH_OPEN)
		mr_amqp_channel_emit(ch, &ev);
	else /* closing: its confirm still reports the return */
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
		tell_too_large(ch, mr_slice_of("", 0), "dropped"); /* no publish is as large */
		mr_delivery_give(ch->outlet->options->pool, d);
		return MR_OK;
	}
	if (m->id == MR_M_BASIC_RETURN) {
		stats->returned++;
		return came_back(ch, d, error);
	}
	stats->delivered++;
	stats->redelivered += m->flags & 1;
	return delivered(ch, d, error);
}

enum mr_status mr_message_frame(struct mr_amqp_channel *ch, const struct mr_frame *frame,
	mr_error *error)
{
	mr_delivery *d;
	const struct mr_session_options *options = ch->outlet->options;
	enum mr_status st = mr_content_feed(&ch->content, options->pool, options->max_message_size,
		frame, &d, error);
	return st == MR_OK && d ? deliver(ch, d, error) : st;
}
