/* settle: acks, nacks, rejects and recover of what a channel was given.
 * SPDX-License-Identifier: MIT */
#include "base/alloc.h"
#include "broker/channel.h"
#include "broker/death.h"
#include "broker/refuse.h"

enum { BIT_MULTIPLE = 1, NACK_REQUEUE = 2, REJECT_REQUEUE = 1, RECOVER_REQUEUE = 1 };

/* Where the first of tag or above stands. */
static size_t find(const struct mr_broker_channel *ch, uint64_t tag)
{
	size_t low = ch->first, high = ch->last;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ch->unacked[middle].tag < tag)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void skip_settled(struct mr_broker_channel *ch)
{
	while (ch->first < ch->last && !ch->unacked[ch->first].entry) ch->first++;
	if (ch->first == ch->last) ch->first = ch->last = 0;
}

/* Takes it off the channel's books; the entry's fate is the caller's. */
static struct mr_entry *release(struct mr_broker_channel *ch, struct mr_unacked *u)
{
	struct mr_entry *e = u->entry;
	u->entry = NULL;
	ch->live--;
	if (u->consumer) {
		ch->counted--;
		mr_consumer_settled(u->consumer);
		u->consumer = NULL;
	}
	return e;
}

static enum mr_status unknown_tag(uint64_t tag, mr_error *error)
{
	return mr_refuse(error, 406, "unknown delivery tag %llu", (unsigned long long)tag);
}

static bool is_open(const struct mr_unacked *u) { return u->entry && !u->staged; }

/* An ack moves nothing but the channel's credit. */
static void ack(struct mr_broker_channel *ch, size_t from, size_t to)
{
	struct mr_queue *q = ch->unacked[from].queue;
	bool is_one = to == from + 1 && !q->deleted && !ch->prefetch_all;
	for (size_t i = from; i < to; i++) {
		struct mr_unacked *u = &ch->unacked[i];
		struct mr_queue *of = u->queue;
		if (is_open(u)) mr_vhost_forget(of, release(ch, u));
	}
	skip_settled(ch);
	if (!is_one)
		mr_broker_channel_moved(ch);
	else if (q->ready)
		mr_vhost_queue_moved(q);
}

/* ---- what goes back or dies: taken aside first, because it may be delivered to this very channel ---- */

struct aside {
	struct mr_unacked *items;
	size_t count;
};

static bool take_aside(struct mr_broker_channel *ch, size_t from, size_t to, struct aside *out)
{
	*out = (struct aside){mr_malloc((to - from + 1) * sizeof *out->items), 0};
	if (!out->items) return false;
	for (size_t i = from; i < to; i++) {
		struct mr_unacked *u = &ch->unacked[i];
		if (!is_open(u)) continue;
		struct mr_unacked copy = *u;
		out->items[out->count++] = copy;
		release(ch, u);
		u->queue = NULL;
		copy.queue->out++; /* it must not go while we look at it */
	}
	skip_settled(ch);
	return true;
}

static void kill(const struct aside *a)
{
	for (size_t i = 0; i < a->count; i++)
		mr_die(a->items[i].queue, a->items[i].entry, MR_DEATH_REJECTED);
}

/* From the youngest to the oldest, so that each finds its place at once. */
static void put_back(const struct aside *a)
{
	for (size_t i = a->count; i-- > 0;) {
		struct mr_queue *q = a->items[i].queue;
		if (q->deleted)
			mr_vhost_forget(q, a->items[i].entry);
		else
			mr_queue_requeue(q, a->items[i].entry);
	}
}

static void finish(struct aside *a)
{
	struct mr_queue *last = NULL;
	for (size_t i = 0; i < a->count; i++) {
		struct mr_queue *q = a->items[i].queue;
		if (q != last && !q->deleted && q->ready) mr_vhost_queue_moved(q);
		last = q;
	}
	for (size_t i = 0; i < a->count; i++) mr_vhost_unpin(a->items[i].queue);
	mr_free(a->items);
}

