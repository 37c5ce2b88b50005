/* curb: gives a prefetch to a consumer without one, if the host is far behind and awaits answers.
 * SPDX-License-Identifier: MIT */
#include "amqp/curb.h"

#include "amqp/gather.h"
#include "base/value.h"

#define BYTES_AHEAD                                                                                \
	(16u << 20) /* bytes of bodies within the prefetch, estimated by earlier bodies */
#define LEAST 2     /* minimum number of messages */
#define CURB_AT                                                                                    \
	(MR_LOOSE_WHOLE +                                                                          \
		MR_LOOSE_HALF) /* over the bound, the link reads only for awaited answers */

void mr_curb_note(struct mr_amqp_channel *ch, struct mr_pending *p, const mr_request *request)
{
	bool is_answers = mr_slice_equal(request->name, mr_slice_str(MR_DIRECT_REPLIES));
	/* An exclusive consumer allows no second one; direct replies cannot be consumed again; ""
	 * may mean another queue later. */
	bool is_fit = ch->outlet->options->tally && request->name.size && !is_answers &&
	              !(request->flags & MR_EXCLUSIVE) &&
	              (p->is_loose || request->flags & MR_NO_ACK);
	if (!is_fit) return;
	if (request->arguments) p->arguments = mr_table_copy(request->arguments);
	p->may_be_curbed = !request->arguments || p->arguments;
}

static bool has_free_tag(const struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry)
{
	char wire[256];
	if (!mr_consumer_may_grow(entry)) return false; /* the broker may have chosen it */
	mr_slice tag = mr_consumer_curbed_wire(entry, wire);
	return !mr_consumers_shown(&ch->consumers, tag) &&
	       !mr_pending_keyed(&ch->pending, MR_M_BASIC_CONSUME_OK, tag);
}

/* It is being cancelled, or its queue may be being deleted: a second consumer would outlive it, or
 * would find no queue, and the broker would close the channel. */
static bool is_ending(const struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry)
{
	char wire[256];
	return mr_pending_keyed(&ch->pending, MR_M_BASIC_CANCEL_OK,
		       mr_consumer_wire(entry, wire)) ||
	       mr_pending_keyed(&ch->pending, MR_M_QUEUE_DELETE_OK, mr_slice_of("", 0));
}

/* Checked last, because the knowledge about its queue may have changed since it started; and only
 * once, because a refusal is permanent. */
static bool may_have_another(const struct mr_amqp_channel *ch, struct mr_consumer_entry *entry)
{
	const struct mr_session_options *o = ch->outlet->options;
	if (o->may_curb) entry->may_be_curbed = o->may_curb(o->owner, mr_consumer_queue(entry));
	return entry->may_be_curbed;
}

bool mr_curb_is_due(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry)
{
	return entry->may_be_curbed && !entry->is_curbed && ch->state == MR_CH_OPEN &&
	       !ch->is_limited && !ch->has_tx && !ch->pending.recovers &&
	       mr_tally_is_over(ch->outlet->options->tally, CURB_AT) && !is_ending(ch, entry) &&
	       has_free_tag(ch, entry) && may_have_another(ch, entry);
}

static uint32_t prefetch_for(const struct mr_tally *t)
{
	size_t usual = t->loose ? t->loose_bytes / t->loose : 0;
	size_t count = usual ? BYTES_AHEAD / usual : MR_PREFETCH_USUAL;
	if (count > MR_PREFETCH_USUAL) count = MR_PREFETCH_USUAL;
	return count < LEAST ? LEAST : (uint32_t)count;
}

void mr_curb_cancel(const struct mr_amqp_channel *ch, struct mr_method *cancel,
	struct mr_pending *answer, char wire[256])
{
	const struct mr_consumer_entry *entry = mr_consumers_shown(&ch->consumers, cancel->name);
	if (!entry || !entry->is_curbed) return;
	answer->shown = entry->size;
	answer->key = cancel->name = mr_consumer_wire(entry, wire);
}

void mr_curb_hide(const struct mr_consumer_entry *entry, mr_delivery *d)
{
	if (d->consumer_tag_size == entry->size) return;
	d->consumer_tag_size = entry->size;
	((char *)(uintptr_t)d->consumer_tag)[entry->size] = '\0'; /* in the delivery's own room */
}

static enum mr_status ask(struct mr_amqp_channel *ch, const struct mr_method *method,
	uint32_t answer, mr_slice key)
{
	struct mr_pending p = {.expects = answer,
		.deadline = MR_NEVER,
		.key = key,
		.is_of_curb = true};
	return mr_pending_ask(&ch->pending, method, &p, NULL);
}

