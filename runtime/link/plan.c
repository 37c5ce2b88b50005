/* plan: the steps of a recovery, in the order in which the broker is asked.
 * SPDX-License-Identifier: MIT */
#include "link/plan.h"

#include <string.h>

#include "base/alloc.h"

static struct mr_step *step_of(struct mr_node *node)
{
	return mr_container(node, struct mr_step, node);
}

struct mr_step *mr_plan_step(const struct mr_recovery *r)
{
	return mr_list_is_empty(&r->steps) ? NULL : step_of(r->steps.next);
}

void mr_plan_next(struct mr_recovery *r) { mr_free(step_of(mr_list_shift(&r->steps))); }

static void drop_steps(struct mr_node *steps)
{
	struct mr_node *node;
	while ((node = mr_list_shift(steps))) mr_free(step_of(node));
}

void mr_plan_drop(struct mr_recovery *r)
{
	drop_steps(&r->steps);
	r->waiting = r->answered = false;
	r->token = 0;
}

static bool add_to(struct mr_node *steps, enum mr_step_kind kind, uint16_t channel, uint64_t record)
{
	struct mr_step *s = mr_calloc(1, sizeof *s);
	if (!s) return false;
	s->kind = kind;
	s->channel = channel;
	s->record = record;
	mr_list_append(steps, &s->node);
	return true;
}

static bool add(struct mr_recovery *r, enum mr_step_kind kind, uint16_t channel, uint64_t record)
{
	return add_to(&r->steps, kind, channel, record);
}

static bool add_channel(struct mr_node *steps, const struct mr_channel_record *c)
{
	bool ok = add_to(steps, MR_STEP_OPEN, c->number, 0);
	if (ok && c->has_qos) ok = add_to(steps, MR_STEP_QOS, c->number, 0);
	if (ok && c->has_global_qos) ok = add_to(steps, MR_STEP_GLOBAL_QOS, c->number, 0);
	if (ok && c->confirming) ok = add_to(steps, MR_STEP_CONFIRM, c->number, 0);
	if (ok && c->transacting) ok = add_to(steps, MR_STEP_TX, c->number, 0);
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

static bool add_consumers(struct mr_recovery *r)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(&r->topology, MR_BASIC_CONSUME, record)))
		if (!record->cancelled && !add(r, MR_STEP_RECORD, record->channel, record->id))
			return false;
	return true;
}

static bool add_consumers_of(struct mr_recovery *r, uint16_t channel)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next_on(&r->topology, channel, record)))
		if (!record->cancelled && !add(r, MR_STEP_RECORD, channel, record->id))
			return false;
	return true;
}

static struct mr_channel_record *next_channel(const struct mr_recovery *r, size_t *at)
{
	return mr_map_next(&r->topology.channels, at, NULL);
}

/* Behind what is to be made again on all channels. */
static bool add_ready(struct mr_recovery *r)
{
	struct mr_channel_record *c;
	for (size_t at = 0; (c = next_channel(r, &at));)
		if (!add(r, MR_STEP_READY, c->number, 0)) return false;
	return true;
}

static void begin(struct mr_recovery *r)
{
	struct mr_channel_record *c;
	mr_plan_drop(r);
	r->plans++;
	r->scratch_slow = false;
	for (size_t at = 0; (c = next_channel(r, &at));) c->slow = c->probes = false;
}

bool mr_plan_all(struct mr_recovery *r, bool topology)
{
	struct mr_channel_record *c;
	bool ok = true;
	begin(r);
	for (size_t at = 0; ok && (c = next_channel(r, &at));) {
		c->broken = false;
		ok = add_channel(&r->steps, c);
	}
	if (ok && topology)
		ok = add_records(r, MR_EXCHANGE_DECLARE) && add_records(r, MR_QUEUE_DECLARE) &&
		     add_records(r, MR_EXCHANGE_BIND) && add_records(r, MR_QUEUE_BIND);
	ok = ok && add_consumers(r) && add_cancelled(r) && add_ready(r);
	if (!ok) mr_plan_drop(r);
	return ok && mr_plan_step(r);
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
	begin(r);
	for (size_t at = 0; ok && (c = next_channel(r, &at));) {
		if (!c->broken) continue;
		c->broken = false;
		ok = add_channel(&r->steps, c) && add_consumers_of(r, c->number) &&
		     add(r, MR_STEP_READY, c->number, 0);
	}
	ok = ok && add_cancelled(r);
	if (!ok) mr_plan_drop(r);
	return ok && mr_plan_step(r);
}

