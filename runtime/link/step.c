/* step: requests one step of a plan, and handles its answer.
 * SPDX-License-Identifier: MIT */
#include "link/step.h"

#include "link/failure.h"
#include "link/idle.h"
#include "link/repair.h"
#include "link/streams.h"

#define LOCKED_PAUSE 500    /* ms between two looks at a queue that a dead connection locks */
#define LOCKED_MAX 120000   /* ms: two heartbeats of RabbitMQ's own 60 s */
#define READY_PATIENCE 1000 /* ms that a channel waits for what other channels declare */

static struct mr_record *record_of(struct mr_recovery *r, const struct mr_step *s)
{
	return s->record ? mr_record_by_id(&r->topology, s->record) : NULL;
}

static bool is_consume(const struct mr_step *s, const struct mr_record *record)
{
	return s->kind == MR_STEP_RECORD && record && record->request.operation == MR_BASIC_CONSUME;
}

/* ---- requests ---- */

static bool has_channel(const struct mr_recovery *r, uint16_t number)
{
	return r->port.has_channel(r->port.owner, number);
}

static void ask(struct mr_recovery *r, const struct mr_track *track, const struct mr_ask *what)
{
	struct mr_ask a = *what;
	a.token = track->asked->token;
	a.deadline = mr_clock_now() + r->config->rpc_timeout;
	r->port.ask(r->port.owner, &a);
}

static uint32_t next_epoch(struct mr_recovery *r)
{
	return MR_RECOVERY_EPOCHS | ++r->services->epochs;
}

static void open_channel(struct mr_recovery *r, const struct mr_track *track)
{
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, track->channel);
	c->epoch = next_epoch(r);
	/* Told before anything can come on it. */
	mr_event ev = {.type = MR_EV_CHANNEL, .epoch = c->epoch};
	ev.connection = r->connection;
	ev.channel = c->number;
	ev.as.channel.change = MR_CHANNEL_AGAIN;
	c->broken = false;
	mr_recovery_push(r, &ev);
	ask(r, track, &(const struct mr_ask){MR_ASK_OPEN, c->number, c->epoch, 0, 0, NULL});
}

/* The highest number that is free: the program's begin at 1. */
static void open_scratch(struct mr_recovery *r, const struct mr_track *track)
{
	r->scratch = r->channel_max ? r->channel_max : UINT16_MAX;
	while (r->scratch > 1 && has_channel(r, r->scratch)) r->scratch--;
	r->scratch_epoch = next_epoch(r);
	ask(r, track,
		&(const struct mr_ask){MR_ASK_OPEN, r->scratch, r->scratch_epoch, 0, 0, NULL});
}

/* True: one more would cost the connection, as it did before. The scratch channel gives way to the
 * program's. */
static bool is_over_limit(const struct mr_recovery *r, const struct mr_step *s)
{
	const struct mr_map *channels = &r->topology.channels;
	const struct mr_channel_record *c;
	uint32_t count = 0;
	if (!r->over_limit) return false;
	if (s->kind == MR_STEP_SCRATCH) return channels->count >= r->most;
	if (s->kind != MR_STEP_OPEN) return false;
	for (size_t at = 0; (c = mr_map_next(channels, &at, NULL));)
		count += has_channel(r, c->number);
	return count >= r->most;
}

static void ask_request(struct mr_recovery *r, const struct mr_track *track,
	const struct mr_channel_record *c, const mr_request *request)
{
	struct mr_ask a = {MR_ASK_REQUEST, r->scratch, r->scratch_epoch, 0, 0, request};
	if (c) {
		a.channel = c->number;
		a.epoch = c->epoch;
	}
	ask(r, track, &a);
}

/* On a separate channel: the request for a missing queue closes the channel. */
static void probe(struct mr_recovery *r, const struct mr_track *track,
	const struct mr_record *record)
{
	mr_request passive = {.operation = MR_QUEUE_DECLARE, .flags = MR_PASSIVE};
	passive.name = record->request.name;
	ask_request(r, track, NULL, &passive);
}