static enum mr_status set_prefetch(struct mr_amqp_channel *ch, uint32_t count)
{
	struct mr_method qos = {.id = MR_M_BASIC_QOS, .count = count};
	mr_gather_note_prefetch(ch, count);
	return ask(ch, &qos, MR_M_BASIC_QOS_OK, mr_slice_of("", 0));
}

static void tell_begun(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry,
	uint32_t prefetch)
{
	const struct mr_session_options *o = ch->outlet->options;
	struct mr_curbed what = {mr_consumer_queue(entry), mr_consumer_tag(entry), prefetch};
	if (o->curbed) o->curbed(o->owner, &what);
}

/* Starts another consumer of its queue with the tag `to` and cancels the one with `from`: without a
 * gap, or not at all. After that the channel's prefetch applies again. */
static enum mr_status replace(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry,
	mr_slice from, mr_slice to, uint32_t flags, uint32_t prefetch)
{
	struct mr_buffer *out = &ch->outlet->out.bytes;
	size_t before = mr_buffer_size(out);
	bool is_another = prefetch != ch->prefetch;
	struct mr_method consume = {.id = MR_M_BASIC_CONSUME,
		.name = mr_consumer_queue(entry),
		.other = to,
		.flags = flags,
		.table = entry->arguments};
	struct mr_method cancel = {.id = MR_M_BASIC_CANCEL, .name = from};
	enum mr_status st = is_another ? set_prefetch(ch, prefetch) : MR_OK;
	if (st == MR_OK) st = ask(ch, &consume, MR_M_BASIC_CONSUME_OK, to);
	if (st == MR_OK && is_another) st = set_prefetch(ch, ch->prefetch);
	if (st == MR_OK) st = ask(ch, &cancel, MR_M_BASIC_CANCEL_OK, from);
	if (st != MR_OK) out->end = out->start + before;
	return st;
}

enum mr_status mr_curb_begin(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry)
{
	char wire[256];
	uint32_t prefetch = prefetch_for(ch->outlet->options->tally);
	enum mr_status st = replace(ch, entry, mr_consumer_tag(entry),
		mr_consumer_curbed_wire(entry, wire), 0, prefetch);
	if (st != MR_OK) return st;
	entry->is_curbed = true;
	tell_begun(ch, entry, prefetch);
	return MR_OK;
}

/* With the prefetch of the program's request, which is none: the channel's prefetch may have
 * changed. */
static enum mr_status undo(struct mr_amqp_channel *ch, struct mr_consumer_entry *entry)
{
	char wire[256];
	enum mr_status st = mr_curb_catch_up(ch, entry->number & ~MR_CONSUMER_NO_ACK);
	if (st == MR_OK)
		st = replace(ch, entry, mr_consumer_curbed_wire(entry, wire),
			mr_consumer_tag(entry), entry->number & MR_CONSUMER_NO_ACK ? MR_NO_ACK : 0,
			0);
	if (st != MR_OK) return st;
	entry->is_curbed = false;
	entry->was_curbed = true;
	return MR_OK;
}

void mr_curb_done(struct mr_amqp_channel *ch, const struct mr_method *answer)
{
	struct mr_consumer_entry *entry = answer->id == MR_M_BASIC_CANCEL_OK
	                                          ? mr_consumers_find(&ch->consumers, answer->name)
	                                          : NULL;
	if (entry && answer->name.size != entry->size) entry->was_curbed = false;
}

enum mr_status mr_curb_undo(struct mr_amqp_channel *ch)
{
	enum mr_status st = MR_OK;
	for (size_t i = 0; st == MR_OK && i < ch->consumers.count; i++) {
		struct mr_consumer_entry *entry = ch->consumers.entries[i];
		if (entry->is_curbed && !is_ending(ch, entry)) st = undo(ch, entry);
	}
	if (st != MR_OK) {
		mr_error fault;
		mr_error_set(&fault, st, MR_SCOPE_CONNECTION, 506, "out of memory");
		mr_error_keep(&ch->outlet->fault, &fault);
	}
	return st;
}

void mr_curb_closed(struct mr_amqp_channel *ch, const struct mr_method *close, const mr_error *why)
{
	const struct mr_session_options *o = ch->outlet->options;
	/* For example a limit of consumers per channel (530). A deleted queue (404) is not a
	 * refusal of curbs. */
	bool is_refusal = close->failing == MR_M_BASIC_CONSUME && close->code != 404;
	if (is_refusal && o->curb_refused && mr_pending_curb_is_next(&ch->pending))
		o->curb_refused(o->owner, why);
}

/* ---- held deliveries ---- */

