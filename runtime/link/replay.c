/* replay: requests the steps of a plan one after the other, and handles the answers.
 * SPDX-License-Identifier: MIT */
#include "link/replay.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "link/history.h"
#include "link/repair.h"
#include "link/streams.h"

#define LOCKED_PAUSE 500  /* ms between two looks at a queue that a dead connection locks */
#define LOCKED_MAX 120000 /* ms: two heartbeats of RabbitMQ's own 60 s */
#define COSTS_MAX 2       /* connections that a record may cost in a row */

/* ---- what could not be made again ---- */

static const char *const nouns[] = {[MR_EXCHANGE_DECLARE] = "exchange",
	[MR_QUEUE_DECLARE] = "queue",
	[MR_EXCHANGE_BIND] = "binding",
	[MR_QUEUE_BIND] = "binding",
	[MR_BASIC_CONSUME] = "consumer"};

static void report_failure(struct mr_recovery *r, const struct mr_record *record)
{
	r->failures++;
	if (!r->report) r->report = mr_table_new();
	if (r->report && !r->failed) r->failed = mr_table_nest(r->report, "failed", 6, 'A');
	char code[16];
	mr_value number = {.type = 'l', .as.integer = r->error.code};
	mr_table *row = r->failed ? mr_table_nest(r->failed, "", 0, 'F') : NULL;
	if (!row) return;
	mr_table_add_string(row, "what", mr_slice_str(nouns[record->request.operation]));
	mr_table_add_string(row, "name", record->request.name);
	mr_table_add_string(row, "kind", mr_slice_str(mr_status_name(r->error.kind)));
	mr_table_add_string(row, "text", mr_slice_str(r->error.text));
	mr_table_add(row, "code", 4, &number);
	snprintf(code, sizeof code, "%d", r->error.code);
	int level = r->failures <= MR_RECOVERY_LINES ? MR_LOG_WARN : MR_LOG_DEBUG;
	mr_log(&r->services->log, level, "not recovered", "connection", r->config->name, "what",
		nouns[record->request.operation], "name", record->strings[0], "kind",
		mr_status_name(r->error.kind), "#code", code, "text", r->error.text, NULL);
}

static void give_record_up(struct mr_recovery *r, struct mr_record *record)
{
	report_failure(r, record);
	if (record->request.operation != MR_BASIC_CONSUME) return;
	mr_recovery_tell_consumer_failed(r, record);
	mr_history_consumer(r->services->history, r->connection, record, r->error.text);
	mr_record_forget(&r->topology, record);
}

/* If it is requested again, it will end the next connection. */
static void leave_out(struct mr_recovery *r, struct mr_record *record)
{
	if (record->blame)
		r->error = *record->blame;
	else
		mr_error_set(&r->error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	give_record_up(r, record);
}

/* The broker has reported for another record that its object is missing: a request would close the
 * channel. */
static bool is_doomed(struct mr_recovery *r, struct mr_record *record)
{
	const char *name, *noun = mr_record_missing(record, r->plan.number, &name);
	if (!noun) return false;
	mr_error_set(&r->error, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404,
		"NOT_FOUND - no %s '%s' in vhost '%s'", noun, name, r->config->vhost);
	give_record_up(r, record);
	return true;
}

/* ---- the steps ---- */

static bool has_channel(const struct mr_recovery *r, uint16_t number)
{
	return r->port.has_channel(r->port.owner, number);
}

static void ask(struct mr_recovery *r, enum mr_ask_kind kind, uint16_t channel, uint32_t epoch,
	const mr_request *request)
{
	struct mr_ask a = {kind, channel, epoch, r->token, 0, request};
	a.deadline = mr_clock_now() + r->config->rpc_timeout;
	r->port.ask(r->port.owner, &a);
}

static uint32_t next_epoch(struct mr_recovery *r)
{
	return MR_RECOVERY_EPOCHS | ++r->services->epochs;
}

static void open_channel(struct mr_recovery *r, uint16_t number)
{
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, number);
	c->epoch = next_epoch(r);
	/* Told before anything can come on it. */
	mr_event ev = {.type = MR_EV_CHANNEL, .epoch = c->epoch};
	ev.connection = r->connection;
	ev.channel = number;
	ev.as.channel.change = MR_CHANNEL_AGAIN;
	c->broken = false;
	mr_recovery_push(r, &ev);
	ask(r, MR_ASK_OPEN, number, c->epoch, NULL);
}

static void open_scratch(struct mr_recovery *r)
{
	r->scratch = r->channel_max ? r->channel_max : UINT16_MAX;
	r->scratch_epoch = next_epoch(r);
	ask(r, MR_ASK_OPEN, r->scratch, r->scratch_epoch, NULL);
}

