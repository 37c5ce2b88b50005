/* replay: goes through the tracks of a plan side by side.
 * SPDX-License-Identifier: MIT */
#include "link/replay.h"

#include <string.h>

#include "link/failure.h"
#include "link/repair.h"
#include "link/step.h"

#define USABLE_TIME 1000 /* ms after which a recovery holds up nobody who needs the connection */

/* ---- the end of a plan ---- */

static void whole_is_done(struct mr_recovery *r)
{
	r->is_whole = false;
	mr_error_keep(&r->over_limit, NULL);
	r->met_limit = false;
	mr_failure_forgive(r);
	r->port.recovered(r->port.owner, r->restored, r->report);
	r->report = r->failed = NULL;
	mr_failure_drop_report(r);
}

static void all_is_done(struct mr_recovery *r)
{
	mr_step_leave_scratch(r);
	r->locked_since = 0;
	mr_timer_stop(&r->pace);
	if (!r->failures && !ev_is_active(&r->repair.ev)) r->repairs = 0;
	mr_failure_drop_report(r);
}

/* What broke while its track was being worked through is repaired later. */
static void end_track(struct mr_recovery *r, struct mr_track *track)
{
	uint16_t channel = track->channel;
	mr_recovery_end_track(r, track);
	if (channel && mr_plan_is_due(&r->topology, channel) && !ev_is_active(&r->repair.ev))
		mr_repair_plan(r, 0, NULL, MR_CANCELLED);
}

/* ---- the tracks ---- */

static bool is_open(const struct mr_recovery *r)
{
	return r->port.state(r->port.owner) == MR_SESSION_OPEN;
}

/* Goes on as far as possible without an answer. True: something has ended that others may wait
 * for. */
static bool go_through(struct mr_recovery *r, struct mr_track *track, bool is_alone)
{
	bool moved = false;
	while (mr_plan_step(track) && is_open(r)) {
		if (track->asked->waiting && !track->asked->answered) return moved;
		if (track->asked->waiting) {
			mr_step_end(r, track);
		} else {
			enum mr_begun begun = mr_step_begin(r, track, is_alone);
			if (begun == MR_HELD || (begun == MR_BEGUN && is_alone)) return moved;
			if (begun == MR_BEGUN) continue;
			mr_plan_next(&r->plan, &r->topology, track);
		}
		moved = true;
	}
	return moved;
}

static bool go_through_all(struct mr_recovery *r)
{
	struct mr_track *track = mr_plan_next_track(&r->plan, NULL), *next;
	bool moved = false;
	for (; track && is_open(r); track = next) {
		next = mr_plan_next_track(&r->plan, track);
		if (go_through(r, track, false)) moved = true;
		if (!mr_plan_step(track)) end_track(r, track);
	}
	return moved;
}

/* Nothing is on its way: the first track whose step must be alone may request it. */
static bool go_through_one(struct mr_recovery *r)
{
	struct mr_track *track = mr_plan_next_track(&r->plan, NULL), *next;
	bool moved = false;
	for (; track && !r->waiting && is_open(r); track = next) {
		next = mr_plan_next_track(&r->plan, track);
		if (go_through(r, track, true)) moved = true;
		if (!mr_plan_step(track)) end_track(r, track);
	}
	return moved;
}

/* Wakes when the first pause, or the patience of a channel or of those who wait, is over. */
static void pace(struct mr_recovery *r, mr_msec usable_at)
{
	const struct mr_track *track = NULL;
	mr_msec first = r->is_whole && !r->is_usable ? usable_at : MR_NEVER;
	while ((track = mr_plan_next_track(&r->plan, track)))
		if (track->asked->until && track->asked->until < first) first = track->asked->until;
	mr_timer_arm(&r->pace, first);
}

void mr_replay_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_recovery *r = timer->data;
	(void)loop;
	(void)revents;
	if (r->opened_at) r->port.touch(r->port.owner);
}

void mr_replay_go_on(struct mr_recovery *r)
{
	mr_msec usable_at = r->opened_at + USABLE_TIME;
	if (mr_plan_is_empty(&r->plan)) return;
	while (go_through_all(r) || (!r->waiting && go_through_one(r))) {}
	if (!is_open(r)) return;
	if (r->is_whole && !r->plan.whole_left) whole_is_done(r);
	if (r->is_whole && !r->is_usable && mr_clock_now() >= usable_at) {
		r->is_usable = true;
		r->port.usable(r->port.owner);
	}
	if (mr_plan_is_empty(&r->plan))
		all_is_done(r);
	else
		pace(r, usable_at);
}

/* ---- what comes of it ---- */

static bool opens(const struct mr_step *s)
{
	return s && (s->kind == MR_STEP_OPEN || s->kind == MR_STEP_SCRATCH);
}

/* RabbitMQ may still count the channels of the connection that was lost, so the first refusal means
 * little. After the second, to restore as many again would cost the connection again. */
static void note_limit(struct mr_recovery *r, const mr_error *why)
{
	if (!r->is_whole || why->kind != MR_CHANNEL_LIMIT_REACHED) return;
	if (!r->met_limit) {
		r->met_limit = true;
		return;
	}
	r->most = r->opened;
	mr_error of_channel = *why;
	of_channel.scope = MR_SCOPE_CHANNEL;
	mr_error_keep(&r->over_limit, &of_channel);
}

void mr_replay_answered(struct mr_recovery *r, const mr_event *ev)
{
	const mr_reply *reply = ev->as.done.reply;
	uint64_t token = ev->as.done.token;
	const struct mr_track *track = mr_plan_track(&r->plan, (uint16_t)token);
	struct mr_asked *a = track ? track->asked : NULL;
	if (!a || a->token != token || !a->waiting) return;
	a->answered = true;
	if (ev->status == MR_OK && opens(mr_plan_step(track))) r->opened++;
	memset(&a->error, 0, sizeof a->error);
	a->error.kind = ev->status;
	if (reply) a->error = reply->error;
	a->consumers = reply ? reply->consumer_count : 0;
	a->messages = reply ? reply->message_count : 0;
	a->name[0] = '\0';
	if (reply) memcpy(a->name, reply->name, sizeof a->name);
	r->port.touch(r->port.owner);
}

bool mr_replay_ended(const struct mr_recovery *r, const mr_event *ev)
{
	bool is_scratch = r->scratch && ev->channel == r->scratch && ev->epoch == r->scratch_epoch;
	const struct mr_track *track = mr_plan_track(&r->plan, ev->channel);
	const struct mr_step *s = track ? mr_plan_step(track) : NULL;
	bool is_step = s && track->asked->waiting && !track->asked->answered &&
	               ev->epoch >= MR_RECOVERY_EPOCHS && s->channel == ev->channel;
	return is_scratch || (is_step && is_open(r));
}

void mr_replay_lost(struct mr_recovery *r, const mr_error *why)
{
	if (why) note_limit(r, why);
	if (why) mr_failure_blame(r, why);
	mr_recovery_drop_plan(r);
	r->scratch = 0;
	r->locked_since = 0;
	mr_failure_drop_report(r);
}
