/* turn: the work between two polls of the sockets, limited to a number of steps.
 * SPDX-License-Identifier: MIT */
#include "broker/client/turn.h"

#include "broker/client/chore.h"
#include "broker/client/confirm.h"
#include "broker/client/session.h"
#include "broker/store/deadline.h"
#include "broker/store/dead_letter.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"

/* ---- time ---- */

static void due(struct mr_queue *q)
{
	bool is_unused = q->limits.expires >= 0 && !q->consumer_count &&
	                 q->used + q->limits.expires <= q->store->now;
	if (is_unused)
		mr_raze_queue(q);
	else
		mr_pump(q);
}

mr_msec mr_turn_deadline(const struct mr_broker *b) { return mr_deadline_next(&b->store); }

void mr_turn_tick(struct mr_broker *b)
{
	struct mr_queue *q;
	while (!mr_store_is_spent(&b->store) && (q = mr_deadline_due(&b->store))) due(q);
	mr_dead_letter_bury(&b->store);
	mr_store_watch(&b->store);
}

/* ---- what had to wait ---- */

bool mr_turn_has_more(const struct mr_broker *b)
{
	return mr_store_has_more(&b->store) || !mr_list_is_empty(&b->chores);
}

/* Limits the next kind of work to a part of the rest of the turn, so that none delays another. */
static void allow(struct mr_store *s, uint64_t end, unsigned parts)
{
	if (end != MR_WORK_UNBOUNDED && end > s->work)
		s->work_end = s->work + (end - s->work) / parts;
}

/* Each chore has a turn and then waits for all others: a small one does not wait for the end of a
 * large one. */
static void resume_chores(struct mr_broker *b)
{
	struct mr_broker_session *session;
	while (!mr_list_is_empty(&b->chores) && !mr_store_is_spent(&b->store)) {
		struct mr_chore *c = mr_container(b->chores.next, struct mr_chore, node);
		bool is_done = mr_chore_go_on(c, &session);
		mr_list_remove(&c->node);
		if (is_done)
			mr_broker_session_chore_done(session);
		else
			mr_list_append(&b->chores, &c->node);
	}
}

bool mr_turn_resume(struct mr_broker *b)
{
	struct mr_store *s = &b->store;
	uint64_t end = s->work_end;
	allow(s, end, 5);
	mr_dead_letter_bury(s);
	allow(s, end, 4);
	resume_chores(b);
	allow(s, end, 3);
	while (!mr_list_is_empty(&s->busy) && !mr_store_is_spent(s))
		mr_pump(mr_container(mr_list_shift(&s->busy), struct mr_queue, busy));
	allow(s, end, 2);
	mr_raze(s, &s->ruins);
	s->work_end = end;
	mr_entry_sweep(s);
	mr_dead_letter_bury(s); /* those dropped above; earlier it would use their share */
	mr_store_watch(s);
	return mr_turn_has_more(b);
}

void mr_turn_finish(struct mr_broker *b)
{
	if (!b) return;
	mr_turn_begin(b, MR_WORK_UNBOUNDED);
	while (mr_turn_resume(b)) {}
}

/* ---- the end of it ---- */

void mr_turn_tell(struct mr_broker *b)
{
	b->store.relieved = false;
	for (struct mr_node *n = b->sessions.next; n != &b->sessions; n = n->next)
		mr_broker_session_check_blocked(mr_container(n, struct mr_broker_session, node));
}

void mr_turn_confirm(struct mr_broker *b)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&b->to_flush)))
		mr_confirm_flush(mr_container(node, struct mr_broker_channel, to_flush));
}
