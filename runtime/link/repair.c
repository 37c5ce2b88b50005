/* repair: restores, on an open connection, channels and consumers that the broker ended.
 * SPDX-License-Identifier: MIT */
#include "link/repair.h"

#include "link/backoff.h"
#include "link/history.h"

#define MEMORY_PAUSE 1000 /* ms until what found no memory is planned again */

static const struct mr_retry retry = {MR_RETRY_JITTER, 0, 0, 5000, -1};

void mr_repair_put_off(struct mr_recovery *r)
{
	mr_timer_arm(&r->repair, mr_clock_now() + MEMORY_PAUSE);
}

/* True if something is to be repaired, and is not planned. */
static bool is_left(const struct mr_recovery *r)
{
	const struct mr_channel_record *c;
	for (size_t at = 0; (c = mr_map_next(&r->topology.channels, &at, NULL));)
		if (!mr_plan_track(&r->plan, c->number) && mr_plan_is_due(&r->topology, c->number))
			return true;
	return false;
}

void mr_repair_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_recovery *r = timer->data;
	(void)loop;
	(void)revents;
	if (!r->opened_at) return;
	if (mr_recovery_plan(r, r->is_put_off)) r->port.touch(r->port.owner);
	if (r->is_put_off || is_left(r)) mr_repair_put_off(r);
}

static void ask_host(struct mr_recovery *r, uint16_t channel, mr_msec delay)
{
	mr_recovery_tell_try(r, MR_CONNECTION_REPAIRING, channel, r->repairs, delay,
		mr_error_kept(r->repair_why));
}

void mr_repair_plan(struct mr_recovery *r, uint16_t channel, const mr_error *why, int kind)
{
	mr_error usual;
	if (!why) mr_error_set(&usual, kind, MR_SCOPE_CHANNEL, 0, "%s", mr_status_text(kind));
	mr_error_keep(&r->repair_why, why ? why : &usual);
	/* A thousand channels that break together are one failure, and none puts the others off. */
	if (ev_is_active(&r->repair.ev) && !r->host_decides) return;
	mr_msec delay = mr_backoff(&retry, r->repairs++, MR_OK, mr_recovery_chance(r));
	if (r->host_decides && delay < MR_POLICY_TIME) delay = MR_POLICY_TIME;
	mr_timer_arm(&r->repair, mr_clock_now() + delay);
	if (r->host_decides) ask_host(r, channel, delay);
}

/* Gives up all broken objects, and reports each channel and consumer. */
static void give_up(struct mr_recovery *r)
{
	const struct mr_channel_record *c;
	mr_error why = *mr_error_kept(r->repair_why);
	struct mr_record *record = NULL, *next;
	for (size_t at = 0; (c = mr_map_next(&r->topology.channels, &at, NULL));)
		if (c->broken) mr_recovery_give_channel_up(r, c->number, &why);
	for (record = mr_topology_next(&r->topology, MR_BASIC_CONSUME, NULL); record;
		record = next) {
		next = mr_topology_next(&r->topology, MR_BASIC_CONSUME, record);
		if (!record->cancelled) continue;
		mr_recovery_tell_consumer_failed(r, record, &why);
		mr_history_consumer(r->services->history, r->connection, record, why.text);
		mr_record_forget(&r->topology, record);
	}
}

void mr_repair_decide(struct mr_recovery *r, uint64_t delay)
{
	if (!ev_is_active(&r->repair.ev) || r->is_put_off) return;
	if (delay != UINT64_MAX) {
		mr_timer_arm(&r->repair, mr_clock_now() + (mr_msec)delay);
		return;
	}
	mr_timer_stop(&r->repair);
	give_up(r);
}