/* The broker may still have its tag in use. */
static void cancel(struct mr_recovery *r, const struct mr_track *track,
	const struct mr_record *consumer, const struct mr_channel_record *c)
{
	const mr_request request = {.operation = MR_BASIC_CANCEL, .extra = consumer->request.extra};
	ask_request(r, track, c, &request);
}

static void ask_mode(struct mr_recovery *r, const struct mr_track *track, enum mr_step_kind kind,
	const struct mr_channel_record *c)
{
	mr_request request = {.operation = MR_BASIC_QOS, .number = c->prefetch};
	if (kind == MR_STEP_GLOBAL_QOS) {
		request.number = c->global_prefetch;
		request.flags = MR_GLOBAL;
	}
	if (kind == MR_STEP_CONFIRM) request = (mr_request){.operation = MR_CONFIRM_SELECT};
	if (kind == MR_STEP_TX) request = (mr_request){.operation = MR_TX_SELECT};
	ask_request(r, track, c, &request);
}

/* The consumer keeps its tag; a queue that the broker named gets a new name. */
static void ask_record(struct mr_recovery *r, const struct mr_track *track,
	const struct mr_record *record, const struct mr_channel_record *c)
{
	mr_request request = record->request;
	if (record->server_named && request.operation == MR_QUEUE_DECLARE)
		request.name = mr_slice_of("", 0);
	ask_request(r, track, c, &request);
}

/* ---- steps that need no answer, or must wait ---- */

static void tell_ready(struct mr_recovery *r, uint16_t number)
{
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, number);
	mr_event ev = {.type = MR_EV_CHANNEL};
	if (!c || c->broken) return; /* closed once more: it will be repaired */
	ev.connection = r->connection;
	ev.channel = number;
	ev.epoch = c->epoch;
	ev.as.channel.change = MR_CHANNEL_READY;
	ev.as.channel.confirming = c->confirming;
	mr_recovery_push(r, &ev);
}

/* True once `wait` ms have passed since the first call for this step. */
static bool is_over(struct mr_asked *a, mr_msec wait)
{
	mr_msec now = mr_clock_now();
	if (!a->until) a->until = now + wait;
	if (now < a->until) return false;
	a->until = 0;
	return true;
}

/* A channel comes back when the topology is there, so that no publish is lost on its way; but a
 * queue that hangs holds it up for a moment only. */
static bool may_be_ready(const struct mr_recovery *r, struct mr_asked *a)
{
	if (r->plan.topology_left && !is_over(a, READY_PATIENCE)) return false;
	a->until = 0;
	return true;
}

static bool needs_scratch(const struct mr_step *s)
{
	return s->kind == MR_STEP_SCRATCH || s->kind == MR_STEP_PROBE || s->kind == MR_STEP_CHECK ||
	       s->kind == MR_STEP_LOOK;
}

/* The scratch channel has one user at a time, and those who want it take turns: a look at thousands
 * of consumers, or at queues that hang, must not hold up a repair. */
static bool has_other_user(struct mr_recovery *r, const struct mr_track *track)
{
	bool is_in_use = r->scratch_user && r->scratch_user != track;
	bool yields = !r->scratch_user && r->scratch_wanted && r->scratch_last == track;
	if (is_in_use || yields) r->scratch_wanted = is_in_use;
	return is_in_use || yields;
}

/* What may have cost a connection is requested when nothing else can be blamed for the next loss. */
static bool must_be_alone(const struct mr_record *record)
{
	return record && (record->costs || record->is_suspect);
}

