/* plan: the steps of a recovery, in tracks: one for each channel, in the order of its requests.
 * SPDX-License-Identifier: MIT */
#include "link/plan.h"

#include "base/alloc.h"

static struct mr_step *step_of(struct mr_node *node)
{
	return mr_container(node, struct mr_step, node);
}

static struct mr_track *track_of(struct mr_node *node)
{
	return mr_container(node, struct mr_track, node);
}

/* ---- life ---- */

void mr_plan_init(struct mr_plan *plan)
{
	*plan = (struct mr_plan){0};
	mr_list_init(&plan->tracks);
}

bool mr_plan_is_empty(const struct mr_plan *plan) { return mr_list_is_empty(&plan->tracks); }

static void free_step(struct mr_plan *plan, struct mr_step *s)
{
	if (s->is_counted_on) plan->topology_left--;
	mr_free(s);
}

static void drop_steps(struct mr_plan *plan, struct mr_node *steps)
{
	struct mr_node *node;
	while ((node = mr_list_shift(steps))) free_step(plan, step_of(node));
}

void mr_plan_end_track(struct mr_plan *plan, struct mr_track *track)
{
	mr_map_take(&plan->by_channel, track->channel);
	mr_list_remove(&track->node);
	drop_steps(plan, &track->steps);
	if (track->is_whole) plan->whole_left--;
	mr_free(track);
}

void mr_plan_drop(struct mr_plan *plan)
{
	while (!mr_plan_is_empty(plan)) mr_plan_end_track(plan, track_of(plan->tracks.next));
}

void mr_plan_fini(struct mr_plan *plan)
{
	mr_plan_drop(plan);
	mr_map_fini(&plan->by_channel);
}

/* ---- tracks ---- */

struct mr_track *mr_plan_track(const struct mr_plan *plan, uint16_t channel)
{
	return mr_map_get(&plan->by_channel, channel);
}

struct mr_track *mr_plan_next_track(const struct mr_plan *plan, const struct mr_track *after)
{
	struct mr_node *n = after ? after->node.next : plan->tracks.next;
	return n == &plan->tracks ? NULL : track_of(n);
}

static struct mr_track *add_track(struct mr_plan *plan, uint16_t channel)
{
	struct mr_track *track = mr_calloc(1, sizeof *track);
	if (!track || mr_map_put(&plan->by_channel, channel, track) != MR_OK) {
		mr_free(track);
		return NULL;
	}
	track->channel = channel;
	track->number = plan->number;
	mr_list_init(&track->steps);
	mr_list_append(&plan->tracks, &track->node);
	return track;
}

/* ---- making it ---- */

static struct mr_step *new_step(struct mr_node *steps, enum mr_step_kind kind, uint16_t channel,
	uint64_t record)
{
	struct mr_step *s = mr_calloc(1, sizeof *s);
	if (!s) return NULL;
	s->kind = kind;
	s->channel = channel;
	s->record = record;
	mr_list_append(steps, &s->node);
	return s;
}

static bool add(struct mr_node *steps, enum mr_step_kind kind, uint16_t channel, uint64_t record)
{
	return new_step(steps, kind, channel, record) != NULL;
}

static bool add_modes(struct mr_node *steps, const struct mr_channel_record *c)
{
	bool ok = add(steps, MR_STEP_OPEN, c->number, 0);
	if (ok && c->has_qos) ok = add(steps, MR_STEP_QOS, c->number, 0);
	if (ok && c->has_global_qos) ok = add(steps, MR_STEP_GLOBAL_QOS, c->number, 0);
	if (ok && c->confirming) ok = add(steps, MR_STEP_CONFIRM, c->number, 0);
	if (ok && c->transacting) ok = add(steps, MR_STEP_TX, c->number, 0);
	return ok;
}

static const struct mr_channel_record *next_channel(const struct mr_topology *t, size_t *at)
{
	return mr_map_next(&t->channels, at, NULL);
}

/* A track with the modes of each channel. */
static bool add_channels(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_channel_record *c;
	for (size_t at = 0; (c = next_channel(t, &at));) {
		struct mr_track *track = add_track(plan, c->number);
		if (!track || !add_modes(&track->steps, c)) return false;
		track->is_whole = true;
		plan->whole_left++;
	}
	return true;
}

/* Objects that were declared on a channel that is closed now still exist without it. */
static struct mr_track *track_for(struct mr_plan *plan, const struct mr_record *record)
{
	struct mr_track *track = mr_plan_track(plan, record->channel);
	if (!track) track = mr_plan_track(plan, 0);
	if (track || !(track = add_track(plan, 0))) return track;
	track->is_whole = true;
	plan->whole_left++;
	return track;
}

