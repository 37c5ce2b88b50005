/* plan: the steps of a recovery, in the order of the requests to the broker.
 * SPDX-License-Identifier: MIT */
#include "link/plan.h"

#include "base/alloc.h"

static struct mr_step *step_of(struct mr_node *node)
{
	return mr_container(node, struct mr_step, node);
}

void mr_plan_init(struct mr_plan *plan)
{
	*plan = (struct mr_plan){0};
	mr_list_init(&plan->steps);
}

const struct mr_step *mr_plan_step(const struct mr_plan *plan)
{
	return mr_list_is_empty(&plan->steps) ? NULL : step_of(plan->steps.next);
}

void mr_plan_next(struct mr_plan *plan) { mr_free(step_of(mr_list_shift(&plan->steps))); }

static void drop_steps(struct mr_node *steps)
{
	struct mr_node *node;
	while ((node = mr_list_shift(steps))) mr_free(step_of(node));
}

void mr_plan_drop(struct mr_plan *plan) { drop_steps(&plan->steps); }

/* ---- making it ---- */

static bool add(struct mr_node *steps, enum mr_step_kind kind, uint16_t channel, uint64_t record)
{
	struct mr_step *s = mr_calloc(1, sizeof *s);
	if (!s) return false;
	s->kind = kind;
	s->channel = channel;
	s->record = record;
	mr_list_append(steps, &s->node);
	return true;
}

static bool add_channel(struct mr_node *steps, const struct mr_channel_record *c)
{
	bool ok = add(steps, MR_STEP_OPEN, c->number, 0);
	if (ok && c->has_qos) ok = add(steps, MR_STEP_QOS, c->number, 0);
	if (ok && c->has_global_qos) ok = add(steps, MR_STEP_GLOBAL_QOS, c->number, 0);
	if (ok && c->confirming) ok = add(steps, MR_STEP_CONFIRM, c->number, 0);
	if (ok && c->transacting) ok = add(steps, MR_STEP_TX, c->number, 0);
	return ok;
}

/* Objects that were declared on a channel that is closed now still exist without it. */
static bool add_records(struct mr_plan *plan, const struct mr_topology *t, int operation)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(t, operation, record))) {
		bool is_alone = !mr_record_of_channel(t, record->channel);
		if (is_alone && !add(&plan->steps, MR_STEP_SCRATCH, 0, record->id)) return false;
		if (!add(&plan->steps, MR_STEP_RECORD, is_alone ? 0 : record->channel, record->id))
			return false;
	}
	return true;
}

/* Consumers that the broker has cancelled: their queues are probed first. */
static bool add_cancelled(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_record *record = NULL;
	bool ok = true;
	while (ok && (record = mr_topology_next(t, MR_BASIC_CONSUME, record)))
		if (record->cancelled)
			ok = add(&plan->steps, MR_STEP_SCRATCH, record->channel, record->id) &&
			     add(&plan->steps, MR_STEP_PROBE, record->channel, record->id) &&
			     add(&plan->steps, MR_STEP_RECORD, record->channel, record->id);
	return ok;
}

static bool add_consumers(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(t, MR_BASIC_CONSUME, record)))
		if (!record->cancelled &&
			!add(&plan->steps, MR_STEP_RECORD, record->channel, record->id))
			return false;
	return true;
}

static bool add_consumers_of(struct mr_plan *plan, const struct mr_topology *t, uint16_t channel)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next_on(t, channel, record)))
		if (!record->cancelled && !add(&plan->steps, MR_STEP_RECORD, channel, record->id))
			return false;
	return true;
}

static const struct mr_channel_record *next_channel(const struct mr_topology *t, size_t *at)
{
	return mr_map_next(&t->channels, at, NULL);
}

/* After the steps of all channels. */
static bool add_ready(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_channel_record *c;
	for (size_t at = 0; (c = next_channel(t, &at));)
		if (!add(&plan->steps, MR_STEP_READY, c->number, 0)) return false;
	return true;
}

static void begin(struct mr_plan *plan)
{
	mr_plan_drop(plan);
	plan->number++;
}

bool mr_plan_all(struct mr_plan *plan, const struct mr_topology *t, bool declares)
{
	const struct mr_channel_record *c;
	bool ok = true;
	begin(plan);
	for (size_t at = 0; ok && (c = next_channel(t, &at));) ok = add_channel(&plan->steps, c);
	if (ok && declares)
		ok = add_records(plan, t, MR_EXCHANGE_DECLARE) &&
		     add_records(plan, t, MR_QUEUE_DECLARE) &&
		     add_records(plan, t, MR_EXCHANGE_BIND) && add_records(plan, t, MR_QUEUE_BIND);
	ok = ok && add_consumers(plan, t) && add_cancelled(plan, t) && add_ready(plan, t);
	if (!ok) mr_plan_drop(plan);
	return ok && mr_plan_step(plan);
}

bool mr_plan_is_due(const struct mr_topology *t)
{
	const struct mr_channel_record *c;
	const struct mr_record *record = NULL;
	for (size_t at = 0; (c = next_channel(t, &at));)
		if (c->broken) return true;
	while ((record = mr_topology_next(t, MR_BASIC_CONSUME, record)))
		if (record->cancelled) return true;
	return false;
}