static bool is_held(struct mr_recovery *r, const struct mr_track *track, const struct mr_step *s,
	bool is_alone)
{
	if (needs_scratch(s) && has_other_user(r, track)) return true;
	if (s->kind == MR_STEP_PAUSE) return !is_over(track->asked, LOCKED_PAUSE);
	if (s->kind == MR_STEP_READY) return !may_be_ready(r, track->asked);
	if (s->kind != MR_STEP_RECORD) return false;
	return !mr_plan_is_ready(&r->plan, &r->topology, track) ||
	       (!is_alone && must_be_alone(record_of(r, s)));
}

static bool has_scratch(const struct mr_recovery *r)
{
	return r->scratch && has_channel(r, r->scratch);
}

/* True: the step needed no answer. */
static bool do_without(struct mr_recovery *r, const struct mr_track *track, const struct mr_step *s,
	struct mr_record *record)
{
	switch (s->kind) {
	case MR_STEP_SCRATCH: r->scratch_user = r->scratch_last = track; return has_scratch(r);
	case MR_STEP_CHECK: return !has_scratch(r);
	case MR_STEP_LOOK: return record->cancelled || !has_scratch(r);
	case MR_STEP_CANCEL: return !has_channel(r, s->channel);
	case MR_STEP_PAUSE: return true;
	case MR_STEP_READY: tell_ready(r, s->channel); return true;
	case MR_STEP_RECORD: return mr_failure_foreseen(r, track->number, record);
	default: return false;
	}
}

/* If it fails, the channel is closed, with all consumers that were started on it. */
static bool is_to_be_checked(const struct mr_track *track, const struct mr_step *s,
	const struct mr_channel_record *c, const struct mr_record *record)
{
	return is_consume(s, record) && c && c->probes_in >= track->number &&
	       record->made_in < track->number && track->asked->checked != record->id;
}

/* The broker closed the channel between two steps of its track. */
static bool is_broken(const struct mr_step *s, const struct mr_channel_record *c)
{
	return c && c->broken && !needs_scratch(s) && s->kind != MR_STEP_OPEN &&
	       s->kind != MR_STEP_PAUSE && s->kind != MR_STEP_READY;
}

/* Nothing comes of the step: the next one needs no scratch channel, or takes it itself. */
static enum mr_begun leave_out(struct mr_recovery *r, const struct mr_track *track,
	const struct mr_step *s)
{
	if (r->scratch_user == track && s->kind != MR_STEP_SCRATCH) r->scratch_user = NULL;
	return MR_DONE_WITHOUT;
}

enum mr_begun mr_step_begin(struct mr_recovery *r, struct mr_track *track, bool is_alone)
{
	const struct mr_step *s = mr_plan_step(track);
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, s->channel);
	struct mr_record *record = record_of(r, s);
	bool is_gone = (s->channel && !c) || (s->record && !record);
	if (is_gone) return leave_out(r, track, s); /* the program closed or removed it */
	if (is_broken(s, c)) {
		if (!mr_plan_reopen(&r->plan, &r->topology, track)) return leave_out(r, track, s);
		s = mr_plan_step(track);
		record = NULL;
	}
	if (is_held(r, track, s, is_alone)) return MR_HELD;
	if (is_to_be_checked(track, s, c, record) && mr_plan_check(&r->plan, track, record)) {
		s = mr_plan_step(track);
		if (is_held(r, track, s, is_alone)) return MR_HELD;
	}
	if (do_without(r, track, s, record)) return leave_out(r, track, s);
	track->asked->token = MR_RECOVERY_OURS | ++r->tokens << 16 | track->channel;
	track->asked->waiting = true;
	track->asked->answered = false;
	r->waiting++;
	if (is_over_limit(r, s)) {
		track->asked->answered = true;
		track->asked->error = *r->over_limit;
		r->port.touch(r->port.owner);
		return MR_BEGUN;
	}
	switch (s->kind) {
	case MR_STEP_OPEN: open_channel(r, track); break;
	case MR_STEP_RECORD: ask_record(r, track, record, c); break;
	case MR_STEP_SCRATCH: open_scratch(r, track); break;
	case MR_STEP_CHECK:
	case MR_STEP_LOOK:
	case MR_STEP_PROBE: probe(r, track, record); break;
	case MR_STEP_CANCEL: cancel(r, track, record, c); break;
	default: ask_mode(r, track, s->kind, c); break;
	}
	return MR_BEGUN;
}

