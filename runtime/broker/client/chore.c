/* chore: what takes longer than a turn: it goes on in the turns that follow.
 * SPDX-License-Identifier: MIT
 * Settling a million deliveries, a transaction of as many, a message into very many queues, the end of a
 * queue, an exchange, a channel or a connection that had them. */
#include "broker/client/chore.h"

#include "broker/client/channel.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"

static void hand_out(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	ch->settling = ch->prefetch_all != 0;
	while ((node = mr_list_shift(&ch->held)))
		mr_pump_back(mr_container(node, struct mr_queue, at_held));
	ch->settling = false;
}

/* ---- some of it; false: there is more, and the turn is over ---- */

static bool quit_some(struct mr_broker_channel *ch)
{
	struct mr_broker *b = ch->session->broker;
	if (!mr_staged_go_on(ch, false) || !mr_settle_go_on(ch)) return false;
	for (; !mr_list_is_empty(&ch->consumers) && !mr_store_is_spent(&b->store); b->store.work++)
		mr_consumer_end(mr_container(ch->consumers.next, struct mr_consumer, at_channel));
	return mr_raze(&b->store, &ch->ruins) && mr_list_is_empty(&ch->consumers);
}

static bool drop_some(struct mr_broker_session *s)
{
	while (!mr_list_is_empty(&s->queues) && !mr_store_is_spent(&s->broker->store))
		mr_raze_queue(mr_container(s->queues.next, struct mr_queue, at_owner));
	return mr_raze(&s->broker->store, &s->ruins) && mr_list_is_empty(&s->queues);
}

static bool do_some(struct mr_broker_channel *ch)
{
	if (ch->spread && !mr_spread_rest(ch)) return false;
	switch (ch->chore.kind) {
	case MR_CHORE_SETTLE: return mr_settle_go_on(ch);
	case MR_CHORE_COMMIT: return mr_staged_go_on(ch, true) && mr_settle_go_on(ch);
	case MR_CHORE_ROLLBACK: return mr_staged_go_on(ch, false);
	case MR_CHORE_RAZE: return mr_raze(&ch->session->broker->store, &ch->ruins);
	case MR_CHORE_QUIT: return quit_some(ch);
	default: return true;
	}
}

/* ---- one chore ---- */

static void done(struct mr_broker_channel *ch)
{
	struct mr_chore *c = &ch->chore;
	enum mr_chore_kind kind = c->kind;
	struct mr_method answer = {.id = c->answer, .count = c->count};
	bool settles = kind != MR_CHORE_STORE && kind != MR_CHORE_RAZE;
	c->kind = MR_CHORE_NONE;
	/* What recover brings back must not come before its answer: that speaks of all that came so far. */
	if (answer.id) mr_broker_channel_put(ch, &answer);
	if (settles) hand_out(ch);
	if (kind == MR_CHORE_QUIT && answer.id) ch->is_ghost = true;
	if (settles && kind != MR_CHORE_QUIT) mr_broker_channel_moved(ch);
}

static void take_up(struct mr_broker_channel *ch, const struct mr_chore *chore)
{
	struct mr_node node = ch->chore.node; /* it may have waited for another */
	ch->chore = *chore;
	ch->chore.node = node;
	if (chore->kind == MR_CHORE_QUIT) mr_settle_unstage(ch);
}

/* False: there is more. */
static bool go_on(struct mr_broker_channel *ch)
{
	static const struct mr_chore quit = {.kind = MR_CHORE_QUIT,
		.how = MR_SETTLE_PUT_BACK,
		.last = UINT64_MAX};
	for (;;) {
		if (!do_some(ch)) return false;
		done(ch);
		if (!ch->quits_then) return true;
		ch->quits_then = false;
		take_up(ch, &quit);
	}
}

/* It is done at once. */
static void hurry(struct mr_broker_channel *ch)
{
	struct mr_broker *b = ch->session->broker;
	uint64_t end = b->store.work_end;
	b->store.work_end = MR_WORK_UNBOUNDED;
	go_on(ch);
	b->store.work_end = end;
	mr_list_remove(&ch->chore.node);
	ch->session->chores--;
}

/* Nothing is read while one is under way: all that can come then is the end. */
void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore)
{
	bool is_under_way = ch->chore.node.next != NULL;
	if (is_under_way && chore->kind == MR_CHORE_QUIT) {
		ch->quits_then = ch->chore.kind != MR_CHORE_QUIT;
		return;
	}
	if (is_under_way) hurry(ch);
	take_up(ch, chore);
	if (go_on(ch)) return;
	mr_list_append(&ch->session->broker->chores, &ch->chore.node);
	ch->session->chores++;
}

void mr_chore_finish(struct mr_broker_channel *ch)
{
	if (ch->chore.node.next) hurry(ch);
}

void mr_chore_drop_queues(struct mr_broker_session *s)
{
	if (s->leaving.node.next || drop_some(s)) return;
	s->leaving.kind = MR_CHORE_DROP;
	mr_list_append(&s->broker->chores, &s->leaving.node);
	s->chores++;
}

/* ---- all of them ---- */

static bool resume(struct mr_chore *c, struct mr_broker_session **session)
{
	if (c->kind == MR_CHORE_DROP) {
		*session = mr_container(c, struct mr_broker_session, leaving);
		return drop_some(*session);
	}
	struct mr_broker_channel *ch = mr_container(c, struct mr_broker_channel, chore);
	*session = ch->session;
	return go_on(ch);
}

/* Each has a turn and then waits for all others: a small one is not behind a large one. */
void mr_chores_resume(struct mr_broker *b)
{
	struct mr_broker_session *session;
	while (!mr_list_is_empty(&b->chores) && !mr_store_is_spent(&b->store)) {
		struct mr_chore *c = mr_container(b->chores.next, struct mr_chore, node);
		bool is_done = resume(c, &session);
		mr_list_remove(&c->node);
		if (is_done)
			mr_broker_session_chore_done(session);
		else
			mr_list_append(&b->chores, &c->node);
	}
}
