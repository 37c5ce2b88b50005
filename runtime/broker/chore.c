/* chore: what takes a channel longer than a turn: it goes on with it in the turns that follow.
 * SPDX-License-Identifier: MIT
 * Settling a million deliveries, a transaction of as many, the end of a channel that had them. */
#include "broker/channel.h"

static void hand_out(struct mr_broker_channel *ch)
{
	struct mr_node *node;
	ch->settling = ch->prefetch_all != 0;
	while ((node = mr_list_shift(&ch->held)))
		mr_vhost_queue_moved(mr_container(node, struct mr_queue, at_held));
	ch->settling = false;
}

static bool do_some(struct mr_broker_channel *ch)
{
	enum mr_chore_kind kind = ch->chore.kind;
	if (kind != MR_CHORE_SETTLE && !mr_staged_go_on(ch, kind == MR_CHORE_COMMIT)) return false;
	if (kind == MR_CHORE_ROLLBACK) return true;
	if (!mr_settle_go_on(ch)) return false;
	while (kind == MR_CHORE_QUIT && !mr_list_is_empty(&ch->consumers))
		mr_consumer_end(mr_container(ch->consumers.next, struct mr_consumer, at_channel));
	return true;
}

/* False: there is more. */
static bool go_on(struct mr_broker_channel *ch)
{
	struct mr_chore *c = &ch->chore;
	if (!do_some(ch)) return false;
	bool is_end = c->kind == MR_CHORE_QUIT;
	uint32_t answer = c->answer;
	c->kind = MR_CHORE_NONE;
	hand_out(ch);
	if (answer) mr_broker_channel_put_simple(ch, answer);
	ch->is_ghost = ch->is_ghost || (is_end && answer);
	if (!is_end) mr_broker_channel_moved(ch);
	return true;
}

/* The one under way is in the way of another: it is done at once. */
static void hurry(struct mr_broker_channel *ch)
{
	struct mr_broker *b = ch->session->broker;
	uint64_t end = b->work_end;
	b->work_end = MR_WORK_UNBOUNDED;
	go_on(ch);
	b->work_end = end;
	mr_list_remove(&ch->chore.node);
	ch->session->chores--;
}

void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore)
{
	bool is_quitting = ch->chore.kind == MR_CHORE_QUIT;
	if (ch->chore.node.next && is_quitting && chore->kind == MR_CHORE_QUIT) return;
	if (ch->chore.node.next) hurry(ch);
	ch->chore = *chore;
	if (go_on(ch)) return;
	mr_list_append(&ch->session->broker->chores, &ch->chore.node);
	ch->session->chores++;
}

void mr_chore_finish(struct mr_broker_channel *ch)
{
	if (ch->chore.node.next) hurry(ch);
}

void mr_chores_resume(struct mr_broker *b)
{
	while (!mr_list_is_empty(&b->chores) && !mr_broker_is_spent(b)) {
		struct mr_broker_channel *ch =
			mr_container(b->chores.next, struct mr_broker_channel, chore.node);
		if (!go_on(ch)) continue; /* the turn is over */
		mr_list_remove(&ch->chore.node);
		mr_broker_session_chore_done(ch->session);
	}
}