static mr_delivery **held(const struct mr_amqp_channel *ch, size_t *count)
{
	*count = mr_buffer_size(&ch->held) / sizeof(mr_delivery *);
	return (mr_delivery **)(void *)mr_buffer_data(&ch->held);
}

static bool may_be_told(const struct mr_amqp_channel *ch)
{
	const struct mr_tally *t = ch->outlet->options->tally;
	return ch->state == MR_CH_OPEN && !ch->pending.recovers &&
	       !mr_tally_is_over(t, MR_LOOSE_WHOLE);
}

static enum mr_status tell_and_ack(struct mr_amqp_channel *ch, mr_delivery *d)
{
	uint64_t tag = d->tag;
	mr_delivery_count(d, ch->outlet->options->tally, true);
	mr_amqp_channel_tell_delivery(ch, d);
	return mr_amqp_channel_settle(ch, tag, MR_ACK, 0);
}

enum mr_status mr_curb_take(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry,
	mr_delivery *d)
{
	bool is_free =
		!entry->is_curbed && !ch->pending.recovers; /* deliveries in transit at the end */
	if (is_free || (!mr_buffer_size(&ch->held) && may_be_told(ch))) return tell_and_ack(ch, d);
	enum mr_status st = mr_buffer_append(&ch->held, &d, sizeof d);
	if (st == MR_OK && !ch->holding.next) mr_list_append(&ch->outlet->holding, &ch->holding);
	if (st != MR_OK) mr_delivery_give(ch->outlet->options->pool, d);
	return st;
}

static void note_held(struct mr_amqp_channel *ch)
{
	if (mr_buffer_size(&ch->held)) return;
	mr_buffer_trim(&ch->held, 0);
	mr_list_remove(&ch->holding);
}

enum mr_status mr_curb_let_go(struct mr_amqp_channel *ch)
{
	enum mr_status st = MR_OK;
	size_t count;
	while (st == MR_OK && may_be_told(ch)) {
		mr_delivery *d = *held(ch, &count);
		mr_buffer_consume(&ch->held, sizeof d);
		st = tell_and_ack(ch, d);
		if (count == 1) break;
	}
	note_held(ch);
	return st;
}

static enum mr_status give_back(struct mr_amqp_channel *ch, mr_delivery *d)
{
	uint64_t tag = d->tag;
	mr_delivery_give(ch->outlet->options->pool, d);
	return mr_amqp_channel_settle(ch, tag, MR_NACK, MR_SETTLE_REQUEUE);
}

static enum mr_status end_held(struct mr_amqp_channel *ch, uint32_t consumer,
	enum mr_status (*end)(struct mr_amqp_channel *, mr_delivery *))
{
	size_t count, kept = 0;
	mr_delivery **list = held(ch, &count);
	enum mr_status st = MR_OK;
	for (size_t i = 0; i < count; i++) {
		if (st != MR_OK || list[i]->consumer != consumer)
			list[kept++] = list[i];
		else
			st = end(ch, list[i]);
	}
	ch->held.end -= (count - kept) * sizeof *list;
	note_held(ch);
	return st;
}

enum mr_status mr_curb_give_back(struct mr_amqp_channel *ch, uint32_t consumer)
{
	return end_held(ch, consumer, give_back);
}

enum mr_status mr_curb_catch_up(struct mr_amqp_channel *ch, uint32_t consumer)
{
	if (ch->pending.recovers) return MR_OK; /* the broker takes them back */
	return end_held(ch, consumer, tell_and_ack);
}

static void hide_held(struct mr_amqp_channel *ch, bool hidden)
{
	size_t count;
	mr_delivery **list = held(ch, &count);
	for (size_t i = 0; i < count; i++) mr_acks_hide(&ch->acks, list[i]->tag, hidden);
}

enum mr_status mr_curb_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags)
{
	bool is_many = flags & MR_SETTLE_MULTIPLE && mr_buffer_size(&ch->held);
	if (!is_many) return mr_amqp_channel_settle(ch, tag, how, flags);
	/* Writes pending acks first: hidden deliveries must not be acked together with others. */
	enum mr_status st = mr_amqp_channel_flush(ch);
	if (st != MR_OK) return st;
	hide_held(ch, true);
	st = mr_amqp_channel_settle(ch, tag, how, flags);
	hide_held(ch, false);
	return st;
}

void mr_curb_drop(struct mr_amqp_channel *ch)
{
	size_t count;
	mr_delivery **list = held(ch, &count);
	for (size_t i = 0; i < count; i++) mr_delivery_give(ch->outlet->options->pool, list[i]);
	mr_buffer_consume(&ch->held, mr_buffer_size(&ch->held));
	note_held(ch);
}