/* On a separate channel: the request for a missing queue closes the channel. */
static void probe(struct mr_recovery *r, const struct mr_record *record)
{
	mr_request passive = {.operation = MR_QUEUE_DECLARE, .flags = MR_PASSIVE};
	passive.name = record->request.name;
	ask(r, MR_ASK_REQUEST, r->scratch, r->scratch_epoch, &passive);
}

static void ask_mode(struct mr_recovery *r, const struct mr_step *s,
	const struct mr_channel_record *c)
{
	mr_request request = {.operation = MR_BASIC_QOS, .number = c->prefetch};
	if (s->kind == MR_STEP_GLOBAL_QOS) {
		request.number = c->global_prefetch;
		request.flags = MR_GLOBAL;
	}
	if (s->kind == MR_STEP_CONFIRM) request = (mr_request){.operation = MR_CONFIRM_SELECT};
	if (s->kind == MR_STEP_TX) request = (mr_request){.operation = MR_TX_SELECT};
	ask(r, MR_ASK_REQUEST, s->channel, c->epoch, &request);
}

/* The consumer keeps its tag; a queue that the broker named gets a new name. */
static void ask_record(struct mr_recovery *r, const struct mr_record *record,
	const struct mr_channel_record *c)
{
	mr_request request = record->request;
	if (record->server_named && request.operation == MR_QUEUE_DECLARE)
		request.name = mr_slice_of("", 0);
	ask(r, MR_ASK_REQUEST, c ? c->number : r->scratch, c ? c->epoch : r->scratch_epoch,
		&request);
}

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

static bool has_scratch(const struct mr_recovery *r)
{
	return r->scratch && has_channel(r, r->scratch);
}

/* Steps that need no answer; true: this was one. */
static bool do_without(struct mr_recovery *r, const struct mr_step *s, struct mr_record *record)
{
	switch (s->kind) {
	case MR_STEP_SCRATCH: return has_scratch(r);
	case MR_STEP_CHECK: return !has_scratch(r);
	case MR_STEP_PAUSE:
		r->is_pausing = true;
		mr_timer_arm(&r->repair, mr_clock_now() + LOCKED_PAUSE);
		return true;
	case MR_STEP_READY: tell_ready(r, s->channel); return true;
	case MR_STEP_RECORD:
		if (record->costs < COSTS_MAX) return is_doomed(r, record);
		leave_out(r, record);
		return true;
	default: return false;
	}
}

/* If it fails, the channel is closed, with all consumers that were started on it. */
static bool is_to_be_checked(const struct mr_recovery *r, const struct mr_step *s,
	const struct mr_channel_record *c, const struct mr_record *record)
{
	return s->kind == MR_STEP_RECORD && record->request.operation == MR_BASIC_CONSUME && c &&
	       c->probes_in == r->plan.number && record->made_in != r->plan.number &&
	       r->checked != record->id;
}

/* Requests the step; false: there is nothing to request, continue. */
static bool begin_step(struct mr_recovery *r)
{
	const struct mr_step *s = mr_plan_step(&r->plan);
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, s->channel);
	struct mr_record *record = s->record ? mr_record_by_id(&r->topology, s->record) : NULL;
	bool is_gone = (s->channel && !c) || (s->record && !record);
	if (is_gone) return false; /* the program closed or removed it */
	if (is_to_be_checked(r, s, c, record) && mr_plan_check(&r->plan, record))
		s = mr_plan_step(&r->plan);
	if (do_without(r, s, record)) return false;
	r->token = MR_RECOVERY_OURS | ++r->tokens;
	r->waiting = true;
	r->answered = false;
	switch (s->kind) {
	case MR_STEP_OPEN: open_channel(r, s->channel); break;
	case MR_STEP_RECORD: ask_record(r, record, c); break;
	case MR_STEP_SCRATCH: open_scratch(r); break;
	case MR_STEP_CHECK:
	case MR_STEP_PROBE: probe(r, record); break;
	default: ask_mode(r, s, c); break;
	}
	return true;
}

/* ---- how a step ended ---- */

static void renamed(struct mr_recovery *r, const struct mr_record *record)
{
	mr_table *names;
	if (!r->report) r->report = mr_table_new();
	names = r->report ? mr_table_nest(r->report, "renamed", 7, 'F') : NULL;
	if (names) mr_table_add_string(names, record->strings[0], mr_slice_str(r->name));
	mr_topology_rename(&r->topology, record->strings[0], mr_slice_str(r->name));
}

