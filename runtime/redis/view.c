/* view: what a Redis store shows of itself.
 * SPDX-License-Identifier: MIT */
#include "redis/view.h"

#include "redis/state.h"

void mr_view_place(const struct mr_redis_store *r, char out[MR_FIGURES_PLACE])
{
	mr_redis_link_place(r->link, out);
}

void mr_view_take(const struct mr_redis_store *r, struct mr_redis_view *out)
{
	const struct mr_redis_figures *a = mr_redis_link_figures(r->link),
				      *b = mr_redis_link_figures(r->ear);
	out->version = r->version;
	out->role = r->role;
	out->deaf = r->is_up && r->ear_why.kind ? &r->ear_why : NULL;
	out->commands = a->commands + b->commands;
	out->sent = a->sent + b->sent;
	out->received = a->received + b->received;
	out->round_trip = a->round_trip;
}

void mr_view_messages(const struct mr_redis_store *r, uint64_t *fetched, uint64_t *unacked)
{
	*fetched = *unacked = 0;
	for (const struct mr_node *n = r->windows.next; n != &r->windows; n = n->next) {
		const struct mr_queue *q = mr_container(n, const struct mr_window, node)->queue;
		*fetched += q ? q->ready : 0;
		*unacked += q ? q->out : 0;
	}
}
