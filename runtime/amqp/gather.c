/* gather: acks wait for others, so that one frame, and one write, settles several messages.
 * SPDX-License-Identifier: MIT */
#include "amqp/gather.h"

#define SHARE 8 /* of the prefetch: one part of so many may wait */
#define MOST 32 /* acks of a connection: so many gain nothing by waiting */

static bool is_full(const struct mr_amqp_channel *ch, size_t pending)
{
	return ch->prefetch_least && pending >= ch->prefetch_least / SHARE;
}

static bool may_wait(const struct mr_outlet *outlet, mr_msec now)
{
	size_t all = 0;
	if (now != outlet->acked_at || mr_outbox_size(&outlet->out)) return false;
	for (struct mr_node *n = outlet->dirty.next; n != &outlet->dirty; n = n->next) {
		const struct mr_amqp_channel *ch = mr_container(n, struct mr_amqp_channel, dirty);
		size_t pending = mr_acks_pending(&ch->acks);
		all += pending + 1; /* a channel costs a step, too: it may be one of thousands */
		if (all > MOST || is_full(ch, pending)) return false;
	}
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