static void step_succeeded(struct mr_recovery *r)
{
	struct mr_step s = *mr_plan_step(&r->plan);
	struct mr_record *record = s.record ? mr_record_by_id(&r->topology, s.record) : NULL;
	mr_plan_next(&r->plan);
	if (s.kind == MR_STEP_CHECK) r->checked = s.record;
	if (record) mr_record_found(record);
	if (s.kind != MR_STEP_RECORD || !record) return;
	if (record->made_in != r->plan.number) r->restored++;
	record->made_in = r->plan.number;
	record->costs = 0;
	if (record->cancelled && record->request.operation == MR_BASIC_CONSUME) {
		mr_event ev = {.type = MR_EV_CANCEL, .connection = r->connection};
		ev.channel = record->channel;
		ev.as.cancel.consumer = record->request.number;
		ev.as.cancel.consumes_again = true;
		record->cancelled = false;
		mr_recovery_push(r, &ev);
	}
	if (record->server_named && record->request.operation == MR_QUEUE_DECLARE)
		renamed(r, record);
}

/* The dead connection holds exclusive objects until the broker notices its end: a queue of ours
 * (405), or a queue with our exclusive consumer (403, distinguished from a missing permission by
 * its text). */
static bool is_held_by_the_dead(struct mr_recovery *r, const struct mr_record *record)
{
	mr_msec now = mr_clock_now(), beats = 2000;
	if (!mr_error_is_exclusive_use(&r->error)) return false;
	if (r->error.kind == MR_ACCESS_REFUSED && record->request.operation != MR_BASIC_CONSUME)
		return false;
	if (!r->locked_since) r->locked_since = now;
	beats *= r->heartbeat;
	return now - r->locked_since < (beats > LOCKED_MAX ? beats : LOCKED_MAX);
}

static void give_step_up(struct mr_recovery *r, const struct mr_step *s, struct mr_record *record)
{
	bool is_gone = !has_channel(r, s->channel);
	bool is_record = s->kind == MR_STEP_RECORD;
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, s->channel);
	if (record && is_record && record->request.operation == MR_BASIC_CONSUME && c)
		c->probes_in = r->plan.number;
	if (record && r->error.kind == MR_NOT_FOUND)
		mr_record_missed(record, r->plan.number, r->error.text);
	if (record) give_record_up(r, record);
	if (s->kind == MR_STEP_OPEN || (is_gone && !is_record))
		mr_recovery_give_channel_up(r, s->channel);
	if (is_record && is_gone)
		mr_plan_failed(&r->plan, &r->topology, true, false);
	else
		mr_plan_next(&r->plan);
}

/* The queue of a cancelled consumer does not exist yet: drops its steps, and tries later. */
static void put_off(struct mr_recovery *r)
{
	uint64_t record = mr_plan_step(&r->plan)->record;
	struct mr_record *missing = mr_record_by_id(&r->topology, record);
	if (missing && r->error.kind == MR_NOT_FOUND) mr_streams_restart(missing);
	while (mr_plan_step(&r->plan) && mr_plan_step(&r->plan)->record == record)
		mr_plan_next(&r->plan);
	mr_repair_plan(r, 0, &r->error, MR_NOT_FOUND);
}

static void step_failed(struct mr_recovery *r)
{
	struct mr_step s = *mr_plan_step(&r->plan);
	struct mr_record *record = s.record ? mr_record_by_id(&r->topology, s.record) : NULL;
	bool is_gone = !has_channel(r, s.channel);
	if (s.kind == MR_STEP_SCRATCH && !s.channel) { /* its record will report the error */
		mr_plan_next(&r->plan);
	} else if (s.kind == MR_STEP_SCRATCH || s.kind == MR_STEP_PROBE) {
		put_off(r);
	} else if (s.kind == MR_STEP_CHECK) {
		r->checked = s.record;
		mr_plan_next(&r->plan);
		if (!record || r->error.kind != MR_NOT_FOUND) return;
		mr_record_missed(record, r->plan.number, r->error.text);
		give_record_up(r, record);
	} else if (record && is_held_by_the_dead(r, record)) {
		mr_plan_failed(&r->plan, &r->topology, is_gone, true);
	} else {
		give_step_up(r, &s, record);
	}
}

/* Skipped records are tried once more when the connection is lost again. */
static void forgive(struct mr_recovery *r)
{
	struct mr_node *all = &r->topology.records;
	for (struct mr_node *n = all->next; n != all; n = n->next) {
		struct mr_record *record = mr_container(n, struct mr_record, node);
		if (record->costs >= COSTS_MAX) record->costs = COSTS_MAX - 1;
	}
}