static enum mr_status settle_range(struct mr_broker_channel *ch, size_t from, size_t to,
	enum mr_settling how)
{
	struct aside a;
	if (from >= to) return MR_OK;
	if (how == MR_SETTLE_ACK) {
		ack(ch, from, to);
		return MR_OK;
	}
	if (!take_aside(ch, from, to, &a)) return MR_NO_MEMORY;
	ch->settling = ch->prefetch_all != 0;
	if (how == MR_SETTLE_REJECT)
		kill(&a);
	else
		put_back(&a);
	finish(&a);
	ch->settling = false;
	mr_broker_channel_moved(ch);
	return MR_OK;
}

static enum mr_status settle(struct mr_broker_channel *ch, uint64_t tag, bool multiple,
	enum mr_settling how, mr_error *error)
{
	size_t at = find(ch, tag);
	bool is_there = at < ch->last && ch->unacked[at].tag == tag && is_open(&ch->unacked[at]);
	if (!is_there && !(multiple && tag == 0)) return unknown_tag(tag, error);
	size_t from = multiple ? ch->first : at, to = tag ? at + 1 : ch->last;
	if (!ch->transacting) return settle_range(ch, from, to, how);
	for (size_t i = from; i < to; i++)
		if (is_open(&ch->unacked[i])) ch->unacked[i].staged = (uint8_t)how;
	return MR_OK;
}

static enum mr_status recover(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	if (!(m->bits & RECOVER_REQUEUE)) return mr_refuse(error, 540, "requeue=false");
	ch->settling = ch->prefetch_all != 0;
	mr_settle_back(ch, false);
	ch->settling = false;
	if (m->id == MR_M_BASIC_RECOVER) mr_broker_channel_put_simple(ch, MR_M_BASIC_RECOVER_OK);
	mr_broker_channel_moved(ch);
	return MR_OK;
}

enum mr_status mr_settle_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	bool multiple = m->bits & BIT_MULTIPLE;
	switch (m->id) {
	case MR_M_BASIC_ACK: return settle(ch, m->tag, multiple, MR_SETTLE_ACK, error);
	case MR_M_BASIC_NACK:
		return settle(ch, m->tag, multiple,
			m->bits & NACK_REQUEUE ? MR_SETTLE_PUT_BACK : MR_SETTLE_REJECT, error);
	case MR_M_BASIC_REJECT:
		return settle(ch, m->tag, false,
			m->bits & REJECT_REQUEUE ? MR_SETTLE_PUT_BACK : MR_SETTLE_REJECT, error);
	default: return recover(ch, m, error);
	}
}

/* Without memory to take them aside they go back one by one, from the youngest. */
static void put_back_each(struct mr_broker_channel *ch)
{
	for (size_t i = ch->last; i-- > ch->first;) {
		struct mr_unacked *u = &ch->unacked[i];
		struct mr_queue *q = u->queue;
		if (!is_open(u)) continue;
		if (q->deleted)
			mr_vhost_forget(q, release(ch, u));
		else
			mr_queue_requeue(q, release(ch, u));
	}
	skip_settled(ch);
	mr_broker_pump_all(ch->session->broker);
}

void mr_settle_back(struct mr_broker_channel *ch, bool also_staged)
{
	struct aside a;
	if (!ch->live) return;
	for (size_t i = ch->first; also_staged && i < ch->last; i++) ch->unacked[i].staged = 0;
	if (!take_aside(ch, ch->first, ch->last, &a)) {
		put_back_each(ch);
		return;
	}
	put_back(&a);
	finish(&a);
}

void mr_settle_staged(struct mr_broker_channel *ch, bool commit)
{
	uint64_t next = 0;
	for (;;) {
		size_t at = find(ch, next); /* the books may have moved since the last one */
		while (at < ch->last && !ch->unacked[at].staged) at++;
		if (at >= ch->last) return;
		struct mr_unacked *u = &ch->unacked[at];
		enum mr_settling how = (enum mr_settling)u->staged;
		next = u->tag + 1;
		u->staged = 0;
		if (commit && u->entry) settle_range(ch, at, at + 1, how);
	}
}
