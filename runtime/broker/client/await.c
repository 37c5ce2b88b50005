/* await: a channel that waits for an answer of the store's backing before its client is read on.
 * SPDX-License-Identifier: MIT */
#include "broker/client/await.h"

#include "base/alloc.h"

static void told(struct mr_promise *p)
{
	struct mr_await *a = mr_container(p, struct mr_await, promise);
	struct mr_broker_channel *ch = a->channel;
	if (ch) {
		ch->await = NULL;
		a->answer.count = (uint32_t)(p->count + a->here);
		ch->session->on_answer(ch, a);
	}
	if (a->queue) mr_queue_unpin(a->queue);
	mr_free(a);
}

struct mr_await *mr_await_begin(struct mr_broker_channel *ch, uint32_t failing, struct mr_queue *q)
{
	struct mr_await *a = mr_calloc(1, sizeof *a);
	if (!a) return NULL;
	a->promise.told = told;
	a->channel = ch;
	a->failing = failing;
	a->queue = q;
	if (q) q->out++;
	if (q) a->here = q->ready;
	ch->await = a;
	ch->session->chores++;
	return a;
}

void mr_await_abandon(struct mr_broker_channel *ch)
{
	if (!ch->await) return;
	ch->await->channel = NULL;
	ch->await = NULL;
	ch->session->chores--;
}
