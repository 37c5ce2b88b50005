/* failure: what a recovery could not restore: reported, and not requested for ever.
 * SPDX-License-Identifier: MIT */
#include "link/failure.h"

#include <stdio.h>

#include "base/alloc.h"
#include "link/history.h"

#define COSTS_MAX 2 /* connections that a record may cost in a row */

static const char *const nouns[] = {[MR_EXCHANGE_DECLARE] = "exchange",
	[MR_QUEUE_DECLARE] = "queue",
	[MR_EXCHANGE_BIND] = "binding",
	[MR_QUEUE_BIND] = "binding",
	[MR_BASIC_CONSUME] = "consumer"};

static void report_failure(struct mr_recovery *r, const struct mr_record *record,
	const mr_error *why)
{
	r->failures++;
	if (!r->report) r->report = mr_table_new();
	if (r->report && !r->failed) r->failed = mr_table_nest(r->report, "failed", 6, 'A');
	char code[16];
	mr_value number = {.type = 'l', .as.integer = why->code};
	mr_table *row = r->failed ? mr_table_nest(r->failed, "", 0, 'F') : NULL;
	if (!row) return;
	mr_table_add_string(row, "what", mr_slice_str(nouns[record->request.operation]));
	mr_table_add_string(row, "name", record->request.name);
	mr_table_add_string(row, "kind", mr_slice_str(mr_status_name(why->kind)));
	mr_table_add_string(row, "text", mr_slice_str(why->text));
	mr_table_add(row, "code", 4, &number);
	snprintf(code, sizeof code, "%d", why->code);
	int level = r->failures <= MR_RECOVERY_LINES ? MR_LOG_WARN : MR_LOG_DEBUG;
	mr_log(&r->services->log, level, "not recovered", "connection", r->config->name, "what",
		nouns[record->request.operation], "name", record->strings[0], "kind",
		mr_status_name(why->kind), "#code", code, "text", why->text, NULL);
}

void mr_failure_give_up(struct mr_recovery *r, struct mr_record *record, const mr_error *why)
{
	report_failure(r, record, why);
	if (record->request.operation != MR_BASIC_CONSUME) return;
	mr_recovery_tell_consumer_failed(r, record, why);
	mr_history_consumer(r->services->history, r->connection, record, why->text);
	mr_record_forget(&r->topology, record);
}

/* If it is requested again, it will end the next connection. */
static void leave_out(struct mr_recovery *r, struct mr_record *record)
{
	mr_error memory = {0};
	mr_error_set(&memory, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	mr_error why = record->blame ? *record->blame : memory;
	mr_failure_give_up(r, record, &why);
}

/* The broker has reported for another record that its object is missing: a request would close the
 * channel. */
static bool is_doomed(struct mr_recovery *r, uint32_t since, struct mr_record *record)
{
	mr_error why = {0};
	const char *name, *noun = mr_record_missing(record, since, &name);
	if (!noun) return false;
	mr_error_set(&why, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404,
		"NOT_FOUND - no %s '%s' in vhost '%s'", noun, name, r->config->vhost);
	mr_failure_give_up(r, record, &why);
	return true;
}

bool mr_failure_foreseen(struct mr_recovery *r, uint32_t since, struct mr_record *record)
{
	if (record->costs < COSTS_MAX) return is_doomed(r, since, record);
	leave_out(r, record);
	return true;
}

/* ---- connections that it cost ---- */

static void suspect(struct mr_record *record, const mr_error *why)
{
	record->is_suspect = true;
	if (!record->blame) record->blame = mr_malloc(sizeof *record->blame);
	if (record->blame) *record->blame = *why;
}

/* The record whose answer a track awaits. */
static struct mr_record *awaited(struct mr_recovery *r, const struct mr_track *track)
{
	const struct mr_step *s = mr_plan_step(track);
	bool is_record = s && track->asked->waiting && s->kind == MR_STEP_RECORD;
	return is_record ? mr_record_by_id(&r->topology, s->record) : NULL;
}

void mr_failure_blame(struct mr_recovery *r, const mr_error *why)
{
	const struct mr_track *track = NULL;
	struct mr_record *record, *only = NULL;
	int count = 0;
	if (!why->code || why->code == 320 || why->kind == MR_CHANNEL_LIMIT_REACHED) return;
	while ((track = mr_plan_next_track(&r->plan, track))) {
		if (!(record = awaited(r, track))) continue;
		suspect(record, why);
		only = record;
		count++;
	}
	if (count == 1) only->costs++;
}

void mr_failure_forgive(struct mr_recovery *r)
{
	struct mr_node *all = &r->topology.records;
	for (struct mr_node *n = all->next; n != all; n = n->next) {
		struct mr_record *record = mr_container(n, struct mr_record, node);
		if (record->costs >= COSTS_MAX) record->costs = COSTS_MAX - 1;
	}
}

/* ---- the report ---- */

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

void mr_failure_drop_report(struct mr_recovery *r)
{
	log_summary(r);
	mr_table_free(r->report);
	r->report = r->failed = NULL;
	r->restored = r->failures = r->closed = 0;
}