static bool add_topology(struct mr_plan *plan, struct mr_topology *t, int operation)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(t, operation, record))) {
		struct mr_track *track = track_for(plan, record);
		if (!track) return false;
		if (!track->channel && !add(&track->steps, MR_STEP_SCRATCH, 0, record->id))
			return false;
		struct mr_step *s =
			new_step(&track->steps, MR_STEP_RECORD, track->channel, record->id);
		if (!s) return false;
		s->is_counted_on = true;
		plan->topology_left++;
		mr_record_await(record, plan->number);
	}
	return true;
}

static bool add_consumers(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(t, MR_BASIC_CONSUME, record))) {
		struct mr_track *track = mr_plan_track(plan, record->channel);
		if (!record->cancelled && track &&
			!add(&track->steps, MR_STEP_RECORD, record->channel, record->id))
			return false;
	}
	return true;
}

/* The broker has cancelled the consumer: its queue is probed first. */
static bool add_probe(struct mr_node *steps, const struct mr_record *record)
{
	return add(steps, MR_STEP_SCRATCH, record->channel, record->id) &&
	       add(steps, MR_STEP_PROBE, record->channel, record->id) &&
	       add(steps, MR_STEP_RECORD, record->channel, record->id);
}

/* Returns false if there was no memory. */
static bool add_cancelled(struct mr_plan *plan, const struct mr_topology *t, uint32_t only_since)
{
	const struct mr_record *record = NULL;
	while ((record = mr_topology_next(t, MR_BASIC_CONSUME, record))) {
		if (!record->cancelled) continue;
		struct mr_track *track = mr_plan_track(plan, record->channel);
		if (!track) track = add_track(plan, record->channel);
		if (!track) return false;
		if (track->number >= only_since && !add_probe(&track->steps, record)) return false;
	}
	return true;
}

static bool add_ready(struct mr_plan *plan)
{
	struct mr_track *track = NULL;
	while ((track = mr_plan_next_track(plan, track)))
		if (track->channel && !add(&track->steps, MR_STEP_READY, track->channel, 0))
			return false;
	return true;
}

bool mr_plan_all(struct mr_plan *plan, struct mr_topology *t, bool declares)
{
	mr_plan_drop(plan);
	plan->declares_in = ++plan->number;
	bool ok = add_channels(plan, t);
	if (ok && declares)
		ok = add_topology(plan, t, MR_EXCHANGE_DECLARE) &&
		     add_topology(plan, t, MR_QUEUE_DECLARE) &&
		     add_topology(plan, t, MR_EXCHANGE_BIND) &&
		     add_topology(plan, t, MR_QUEUE_BIND);
	ok = ok && add_consumers(plan, t) && add_cancelled(plan, t, plan->number) &&
	     add_ready(plan);
	if (!ok) mr_plan_drop(plan);
	return ok && !mr_plan_is_empty(plan);
}

bool mr_plan_is_due(const struct mr_topology *t, uint16_t channel)
{
	const struct mr_channel_record *c = mr_record_of_channel(t, channel);
	const struct mr_record *record = NULL;
	if (c && c->broken) return true;
	while ((record = mr_topology_next_on(t, channel, record)))
		if (record->cancelled) return true;
	return false;
}

static bool add_broken(struct mr_plan *plan, const struct mr_topology *t,
	const struct mr_channel_record *c)
{
	const struct mr_record *record = NULL;
	struct mr_track *track = add_track(plan, c->number);
	bool ok = track && add_modes(&track->steps, c);
	while (ok && (record = mr_topology_next_on(t, c->number, record)))
		if (!record->cancelled)
			ok = add(&track->steps, MR_STEP_RECORD, c->number, record->id);
	return ok && add(&track->steps, MR_STEP_READY, c->number, 0);
}

static void drop_since(struct mr_plan *plan, uint32_t number)
{
	struct mr_track *track = mr_plan_next_track(plan, NULL), *next;
	for (; track; track = next) {
		next = mr_plan_next_track(plan, track);
		if (track->number >= number) mr_plan_end_track(plan, track);
	}
}

bool mr_plan_repairs(struct mr_plan *plan, const struct mr_topology *t)
{
	const struct mr_channel_record *c;
	uint32_t number = ++plan->number;
	bool ok = true;
	for (size_t at = 0; ok && (c = next_channel(t, &at));)
		if (c->broken && !mr_plan_track(plan, c->number)) ok = add_broken(plan, t, c);
	ok = ok && add_cancelled(plan, t, number);
	if (!ok) drop_since(plan, number);
	if (mr_plan_is_empty(plan)) return false;
	return ok && track_of(plan->tracks.prev)->number == number;
}