/* ---- how a step ended ---- */

static void go_on(struct mr_recovery *r, struct mr_track *track)
{
	mr_plan_next(&r->plan, &r->topology, track);
}

static void renamed(struct mr_recovery *r, const struct mr_record *record, mr_slice name)
{
	mr_table *names;
	if (!r->report) r->report = mr_table_new();
	names = r->report ? mr_table_nest(r->report, "renamed", 7, 'F') : NULL;
	if (names) mr_table_add_string(names, record->strings[0], name);
	mr_topology_rename(&r->topology, record->strings[0], name);
}

static void consumes_again(struct mr_recovery *r, struct mr_record *record)
{
	mr_event ev = {.type = MR_EV_CANCEL, .connection = r->connection};
	ev.channel = record->channel;
	ev.as.cancel.consumer = record->request.number;
	ev.as.cancel.consumes_again = true;
	record->cancelled = false;
	mr_recovery_push(r, &ev);
}

static void is_back(struct mr_recovery *r, const struct mr_track *track, struct mr_record *record)
{
	if (record->made_in < track->number) r->restored++;
	record->made_in = r->plan.number;
	record->costs = 0;
	record->is_suspect = false;
	if (record->cancelled && record->request.operation == MR_BASIC_CONSUME)
		consumes_again(r, record);
	if (record->server_named && record->request.operation == MR_QUEUE_DECLARE)
		renamed(r, record, mr_slice_str(track->asked->name));
}

/* Messages wait, and nobody gets them. For a quorum queue without a leader RabbitMQ says that there
 * are no messages and no consumers: who consumes anew from that one loses the connection. */
static bool is_unserved(const struct mr_asked *a) { return a->messages && !a->consumers; }

static void succeeded(struct mr_recovery *r, struct mr_track *track)
{
	struct mr_step s = *mr_plan_step(track);
	struct mr_record *record = record_of(r, &s);
	if (s.kind == MR_STEP_LOOK && record && record->is_counted && is_unserved(track->asked)) {
		mr_plan_cancel(&r->plan, &r->topology, track);
		return;
	}
	go_on(r, track);
	if (s.kind == MR_STEP_CANCEL && record) mr_idle_gone(r, record);
	if (s.kind == MR_STEP_CHECK) track->asked->checked = s.record;
	if (record) mr_record_found(record);
	if (s.kind == MR_STEP_RECORD && record) is_back(r, track, record);
}

/* The dead connection holds exclusive objects until the broker notices its end: a queue of ours
 * (405), or a queue with our exclusive consumer (403, distinguished from a missing permission by
 * its text). */
static bool is_held_by_the_dead(struct mr_recovery *r, const struct mr_record *record,
	const mr_error *why)
{
	mr_msec now = mr_clock_now(), beats = 2000;
	if (!mr_error_is_exclusive_use(why)) return false;
	if (why->kind == MR_ACCESS_REFUSED && record->request.operation != MR_BASIC_CONSUME)
		return false;
	if (!r->locked_since) r->locked_since = now;
	beats *= r->heartbeat;
	return now - r->locked_since < (beats > LOCKED_MAX ? beats : LOCKED_MAX);
}

/* Without memory the channel stays closed, and is repaired later. */
static void channel_failed(struct mr_recovery *r, struct mr_track *track, bool is_gone, bool again)
{
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, track->channel);
	if (!mr_plan_failed(&r->plan, &r->topology, track, is_gone, again) && is_gone && c)
		c->broken = true;
}

