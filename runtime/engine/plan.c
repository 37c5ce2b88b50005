/* plan: the steps of a recovery, in the order in which the broker is asked.
 * SPDX-License-Identifier: MIT */
#include "engine/plan.h"

#include <string.h>

#include "base/alloc.h"

void mr_plan_drop(struct mr_recovery *r)
{
	r->count = r->at = 0;
	r->waiting = r->answered = false;
	r->token = 0;
}

static bool add(struct mr_recovery *r, enum mr_step_kind kind, uint16_t channel, uint64_t record)
{
	if (r->count == r->capacity) {
		size_t capacity = r->capacity ? r->capacity * 2 : 16;
		struct mr_step *steps = mr_realloc(r->steps, capacity * sizeof *steps);
		if (!steps) return false;
		r->steps = steps;
		r->capacity = capacity;
	}
	r->steps[r->count++] = (struct mr_step){.kind = kind, .channel = channel, .record = record};
	return true;
}

static bool add_channel(struct mr_recovery *r, const struct mr_channel_record *c)
{
	bool ok = add(r, MR_STEP_OPEN, c->number, 0);
	if (ok && c->has_qos) ok = add(r, MR_STEP_QOS, c->number, 0);
	if (ok && c->has_global_qos) ok = add(r, MR_STEP_GLOBAL_QOS, c->number, 0);
	if (ok && c->confirming) ok = add(r, MR_STEP_CONFIRM, c->number, 0);
	if (ok && c->transacting) ok = add(r, MR_STEP_TX, c->number, 0);
	return ok;
}

/* What was declared on a channel that is closed by now lives on without it. */
static bool add_records(struct mr_recovery *r, int operation)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(&r->topology, operation, record))) {
		bool is_alone = !mr_topology_channel_of(&r->topology, record->channel);
		if (is_alone && !add(r, MR_STEP_SCRATCH, 0, record->id)) return false;
		if (!add(r, MR_STEP_RECORD, is_alone ? 0 : record->channel, record->id))
			return false;
	}
	return true;
}

/* Those that the broker has cancelled: their queues are looked for first. */
static bool add_cancelled(struct mr_recovery *r)
{
	const struct mr_record *record = NULL;
	bool ok = true;
	while (ok && (record = mr_topology_next(&r->topology, MR_BASIC_CONSUME, record)))
		if (record->cancelled)
			ok = add(r, MR_STEP_SCRATCH, record->channel, record->id) &&
			     add(r, MR_STEP_PROBE, record->channel, record->id) &&
			     add(r, MR_STEP_RECORD, record->channel, record->id);
	return ok;
}

static bool add_consumers(struct mr_recovery *r, uint16_t channel) /* 0: of all channels */
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(&r->topology, MR_BASIC_CONSUME, record))) {
		bool is_meant = (!channel || record->channel == channel) && !record->cancelled;
		if (is_meant && !add(r, MR_STEP_RECORD, record->channel, record->id)) return false;
	}
	return true;
}

static struct mr_channel_record *next_channel(const struct mr_recovery *r, size_t *at)
{
	return mr_map_next(&r->topology.channels, at, NULL);
}

static bool add_ready(struct mr_recovery *r)
{
	struct mr_channel_record *c;
	for (size_t at = 0; (c = next_channel(r, &at));)
		if (!add(r, MR_STEP_READY, c->number, 0)) return false;
	return true;
}

bool mr_plan_all(struct mr_recovery *r, bool topology)
{
	struct mr_channel_record *c;
	bool ok = true;
	mr_plan_drop(r);
	for (size_t at = 0; ok && (c = next_channel(r, &at));) {
		c->broken = false;
		ok = add_channel(r, c);
	}
	if (ok && topology)
		ok = add_records(r, MR_EXCHANGE_DECLARE) && add_records(r, MR_QUEUE_DECLARE) &&
		     add_records(r, MR_EXCHANGE_BIND) && add_records(r, MR_QUEUE_BIND);
	ok = ok && add_consumers(r, 0) && add_cancelled(r) && add_ready(r);
	if (!ok) mr_plan_drop(r);
	return ok && r->count > 0;
}

bool mr_plan_is_due(const struct mr_recovery *r)
{
	const struct mr_channel_record *c;
	const struct mr_record *record = NULL;
	for (size_t at = 0; (c = next_channel(r, &at));)
		if (c->broken) return true;
	while ((record = mr_topology_next(&r->topology, MR_BASIC_CONSUME, record)))
		if (record->cancelled) return true;
	return false;
}

bool mr_plan_repairs(struct mr_recovery *r)
{
	struct mr_channel_record *c;
	bool ok = true;
	mr_plan_drop(r);
	for (size_t at = 0; ok && (c = next_channel(r, &at));) {
		if (!c->broken) continue;
		c->broken = false;
		ok = add_channel(r, c) && add_consumers(r, c->number) &&
		     add(r, MR_STEP_READY, c->number, 0);
	}
	ok = ok && add_cancelled(r);
	if (!ok) mr_plan_drop(r);
	return ok && r->count > 0;
}

/* Consumers that were started on the channel before it went are to be started again. */
static bool redo(struct mr_recovery *r, uint16_t channel, size_t before)
{
	for (size_t i = 0; i < before; i++) {
		struct mr_step s = r->steps[i];
		const struct mr_record *record = mr_topology_record(&r->topology, s.record);
		bool is_consumer = s.kind == MR_STEP_RECORD && record &&
		                   record->request.operation == MR_BASIC_CONSUME;
		if (s.channel == channel && s.done && is_consumer &&
			!add(r, MR_STEP_RECORD, channel, s.record))
			return false;
	}
	return true;
}

bool mr_plan_reopen(struct mr_recovery *r, uint16_t channel, bool again)
{
	const struct mr_channel_record *c = mr_topology_channel_of(&r->topology, channel);
	size_t from = again ? r->at : r->at + 1, rest = r->count - from, at = r->at;
	struct mr_step *later = mr_malloc((rest + 1) * sizeof *later);
	if (!c || !later) {
		mr_free(later);
		return false;
	}
	memcpy(later, r->steps + from, rest * sizeof *later);
	r->count =
		at + 1; /* the step itself stays where it is: its record may be asked for later */
	bool ok = add_channel(r, c) && redo(r, channel, at);
	for (size_t i = 0; ok && i < rest; i++)
		ok = add(r, later[i].kind, later[i].channel, later[i].record);
	mr_free(later);
	r->at = at + 1;
	return ok;
}