/* Thousands of lines would hide the first one, and others would be dropped. */
static void log_summary(struct mr_recovery *r)
{
	char failures[16], closed[16];
	if (r->failures <= MR_RECOVERY_LINES && r->closed <= MR_RECOVERY_LINES) return;
	snprintf(failures, sizeof failures, "%u", r->failures);
	snprintf(closed, sizeof closed, "%u", r->closed);
	mr_log(&r->services->log, MR_LOG_ERROR, "much was not recovered", "connection",
		r->config->name, "#failures", failures, "#closed_channels", closed, "text",
		"the first lines are above, all are in the event recovered and in the log at debug",
		NULL);
}

static void drop_report(struct mr_recovery *r)
{
	log_summary(r);
	mr_table_free(r->report);
	r->report = r->failed = NULL;
	r->restored = r->failures = r->closed = 0;
}

static void close_scratch(struct mr_recovery *r)
{
	const struct mr_ask a = {MR_ASK_CLOSE, r->scratch, r->scratch_epoch, 0, MR_NEVER, NULL};
	if (r->scratch) r->port.ask(r->port.owner, &a);
	r->scratch = 0;
}

static void finish(struct mr_recovery *r)
{
	bool is_whole = r->is_whole;
	close_scratch(r);
	r->locked_since = 0;
	mr_recovery_drop_plan(r);
	if (is_whole) {
		r->is_whole = false;
		forgive(r);
		r->port.recovered(r->port.owner, r->restored, r->report);
		r->report = r->failed = NULL;
	} else if (!r->failures && !ev_is_active(&r->repair.ev)) {
		r->repairs = 0;
	}
	drop_report(r);
	/* Objects that broke during the plan. */
	if (mr_plan_is_due(&r->topology) && !ev_is_active(&r->repair.ev))
		mr_repair_plan(r, 0, NULL, MR_CANCELLED);
}

void mr_replay_go_on(struct mr_recovery *r)
{
	if (!mr_plan_step(&r->plan)) return;
	while (mr_plan_step(&r->plan) && r->port.state(r->port.owner) == MR_SESSION_OPEN) {
		if (r->waiting && !r->answered) return;
		bool answered = r->waiting;
		r->waiting = false;
		if (answered && r->error.kind == MR_OK)
			step_succeeded(r);
		else if (answered)
			step_failed(r);
		if (r->is_pausing) return;
		if (mr_plan_step(&r->plan) && !begin_step(r)) mr_plan_next(&r->plan);
	}
	if (!mr_plan_step(&r->plan)) finish(r);
}

/* ---- what comes of it ---- */

void mr_replay_answered(struct mr_recovery *r, const mr_event *ev)
{
	const mr_reply *reply = ev->as.done.reply;
	if (ev->as.done.token != r->token || !r->waiting) return;
	r->answered = true;
	memset(&r->error, 0, sizeof r->error);
	r->error.kind = ev->status;
	if (reply) r->error = reply->error;
	r->name[0] = '\0';
	if (reply) memcpy(r->name, reply->name, sizeof r->name);
	r->port.touch(r->port.owner);
}

bool mr_replay_ended(const struct mr_recovery *r, const mr_event *ev)
{
	bool is_scratch = r->scratch && ev->channel == r->scratch && ev->epoch == r->scratch_epoch;
	const struct mr_step *s = mr_plan_step(&r->plan);
	bool is_step =
		s && r->waiting && ev->epoch >= MR_RECOVERY_EPOCHS && s->channel == ev->channel;
	return is_scratch || (is_step && r->port.state(r->port.owner) == MR_SESSION_OPEN);
}

/* A step ended the connection: the broker closed it, or the library did. It would do so again: see
 * COSTS_MAX. */
static void blame_step(struct mr_recovery *r, const mr_error *why)
{
	const struct mr_step *s = mr_plan_step(&r->plan);
	if (!s || !r->waiting || !why->code || why->code == 320) return;
	struct mr_record *record = s->record ? mr_record_by_id(&r->topology, s->record) : NULL;
	if (s->kind != MR_STEP_RECORD || !record) return;
	record->costs++;
	if (!record->blame) record->blame = mr_malloc(sizeof *record->blame);
	if (record->blame) *record->blame = *why;
}

void mr_replay_lost(struct mr_recovery *r, const mr_error *why)
{
	if (why) blame_step(r, why);
	mr_recovery_drop_plan(r);
	r->scratch = 0;
	r->locked_since = 0;
	r->is_pausing = false;
	drop_report(r);
}
