/* there: methods whose answer the store's backing gives.
 * SPDX-License-Identifier: MIT */
#include "broker/client/there.h"

enum { NO_WAIT = 1 }; /* of a bind */

enum mr_status mr_there_bind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	const struct mr_exchange *source, struct mr_queue *q, mr_slice key, bool made)
{
	struct mr_backing *b = ch->session->broker->store.backing;
	struct mr_await *a = mr_await_begin(ch, m->id, q);
	if (!a) return MR_NO_MEMORY;
	if (!(made && m->bits & NO_WAIT))
		a->answer.id = made ? MR_M_QUEUE_BIND_OK : MR_M_QUEUE_UNBIND_OK;
	(made ? b->class->bind : b->class->unbind)(b, source, q, key, &a->promise);
	return MR_OK;
}

/* What was fetched meanwhile, or goes back, is counted once: by what is here now. */
static void counted(struct mr_broker_channel *ch, struct mr_await *a)
{
	a->answer.count = (uint32_t)(a->promise.count + a->queue->ready);
	mr_broker_channel_put(ch, &a->answer);
}

enum mr_status mr_there_count(struct mr_broker_channel *ch, const struct mr_method *ok,
	struct mr_queue *q)
{
	struct mr_backing *b = ch->session->broker->store.backing;
	struct mr_await *a = mr_await_begin(ch, MR_M_QUEUE_DECLARE, q);
	if (!a) return MR_NO_MEMORY;
	a->answer = *ok;
	a->answer.name = mr_queue_name(q); /* it is pinned */
	a->heard = counted;
	b->class->count(b, q, &a->promise);
	return MR_OK;
}

enum mr_status mr_there_purge(struct mr_broker_channel *ch, const struct mr_client_method *m,
	struct mr_queue *q, uint32_t answer, bool whole)
{
	struct mr_backing *b = ch->session->broker->store.backing;
	struct mr_await *a = mr_await_begin(ch, m->id, q);
	if (!a) return MR_NO_MEMORY;
	a->answer.id = answer;
	mr_queue_purge(q);
	b->class->purge(b, q, whole, &a->promise);
	return MR_OK;
}

enum mr_status mr_there_get(struct mr_broker_channel *ch, struct mr_queue *q, bool no_ack,
	void (*heard)(struct mr_broker_channel *ch, struct mr_await *a))
{
	struct mr_backing *b = ch->session->broker->store.backing;
	struct mr_await *a = mr_await_begin(ch, MR_M_BASIC_GET, q);
	if (!a) return MR_NO_MEMORY;
	a->heard = heard;
	a->no_ack = no_ack;
	b->class->get(b, q, &a->promise);
	return MR_OK;
}