/* ---- going through a track ---- */

const struct mr_step *mr_plan_step(const struct mr_track *track)
{
	return mr_list_is_empty(&track->steps) ? NULL : step_of(track->steps.next);
}

bool mr_plan_is_ready(const struct mr_plan *plan, const struct mr_topology *t,
	const struct mr_track *track)
{
	const struct mr_step *s = mr_plan_step(track);
	const struct mr_record *record = s->record ? mr_record_by_id(t, s->record) : NULL;
	return s->kind != MR_STEP_RECORD || !record || !mr_record_awaits(record, plan->declares_in);
}

static void end_step(struct mr_plan *plan, struct mr_track *track)
{
	free_step(plan, step_of(mr_list_shift(&track->steps)));
}

void mr_plan_next(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track)
{
	const struct mr_step *s = mr_plan_step(track);
	const struct mr_record *record = s->record ? mr_record_by_id(t, s->record) : NULL;
	if (s->kind == MR_STEP_RECORD && record) mr_record_await(record, 0);
	end_step(plan, track);
}

/* ---- when a step fails ---- */

/* Restarts consumers that were started on the channel before it was closed. */
static bool redo(const struct mr_track *track, const struct mr_topology *t, struct mr_node *steps)
{
	const struct mr_record *c = NULL;
	while ((c = mr_topology_next_on(t, track->channel, c)))
		if (c->made_in >= track->number && !c->cancelled &&
			!add(steps, MR_STEP_RECORD, track->channel, c->id))
			return false;
	return true;
}

static void put_before(struct mr_track *track, struct mr_node *steps)
{
	mr_list_splice(track->steps.next, steps);
}

bool mr_plan_reopen(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track)
{
	const struct mr_channel_record *c = mr_record_of_channel(t, track->channel);
	struct mr_node steps;
	mr_list_init(&steps);
	if (!c || !track->is_whole || !add_modes(&steps, c) || !redo(track, t, &steps)) {
		drop_steps(plan, &steps);
		return false;
	}
	put_before(track, &steps);
	return true;
}

bool mr_plan_check(struct mr_plan *plan, struct mr_track *track, const struct mr_record *consumer)
{
	struct mr_node steps;
	mr_list_init(&steps);
	if (!add(&steps, MR_STEP_SCRATCH, 0, consumer->id) ||
		!add(&steps, MR_STEP_CHECK, 0, consumer->id)) {
		drop_steps(plan, &steps);
		return false;
	}
	put_before(track, &steps);
	return true;
}

bool mr_plan_failed(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track,
	bool is_gone, bool again)
{
	struct mr_step s = *mr_plan_step(track);
	const struct mr_channel_record *c = mr_record_of_channel(t, s.channel);
	struct mr_node steps;
	bool ok = true;
	mr_list_init(&steps);
	if (again) ok = add(&steps, MR_STEP_PAUSE, s.channel, 0);
	if (ok && is_gone && c) ok = add_modes(&steps, c) && redo(track, t, &steps);
	if (ok && again && !c) ok = add(&steps, MR_STEP_SCRATCH, 0, s.record);
	if (ok && again) ok = add(&steps, s.kind, s.channel, s.record);
	if (!ok) {
		drop_steps(plan, &steps);
		mr_plan_next(plan, t, track);
		return false;
	}
	if (again)
		end_step(plan, track); /* what needs its object goes on waiting */
	else
		mr_plan_next(plan, t, track);
	put_before(track, &steps);
	return true;
}

/* ---- looking at consumers ---- */

bool mr_plan_look(struct mr_plan *plan, const struct mr_record *consumer)
{
	struct mr_track *track = mr_plan_track(plan, 0);
	if (!track) plan->number++;
	if (!track) track = add_track(plan, 0);
	return track && add(&track->steps, MR_STEP_SCRATCH, 0, consumer->id) &&
	       add(&track->steps, MR_STEP_LOOK, 0, consumer->id);
}

bool mr_plan_cancel(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track)
{
	struct mr_step look = *mr_plan_step(track);
	const struct mr_record *record = mr_record_by_id(t, look.record);
	struct mr_node steps;
	mr_list_init(&steps);
	bool ok = record && add(&steps, MR_STEP_CANCEL, record->channel, look.record);
	mr_plan_next(plan, t, track);
	put_before(track, &steps);
	return ok;
}
