/* chore: work that takes longer than a turn, and continues in later turns.
 * SPDX-License-Identifier: MIT
 * Examples: settling a million deliveries, a transaction with as many, a message for very many queues, and the
 * end of a queue, an exchange, a channel or a connection with as much. */
#include "broker/client/chore.h"

#include "broker/client/consumer.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "codec/method.h"

static void hand_out(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	ch->settling = ch->prefetch_all != 0;
	while ((node = mr_list_shift(&ch->held)))
		mr_pump_back(mr_container(node, struct mr_queue, at_held));
	ch->settling = false;
}

/* ---- one chore ---- */

static void done(struct mr_broker_channel *ch)
{
	const struct mr_chore c = ch->chore;
	struct mr_method answer = {.id = c.answer, .count = c.count};
	ch->chore.step = NULL;
	/* Redeliveries after a recover must come after its answer, which refers to all earlier
	 * deliveries. */
	if (answer.id) mr_broker_channel_put(ch, &answer);
	if (c.settles) hand_out(ch);
	if (c.quits && answer.id) ch->is_ghost = true;
	if (c.settles && !c.quits) mr_consumer_serve(ch);
}

static void take_up(struct mr_broker_channel *ch, const struct mr_chore *chore)
{
	struct mr_node node = ch->chore.node; /* it may be in the list already */
	ch->chore = *chore;
	ch->chore.node = node;
}

/* Returns false if there is more to do. */
static bool go_on(struct mr_broker_channel *ch)
{
	for (;;) {
		if (!ch->chore.step(ch)) return false;
		done(ch);
		if (!ch->then.step) return true;
		take_up(ch, &ch->then);
		ch->then.step = NULL;
	}
}

/* Finishes the chore at once. */
static void hurry(struct mr_broker_channel *ch)
{
	struct mr_store *store = &ch->session->broker->store;
	uint64_t end = store->work_end;
	store->work_end = MR_WORK_UNBOUNDED;
	go_on(ch);
	store->work_end = end;
	mr_list_remove(&ch->chore.node);
	ch->session->chores--;
}

/* Nothing is read during a chore: only the end of the channel can come then. */
void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore)
{
	bool is_under_way = ch->chore.node.next != NULL;
	if (is_under_way && chore->quits) {
		if (!ch->chore.quits) ch->then = *chore;
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

/* ---- deleted objects ---- */

static bool raze_some(struct mr_broker_channel *ch)
{
	return mr_raze(&ch->session->broker->store, &ch->ruins);
}

void mr_chore_raze(struct mr_broker_channel *ch, uint32_t answer, uint32_t count)
{
	struct mr_chore chore = {.step = raze_some, .answer = answer, .count = count};
	mr_chore_start(ch, &chore);
}

static bool drop_some(struct mr_broker_session *s)
{
	struct mr_store *store = &s->broker->store;
	while (!mr_list_is_empty(&s->queues) && !mr_store_is_spent(store))
		mr_raze_queue(mr_container(s->queues.next, struct mr_queue, at_owner));
	return mr_raze(store, &s->ruins) && mr_list_is_empty(&s->queues);
}

void mr_chore_drop_queues(struct mr_broker_session *s)
{
	if (s->leaving.node.next || drop_some(s)) return;
	mr_list_append(&s->broker->chores, &s->leaving.node);
	s->chores++;
}

bool mr_chore_go_on(struct mr_chore *c, struct mr_broker_session **session)
{
	if (!c->step) {
		*session = mr_container(c, struct mr_broker_session, leaving);
		return drop_some(*session);
	}
	struct mr_broker_channel *ch = mr_container(c, struct mr_broker_channel, chore);
	*session = ch->session;
	return go_on(ch);
}
