/* settle: acks, nacks, rejects and recover of a channel's deliveries.
 * SPDX-License-Identifier: MIT */
#include "broker/client/settle.h"

#include "broker/client/chore.h"
#include "broker/client/consumer.h"
#include "broker/store/dead_letter.h"
#include "broker/store/pump.h"
#include "broker/store/reply_error.h"

enum { BIT_MULTIPLE = 1, NACK_REQUEUE = 2, REJECT_REQUEUE = 1, RECOVER_REQUEUE = 1 };

/* Returns the index of the first delivery with this tag or a higher one. */
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

/* Removes it from the channel's table; the caller handles the entry. */
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
	return mr_reply_error(error, 406, "unknown delivery tag %llu", (unsigned long long)tag);
}

static bool is_open(const struct mr_unacked *u) { return u->entry && !u->staged; }

/* ---- many: as a chore of the channel, because they may be a million ---- */

static void hold(struct mr_broker_channel *ch, struct mr_queue *q)
{
	if (!q->at_held.next) mr_list_append(&ch->held, &q->at_held);
}

static void settle_one(struct mr_broker_channel *ch, struct mr_unacked *u, enum mr_settling how)
{
	struct mr_queue *q = u->queue;
	struct mr_entry *e = release(ch, u);
	ch->session->broker->store.work++;
	if (how == MR_SETTLE_REJECT) {
		mr_queue_drop(q, e, MR_DEATH_REJECTED);
		mr_dead_letter_bury(&ch->session->broker->store);
	} else if (how == MR_SETTLE_ACK || q->deleted) {
		mr_queue_forget(q, e);
	} else if (mr_queue_gives_up(q, e)) {
		mr_queue_drop(q, e, MR_DEATH_DELIVERIES); /* sent when all are back: see go_down */
	} else {
		hold(ch, q);
		mr_queue_requeue(q, e);
	}
}

/* Returns how the chore settles this one; 0: not at all. */
static enum mr_settling how_to(struct mr_unacked *u, const struct mr_chore *c)
{
	enum mr_settling how = c->how ? c->how : u->staged;
	if (!u->entry || (c->how && u->staged)) return 0;
	u->staged = 0;
	return how;
}

/* Settles from the oldest on. Each one may cause new deliveries to this channel. */
static bool go_up(struct mr_broker_channel *ch, struct mr_chore *c)
{
	size_t at = find(ch, c->next);
	while (at < ch->last && ch->unacked[at].tag <= c->last) {
		struct mr_unacked *u = &ch->unacked[at];
		if (mr_store_is_spent(&ch->session->broker->store)) return false;
		c->next = u->tag + 1;
		enum mr_settling how = how_to(u, c);
		if (how) settle_one(ch, u, how);
		bool is_there = at < ch->last && ch->unacked[at].tag == c->next - 1;
		at = is_there ? at + 1 : find(ch, c->next); /* the table may have moved */
	}
	return true;
}

/* Requeues from the newest on, so that each finds its place in its queue at once; the queues wait
 * until all are back. */
static bool go_down(struct mr_broker_channel *ch, struct mr_chore *c)
{
	size_t first = find(ch, c->next);
	size_t at = c->last == UINT64_MAX ? ch->last : find(ch, c->last + 1);
	while (at-- > first) {
		struct mr_unacked *u = &ch->unacked[at];
		if (mr_store_is_spent(&ch->session->broker->store)) return false;
		c->last = u->tag - 1;
		enum mr_settling how = how_to(u, c);
		if (how) settle_one(ch, u, how);
	}
	return true;
}

bool mr_settle_go_on(struct mr_broker_channel *ch)
{
	struct mr_chore *c = &ch->chore;
	bool done = c->how == MR_SETTLE_PUT_BACK ? go_down(ch, c) : go_up(ch, c);
	skip_settled(ch);
	if (done) mr_dead_letter_bury(&ch->session->broker->store);
	return done;
}

void mr_settle_unstage(struct mr_broker_channel *ch)
{
	for (size_t i = ch->first; i < ch->last; i++) ch->unacked[i].staged = 0;
}

/* One ack only changes its consumer's credit. */
static void ack_one(struct mr_broker_channel *ch, struct mr_unacked *u)
{
	struct mr_queue *q = u->queue;
	bool is_gone = q->deleted;
	mr_queue_forget(q, release(ch, u));
	skip_settled(ch);
	if (is_gone || ch->prefetch_all)
		mr_consumer_serve(ch);
	else if (mr_queue_may_deliver(q))
		mr_pump(q);
}

static enum mr_status settle(struct mr_broker_channel *ch, uint64_t tag, bool multiple,
	enum mr_settling how, mr_error *error)
{
	size_t at = find(ch, tag);
	bool is_there = at < ch->last && ch->unacked[at].tag == tag && is_open(&ch->unacked[at]);
	if (!is_there && !(multiple && tag == 0)) return unknown_tag(tag, error);
	size_t from = multiple ? ch->first : at, to = tag ? at + 1 : ch->last;
	for (size_t i = from; ch->transacting && i < to; i++)
		if (is_open(&ch->unacked[i])) ch->unacked[i].staged = (uint8_t)how;
	if (ch->transacting || from == to) return MR_OK;
	if (how == MR_SETTLE_ACK && to == from + 1) {
		ack_one(ch, &ch->unacked[from]);
		return MR_OK;
	}
	struct mr_chore chore = {.step = mr_settle_go_on,
		.settles = true,
		.how = (uint8_t)how,
		.next = ch->unacked[from].tag,
		.last = ch->unacked[to - 1].tag};
	mr_chore_start(ch, &chore);
	return MR_OK;
}

static enum mr_status recover(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_chore chore = {.step = mr_settle_go_on,
		.settles = true,
		.how = MR_SETTLE_PUT_BACK,
		.last = ch->next_tag - 1,
		.answer = m->id == MR_M_BASIC_RECOVER ? MR_M_BASIC_RECOVER_OK : 0};
	if (!(m->bits & RECOVER_REQUEUE)) return mr_reply_error(error, 540, "requeue=false");
	mr_chore_start(ch, &chore);
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
