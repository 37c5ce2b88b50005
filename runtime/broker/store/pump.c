/* pump: puts messages into a queue, delivers them to receivers, drops expired and surplus ones.
 * SPDX-License-Identifier: MIT */
#include "broker/store/pump.h"

#include "broker/store/backing.h"
#include "broker/store/deadline.h"
#include "broker/store/receiver.h"

#define FETCH_MOST 256 /* messages that wait here for receivers without a prefetch */

/* ---- what time and limits do ---- */

/* Returns false if the turn is over; the queue is then continued later. */
static bool drop_one(struct mr_queue *q, struct mr_entry *e, enum mr_death why)
{
	if (mr_store_is_spent(q->store)) {
		mr_queue_postpone(q);
		return false;
	}
	mr_queue_take(q, e);
	mr_queue_drop(q, e, why);
	return true;
}

static void drop_expired(struct mr_queue *q)
{
	struct mr_entry *e;
	while ((e = mr_queue_expired(q, q->store->now)))
		if (!drop_one(q, e, MR_DEATH_EXPIRED)) return;
}

static void drop_surplus(struct mr_queue *q)
{
	struct mr_entry *e;
	while (q->limits.overflow == MR_DROP_HEAD && (e = mr_queue_surplus(q)))
		if (!drop_one(q, e, MR_DEATH_MAXLEN)) return;
}

/* ---- deliveries ---- */

/* As in RabbitMQ, a message expires only at the head of its queue. */
static bool has_expired(struct mr_queue *q, struct mr_entry *e)
{
	if (e->expires > q->store->now) return false;
	mr_queue_take(q, e);
	mr_queue_drop(q, e, MR_DEATH_EXPIRED);
	return true;
}

/* Delivers up to `most` messages while there are messages and receivers that can take them; drops
 * expired ones. `is_fresh`: the head has just arrived, and may go to a waiting receiver even with a
 * time to live of 0. */
static void deliver(struct mr_queue *q, bool is_fresh, size_t most)
{
	struct mr_store *s = q->store;
	struct mr_entry *e;
	if (s->paused || q->at_held.next) return;
	for (; most && (e = mr_queue_head(q)); is_fresh = false) {
		if (!is_fresh && mr_store_is_spent(s)) {
			mr_queue_postpone(q);
			return;
		}
		if (!is_fresh && has_expired(q, e)) continue;
		struct mr_receiver *r = mr_receiver_next(q);
		if (!r) return;
		s->work++;
		mr_receiver_line_up(r);
		mr_queue_take(q, e);
		if (!r->class->deliver(r, e)) {
			mr_queue_requeue(q, e);
			return;
		}
		most--;
	}
}

/* ---- from a backing ---- */

static void fetch(struct mr_queue *q)
{
	struct mr_backing *b = q->store->backing;
	if (!b || q->store->paused || q->ready >= FETCH_MOST / 2) return;
	size_t room = mr_receiver_room(q, FETCH_MOST);
	if (room > q->ready) b->class->fetch(b, q, room - q->ready);
}

/* ---- both ---- */

/* Drops expired messages before it delivers others. Only a fresh message with a time to live of 0
 * still goes to a waiting receiver: RabbitMQ drops it unless it can be delivered at once. */
void mr_pump(struct mr_queue *q) { mr_pump_few(q, SIZE_MAX); }

void mr_pump_few(struct mr_queue *q, size_t most)
{
	if (q->deleted) return;
	drop_expired(q);
	deliver(q, false, most);
	drop_surplus(q);
	mr_deadline_set(q);
	fetch(q);
}

void mr_pump_back(struct mr_queue *q)
{
	if (q->deleted) return;
	drop_surplus(q);
	mr_pump(q);
}

bool mr_pump_in(struct mr_queue *q, struct mr_message *m)
{
	struct mr_store *s = q->store;
	if (mr_queue_refuses(q, m->body_size)) {
		if (q->limits.overflow == MR_REJECT_PUBLISH_DLX) mr_queue_drop_unborn(q, m);
		return false;
	}
	s->work++;
	if (!mr_queue_push(q, m, s->now)) return false;
	mr_store_grew(s, sizeof(struct mr_entry));
	bool is_plain = q->ready == 1 && q->limits.max_length < 0 && q->limits.max_bytes < 0;
	if (is_plain) deliver(q, true, SIZE_MAX);
	mr_pump(q);
	return true;
}