static void give_up(struct mr_recovery *r, struct mr_track *track, const struct mr_step *s,
	struct mr_record *record)
{
	bool is_gone = !has_channel(r, s->channel);
	bool is_record = s->kind == MR_STEP_RECORD;
	const mr_error *why = &track->asked->error;
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, s->channel);
	if (is_consume(s, record) && c) c->probes_in = r->plan.number;
	if (record && why->kind == MR_NOT_FOUND)
		mr_record_missed(record, r->plan.number, why->text);
	if (record) mr_failure_give_up(r, record, why);
	if (s->kind == MR_STEP_OPEN || (is_gone && !is_record))
		mr_recovery_give_channel_up(r, s->channel, why);
	if (is_record && is_gone)
		channel_failed(r, track, true, false);
	else
		go_on(r, track);
}

/* The queue of a cancelled consumer does not exist yet: drops its steps, and tries later. */
static void put_off(struct mr_recovery *r, struct mr_track *track)
{
	uint64_t record = mr_plan_step(track)->record;
	struct mr_record *missing = mr_record_by_id(&r->topology, record);
	const mr_error *why = &track->asked->error;
	if (missing && why->kind == MR_NOT_FOUND && !mr_error_is_node_down(why))
		mr_streams_restart(missing); /* another stream will have its name */
	while (mr_plan_step(track) && mr_plan_step(track)->record == record) go_on(r, track);
	mr_repair_plan(r, 0, &track->asked->error, MR_NOT_FOUND);
}

static void check_failed(struct mr_recovery *r, struct mr_track *track, struct mr_record *record)
{
	const mr_error *why = &track->asked->error;
	track->asked->checked = mr_plan_step(track)->record;
	go_on(r, track);
	if (!record || why->kind != MR_NOT_FOUND) return;
	mr_record_missed(record, r->plan.number, why->text);
	mr_failure_give_up(r, record, why);
}

static void failed(struct mr_recovery *r, struct mr_track *track)
{
	struct mr_step s = *mr_plan_step(track);
	struct mr_record *record = record_of(r, &s);
	bool is_gone = !has_channel(r, s.channel);
	if (s.kind == MR_STEP_SCRATCH && !s.channel) /* its record will report the error */
		go_on(r, track);
	else if (s.kind == MR_STEP_SCRATCH || s.kind == MR_STEP_PROBE)
		put_off(r, track);
	else if (s.kind == MR_STEP_CHECK)
		check_failed(r, track, record);
	else if (s.kind == MR_STEP_LOOK && track->asked->error.kind == MR_NOT_FOUND)
		mr_plan_cancel(&r->plan, &r->topology, track);
	else if (s.kind == MR_STEP_LOOK || s.kind == MR_STEP_CANCEL)
		go_on(r, track); /* unknown; or its channel has ended, and is repaired */
	else if (record && is_held_by_the_dead(r, record, &track->asked->error))
		channel_failed(r, track, is_gone, true);
	else
		give_up(r, track, &s, record);
}

void mr_step_leave_scratch(struct mr_recovery *r)
{
	const struct mr_ask a = {MR_ASK_CLOSE, r->scratch, r->scratch_epoch, 0, MR_NEVER, NULL};
	if (r->scratch) r->port.ask(r->port.owner, &a);
	r->scratch = 0;
}

void mr_step_end(struct mr_recovery *r, struct mr_track *track)
{
	const struct mr_step *s = mr_plan_step(track);
	bool is_scratch = s->kind == MR_STEP_PROBE || s->kind == MR_STEP_CHECK || !s->channel;
	bool was_its_use = r->scratch_user == track && s->kind != MR_STEP_SCRATCH;
	int kind = track->asked->error.kind;
	track->asked->waiting = false;
	r->waiting--;
	if (kind == MR_OK)
		succeeded(r, track);
	else
		failed(r, track);
	/* What hangs there would hold up all who need it: the next one opens another. */
	if (is_scratch && kind == MR_TIMEOUT) mr_step_leave_scratch(r);
	if (was_its_use || (kind != MR_OK && r->scratch_user == track)) r->scratch_user = NULL;
}
