/* quit: the end of a channel.
 * SPDX-License-Identifier: MIT */
#include "broker/client/quit.h"

#include "base/alloc.h"
#include "broker/client/await.h"
#include "broker/client/chore.h"
#include "broker/client/consumer.h"
#include "broker/client/pledge.h"
#include "broker/client/publish.h"
#include "broker/client/settle.h"
#include "broker/store/raze.h"

static bool quit_some(struct mr_broker_channel *ch)
{
	struct mr_store *store = &ch->session->broker->store;
	if (!mr_publish_drop_staged(ch) || !mr_settle_go_on(ch)) return false;
	for (; !mr_list_is_empty(&ch->consumers) && !mr_store_is_spent(store); store->work++)
		mr_consumer_end(mr_container(ch->consumers.next, struct mr_consumer, at_channel));
	return mr_raze(store, &ch->ruins) && mr_list_is_empty(&ch->consumers);
}

static bool quit_first(struct mr_broker_channel *ch)
{
	mr_settle_unstage(ch);
	ch->chore.step = quit_some;
	return quit_some(ch);
}

/* Unsettled messages are requeued before the consumers end, so that the next single active one gets
 * them in order. */
void mr_quit_begin(struct mr_broker_channel *ch, uint32_t answer)
{
	struct mr_chore end = {.step = quit_first,
		.settles = true,
		.quits = true,
		.how = MR_SETTLE_PUT_BACK,
		.last = UINT64_MAX,
		.answer = answer};
	ch->closing = true; /* its consumers get no more messages */
	mr_publish_abandon(ch);
	mr_chore_start(ch, &end);
}

void mr_quit_free(struct mr_broker_channel *ch)
{
	if (!ch) return;
	mr_await_abandon(ch);
	mr_pledge_abandon(ch);
	mr_list_remove(&ch->to_flush);
	mr_quit_begin(ch, 0);
	mr_chore_finish(ch);
	mr_map_take(&ch->session->channels, ch->number);
	mr_store_razed(&ch->session->broker->store,
		sizeof *ch + ch->capacity * sizeof *ch->unacked);
	mr_map_fini(&ch->tags);
	mr_free(ch->unacked);
	mr_free(ch->last_queue);
	mr_free(ch->reply_queue);
	mr_free(ch);
}