/* ---- when a step fails ---- */

/* Consumers that were started on the channel before it went are to be started again. */
static bool redo(struct mr_recovery *r, struct mr_node *steps, uint16_t channel)
{
	const struct mr_record *c = NULL;
	while ((c = mr_topology_next_on(&r->topology, channel, c)))
		if (c->made_in == r->plans && !add_to(steps, MR_STEP_RECORD, channel, c->id))
			return false;
	return true;
}

static bool *slow_flag(struct mr_recovery *r, uint16_t channel)
{
	struct mr_channel_record *c = mr_topology_channel_of(&r->topology, channel);
	if (!channel) return &r->scratch_slow;
	return c ? &c->slow : NULL;
}

static bool is_slow(struct mr_recovery *r, const struct mr_step *s)
{
	const bool *slow = slow_flag(r, s->channel);
	return slow && *slow;
}

/* What the steps of slow channels have yet to declare is awaited by those that speak of it: their channels
 * are slow, too. True: one has become so. */
static bool spread(struct mr_recovery *r)
{
	bool more = false;
	struct mr_node *all = &r->steps;
	for (struct mr_node *n = all->next; n != all; n = n->next) {
		const struct mr_step *s = step_of(n);
		const struct mr_record *record = mr_topology_record(&r->topology, s->record);
		bool *slow = slow_flag(r, s->channel);
		if (!record || !slow) continue;
		if (*slow)
			mr_topology_await(record, r->plans);
		else if (mr_topology_awaits(record, r->plans))
			more = *slow = true;
	}
	return more;
}

/* The steps of slow channels go behind those of the others, in their order. Once for each channel. */
static void let_others_pass(struct mr_recovery *r, uint16_t channel)
{
	struct mr_node slow, fast, *node;
	bool *flag = slow_flag(r, channel);
	if (!flag || *flag) return;
	*flag = true;
	while (spread(r)) {}
	mr_list_init(&slow);
	mr_list_init(&fast);
	while ((node = mr_list_shift(&r->steps)))
		mr_list_append(is_slow(r, step_of(node)) ? &slow : &fast, node);
	while ((node = mr_list_shift(&fast))) mr_list_append(&r->steps, node);
	while ((node = mr_list_shift(&slow))) mr_list_append(&r->steps, node);
}

/* Puts `steps` where the plan comes to the channel's next one. */
static void put_before(struct mr_recovery *r, uint16_t channel, struct mr_node *steps)
{
	struct mr_node *at = r->steps.next, *node;
	while (at != &r->steps && step_of(at)->channel != channel) at = at->next;
	while ((node = mr_list_shift(steps))) mr_list_append(at, node); /* before `at` */
}

bool mr_plan_check(struct mr_recovery *r, const struct mr_record *consumer)
{
	struct mr_node steps, *node;
	mr_list_init(&steps);
	if (!add_to(&steps, MR_STEP_SCRATCH, 0, consumer->id) ||
		!add_to(&steps, MR_STEP_CHECK, 0, consumer->id)) {
		drop_steps(&steps);
		return false;
	}
	struct mr_node *first = r->steps.next;
	while ((node = mr_list_shift(&steps))) mr_list_append(first, node); /* before it */
	return true;
}

bool mr_plan_failed(struct mr_recovery *r, bool is_gone, bool again)
{
	struct mr_step s = *mr_plan_step(r);
	struct mr_channel_record *c = mr_topology_channel_of(&r->topology, s.channel);
	const struct mr_record *record = mr_topology_record(&r->topology, s.record);
	struct mr_node steps;
	mr_list_init(&steps);
	mr_plan_next(r);
	bool ok = true;
	if (again && record) {
		mr_topology_await(record, r->plans);
		ok = add_to(&steps, MR_STEP_PAUSE, s.channel, 0);
	}
	if (ok && is_gone && c) ok = add_channel(&steps, c) && redo(r, &steps, s.channel);
	if (ok && again && !c) ok = add_to(&steps, MR_STEP_SCRATCH, 0, s.record);
	if (ok && again) ok = add_to(&steps, s.kind, s.channel, s.record);
	if (!ok) {
		drop_steps(&steps);
		return false;
	}
	if (s.channel || again) let_others_pass(r, s.channel);
	put_before(r, s.channel, &steps);
	return true;
}
