/* recovery_state: the state of a recovery, and the port to its link.
 * SPDX-License-Identifier: MIT */
#include "link/recovery_state.h"

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

void mr_recovery_drop_plan(struct mr_recovery *r)
{
	mr_plan_drop(&r->plan);
	r->waiting = r->answered = false;
	r->token = 0;
}

bool mr_recovery_plan(struct mr_recovery *r, bool is_whole)
{
	struct mr_topology *t = &r->topology;
	struct mr_channel_record *c;
	mr_recovery_drop_plan(r);
	r->is_whole = false;
	if (is_whole ? !mr_plan_all(&r->plan, t, r->config->recover_topology)
		     : !mr_plan_repairs(&r->plan, t))
		return false;
	r->is_whole = is_whole;
	for (size_t at = 0; (c = mr_map_next(&t->channels, &at, NULL));) c->broken = false;
	return true;
}

/* ---- giving up ---- */

/* Reports to the host that its consumer has ended. */
void mr_recovery_tell_consumer_failed(struct mr_recovery *r, const struct mr_record *record)
{
	mr_event ev = {.type = MR_EV_CANCEL, .status = r->error.kind};
	ev.connection = r->connection;
	ev.channel = record->channel;
	ev.as.cancel.consumer = record->request.number;
	ev.as.cancel.error = mr_error_copy(&r->error);
	mr_recovery_push(r, &ev);
}

/* Removes the consumers of a channel. */
static void note_failure(struct mr_recovery *r, uint16_t channel)
{
	const struct mr_record *c = NULL;
	while ((c = mr_topology_next_on(&r->topology, channel, c)))
		mr_history_consumer(r->services->history, r->connection, c, r->error.text);
}

/* The channel cannot be opened, or its modes cannot be set: it ends, with its steps. */
void mr_recovery_give_channel_up(struct mr_recovery *r, uint16_t number)
{
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, number);
	mr_event ev = {.type = MR_EV_CHANNEL, .status = r->error.kind, .channel = number};
	if (!c) return; /* the program has closed it in the meantime */
	ev.connection = r->connection;
	ev.epoch = c->epoch;
	ev.as.channel.error = mr_error_copy(&r->error);
	note_failure(r, number);
	mr_topology_channel_closed(&r->topology, number);
	mr_recovery_push(r, &ev);
}
