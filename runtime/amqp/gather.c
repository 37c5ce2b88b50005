/* gather: acks wait for others, so that one frame, and one write, settles several messages.
 * SPDX-License-Identifier: MIT */
#include "amqp/gather.h"

#define SHARE 8 /* of the prefetch: one part of so many may wait */
#define MOST 32 /* acks of a channel: so many gain nothing by waiting */

static bool is_full(const struct mr_amqp_channel *ch)
{
	uint32_t share = ch->prefetch_least ? ch->prefetch_least / SHARE : MOST;
	return mr_acks_pending(&ch->acks) >= (share < MOST ? share : MOST);
}

static bool may_wait(const struct mr_outlet *outlet, mr_msec now)
{
	if (now != outlet->acked_at || mr_outbox_size(&outlet->out)) return false;
	for (struct mr_node *n = outlet->dirty.next; n != &outlet->dirty; n = n->next)
		if (is_full(mr_container(n, struct mr_amqp_channel, dirty))) return false;
	return true;
}

bool mr_gather_waits(struct mr_outlet *outlet, mr_msec now)
{
	if (mr_list_is_empty(&outlet->dirty)) return false;
	bool waits = may_wait(outlet, now);
	outlet->acks_due = waits ? now + 1 : MR_NEVER;
	if (!waits) outlet->acked_at = now;
	return waits;
}

void mr_gather_note_prefetch(struct mr_amqp_channel *ch, uint32_t prefetch)
{
	if (!prefetch) return;
	if (!ch->prefetch_least || prefetch < ch->prefetch_least) ch->prefetch_least = prefetch;
}