bool mr_plan_repairs(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_channel_record *c;
	bool ok = true;
	begin(plan);
	for (size_t at = 0; ok && (c = next_channel(t, &at));) {
		if (!c->broken) continue;
		ok = add_channel(&plan->steps, c) && add_consumers_of(plan, t, c->number) &&
		     add(&plan->steps, MR_STEP_READY, c->number, 0);
	}
	ok = ok && add_cancelled(plan, t);
	if (!ok) mr_plan_drop(plan);
	return ok && mr_plan_step(plan);
}

/* ---- when a step fails ---- */

/* Restarts consumers that were started on the channel before it was closed. */
static bool redo(const struct mr_plan *plan, const struct mr_topology *t, struct mr_node *steps,
	uint16_t channel)
{
	const struct mr_record *c = NULL;
	while ((c = mr_topology_next_on(t, channel, c)))
		if (c->made_in == plan->number && !add(steps, MR_STEP_RECORD, channel, c->id))
			return false;
	return true;
}

/* The field with the plan in which a channel was slow; NULL: the channel is gone. */
static uint32_t *slow_in(struct mr_plan *plan, const struct mr_topology *t, uint16_t channel)
{
	struct mr_channel_record *c = mr_record_of_channel(t, channel);
	if (!channel) return &plan->scratch_slow_in;
	return c ? &c->slow_in : NULL;
}

static bool is_slow(struct mr_plan *plan, const struct mr_topology *t, uint16_t channel)
{
	const uint32_t *slow = slow_in(plan, t, channel);
	return slow && *slow == plan->number;
}

/* Steps that need objects which slow channels have not declared yet must wait: their channels
 * become slow, too. True: one has become slow. */
static bool spread(struct mr_plan *plan, struct mr_topology *t)
{
	bool more = false;
	struct mr_node *all = &plan->steps;
	for (struct mr_node *n = all->next; n != all; n = n->next) {
		const struct mr_step *s = step_of(n);
		const struct mr_record *record = mr_record_by_id(t, s->record);
		uint32_t *slow = slow_in(plan, t, s->channel);
		if (!record || !slow) continue;
		if (*slow == plan->number) {
			mr_record_await(record, plan->number);
		} else if (mr_record_awaits(record, plan->number)) {
			*slow = plan->number;
			more = true;
		}
	}
	return more;
}

/* Moves the steps of slow channels after those of the others, in order, once for each channel. */
static void let_others_pass(struct mr_plan *plan, struct mr_topology *t, uint16_t channel)
{
	struct mr_node slow, fast, *node;
	uint32_t *flag = slow_in(plan, t, channel);
	if (!flag || *flag == plan->number) return;
	*flag = plan->number;
	while (spread(plan, t)) {}
	mr_list_init(&slow);
	mr_list_init(&fast);
	while ((node = mr_list_shift(&plan->steps)))
		mr_list_append(is_slow(plan, t, step_of(node)->channel) ? &slow : &fast, node);
	mr_list_splice(&plan->steps, &fast);
	mr_list_splice(&plan->steps, &slow);
}

/* True if a step needs the queue or the exchange that this record declares. */
static bool speaks_of(const struct mr_step *s, const struct mr_topology *t,
	const struct mr_record *declare)
{
	const struct mr_record *r = s->record ? mr_record_by_id(t, s->record) : NULL;
	return r && (r->place == declare->place || r->source == declare->place);
}

/* Inserts `steps` before the channel's next step, or before one that needs the object of `late`. */
static void put_before(struct mr_plan *plan, const struct mr_topology *t, uint16_t channel,
	const struct mr_record *late, struct mr_node *steps)
{
	struct mr_node *at = plan->steps.next;
	const struct mr_record *declare = late && late->place->declared == late ? late : NULL;
	while (at != &plan->steps && step_of(at)->channel != channel &&
		!(declare && speaks_of(step_of(at), t, declare)))
		at = at->next;
	mr_list_splice(at, steps);
}

bool mr_plan_check(struct mr_plan *plan, const struct mr_record *consumer)
{
	struct mr_node steps;
	mr_list_init(&steps);
	if (!add(&steps, MR_STEP_SCRATCH, 0, consumer->id) ||
		!add(&steps, MR_STEP_CHECK, 0, consumer->id)) {
		drop_steps(&steps);
		return false;
	}
	mr_list_splice(plan->steps.next, &steps);
	return true;
}

bool mr_plan_failed(struct mr_plan *plan, struct mr_topology *t, bool is_gone, bool again)
{
	struct mr_step s = *mr_plan_step(plan);
	const struct mr_channel_record *c = mr_record_of_channel(t, s.channel);
	const struct mr_record *late = again ? mr_record_by_id(t, s.record) : NULL;
	struct mr_node steps;
	mr_list_init(&steps);
	mr_plan_next(plan);
	bool ok = true;
	if (late) {
		mr_record_await(late, plan->number);
		ok = add(&steps, MR_STEP_PAUSE, s.channel, 0);
	}
	if (ok && is_gone && c) ok = add_channel(&steps, c) && redo(plan, t, &steps, s.channel);
	if (ok && again && !c) ok = add(&steps, MR_STEP_SCRATCH, 0, s.record);
	if (ok && again) ok = add(&steps, s.kind, s.channel, s.record);
	if (!ok) {
		drop_steps(&steps);
		return false;
	}
	if (s.channel || again) let_others_pass(plan, t, s.channel);
	put_before(plan, t, s.channel, late, &steps);
	return true;
}
