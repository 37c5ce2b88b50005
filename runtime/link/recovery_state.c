/* recovery_state: the state of a recovery, and the port to its link.
 * SPDX-License-Identifier: MIT */
#include "link/recovery_state.h"

#include "base/alloc.h"
#include "link/history.h"

void mr_recovery_push(struct mr_recovery *r, const mr_event *event)
{
	r->port.push(r->port.owner, event);
}

void mr_recovery_tell_try(struct mr_recovery *r, enum mr_connection_state state, uint16_t channel,
	int64_t attempt, mr_msec delay, const mr_error *why)
{
	mr_event ev = {.type = MR_EV_CONNECTION, .status = why->kind, .channel = channel};
	ev.connection = r->connection;
	ev.as.connection.state = (uint16_t)state;
	ev.as.connection.numbers.retry.attempt = (uint32_t)attempt;
	ev.as.connection.numbers.retry.delay = mr_clock_ms32(delay);
	ev.as.connection.with.error = mr_error_copy(why);
	mr_recovery_push(r, &ev);
}

double mr_recovery_chance(struct mr_recovery *r)
{
	r->random ^= r->random << 13; /* xorshift64, Marsaglia 2003 */
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (double)(r->random >> 11) / (double)(UINT64_C(1) << 53);
}

/* ---- the plan ---- */

void mr_recovery_end_track(struct mr_recovery *r, struct mr_track *track)
{
	if (track->asked && track->asked->waiting) r->waiting--;
	if (r->scratch_user == track) r->scratch_user = NULL;
	mr_free(track->asked);
	mr_plan_end_track(&r->plan, track);
}

void mr_recovery_drop_plan(struct mr_recovery *r)
{
	struct mr_track *track;
	while ((track = mr_plan_next_track(&r->plan, NULL))) mr_recovery_end_track(r, track);
	mr_timer_stop(&r->pace);
	r->is_whole = r->is_put_off = false;
}

/* Each track has room for its answers, or there is no track: then this returns false. */
static bool furnish(struct mr_recovery *r)
{
	bool ok = true;
	struct mr_track *track = mr_plan_next_track(&r->plan, NULL), *next;
	for (; track; track = next) {
		next = mr_plan_next_track(&r->plan, track);
		if (!track->asked) track->asked = mr_calloc(1, sizeof *track->asked);
		if (track->asked) continue;
		mr_recovery_end_track(r, track);
		ok = false;
	}
	return ok;
}

static bool plan_whole(struct mr_recovery *r)
{
	struct mr_topology *t = &r->topology;
	bool declares = r->config->recover_topology;
	bool is_needed = t->channels.count || (declares && !mr_list_is_empty(&t->records));
	mr_recovery_drop_plan(r);
	r->opened = 0;
	r->is_whole = mr_plan_all(&r->plan, t, declares) && furnish(r);
	if (r->is_whole || !is_needed) return r->is_whole;
	mr_recovery_drop_plan(r);
	r->is_whole = r->is_put_off = true;
	return false;
}

bool mr_recovery_plan(struct mr_recovery *r, bool is_whole)
{
	if (is_whole) return plan_whole(r);
	if (!mr_plan_repairs(&r->plan, &r->topology)) return false;
	furnish(r);
	return !mr_plan_is_empty(&r->plan);
}

bool mr_recovery_plan_look(struct mr_recovery *r, const struct mr_record *consumer)
{
	bool ok = mr_plan_look(&r->plan, consumer);
	furnish(r);
	return ok && mr_plan_track(&r->plan, 0);
}

/* ---- giving up ---- */

/* Reports to the host that its consumer has ended. */
void mr_recovery_tell_consumer_failed(struct mr_recovery *r, const struct mr_record *record,
	const mr_error *why)
{
	mr_event ev = {.type = MR_EV_CANCEL, .status = why->kind};
	ev.connection = r->connection;
	ev.channel = record->channel;
	ev.as.cancel.consumer = record->request.number;
	ev.as.cancel.error = mr_error_copy(why);
	mr_recovery_push(r, &ev);
}

/* Removes the consumers of a channel. */
static void note_failure(struct mr_recovery *r, uint16_t channel, const mr_error *why)
{
	const struct mr_record *c = NULL;
	while ((c = mr_topology_next_on(&r->topology, channel, c)))
		mr_history_consumer(r->services->history, r->connection, c, why->text);
}

/* The channel cannot be opened, or its modes cannot be set: it ends, with its steps. */
void mr_recovery_give_channel_up(struct mr_recovery *r, uint16_t number, const mr_error *why)
{
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, number);
	mr_event ev = {.type = MR_EV_CHANNEL, .status = why->kind, .channel = number};
	if (!c) return; /* the program has closed it in the meantime */
	ev.connection = r->connection;
	ev.epoch = c->epoch;
	ev.as.channel.error = mr_error_copy(why);
	note_failure(r, number, why);
	mr_topology_channel_closed(&r->topology, number);
	mr_recovery_push(r, &ev);
}
