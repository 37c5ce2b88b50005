/* recovery: brings a lost connection back, and what the program had on it.
 * SPDX-License-Identifier: MIT */
#include "link/recovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/number.h"
#include "link/backoff.h"
#include "link/link.h"
#include "link/plan.h"

#define STABLE 10000 /* ms open after which tries are counted anew */

struct asked {         /* a request of the host whose answer is awaited */
	int operation; /* -1: channel.open */
	uint16_t channel;
	uint32_t epoch;
	struct mr_request_copy *copy;
};

double mr_recovery_chance(struct mr_recovery *r)
{
	r->random ^= r->random << 13; /* xorshift64, Marsaglia 2003 */
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (double)(r->random >> 11) / (double)(UINT64_C(1) << 53);
}

void mr_recovery_push(struct mr_recovery *r, const mr_event *event)
{
	mr_history_saw(r->link->services->history, event);
	mr_event_queue_push_from(&r->link->services->dispatch, &r->link->lane, event);
}

/* Retries so far; those before it was open for a while are forgotten. */
static int64_t tries(const struct mr_recovery *r)
{
	return r->opened_at && mr_clock_now() - r->opened_at >= STABLE ? 0 : r->attempt;
}

/* ---- life ---- */

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_recovery *r = timer->data;
	(void)loop;
	(void)revents;
	mr_link_retry(r->link);
}

enum mr_status mr_recovery_init(struct mr_recovery *r, struct mr_link *link)
{
	*r = (struct mr_recovery){.link = link};
	mr_list_init(&r->steps);
	mr_topology_init(&r->topology);
	mr_timer_init(&r->retry, &link->services->timers, on_retry, r);
	mr_timer_init(&r->repair, &link->services->timers, mr_repair_due, r);
	if (getrandom(&r->random, sizeof r->random, GRND_NONBLOCK) < 0)
		r->random = (uint64_t)(uintptr_t)r;
	r->random |= 1;
	return MR_OK;
}

static void free_asked(struct asked *a)
{
	if (a->copy) mr_table_free(a->copy->request.arguments);
	mr_free(a->copy);
	mr_free(a);
}

/* Thousands of lines would hide the first one, and push others out of the log. */
static void log_summary(struct mr_recovery *r)
{
	char failures[16], closed[16];
	if (r->failures <= MR_RECOVERY_LINES && r->closed <= MR_RECOVERY_LINES) return;
	snprintf(failures, sizeof failures, "%u", r->failures);
	snprintf(closed, sizeof closed, "%u", r->closed);
	mr_log(&r->link->services->log, MR_LOG_ERROR, "much was not recovered", "connection",
		r->link->config->name, "#failures", failures, "#closed_channels", closed, "text",
		"the first lines are above, all are in the event recovered and in the log at debug",
		NULL);
}

void mr_recovery_drop_report(struct mr_recovery *r)
{
	log_summary(r);
	mr_table_free(r->report);
	r->report = r->failed = NULL;
	r->restored = r->failures = r->closed = 0;
}

void mr_recovery_fini(struct mr_recovery *r)
{
	struct asked *a;
	size_t at = 0;
	mr_recovery_end(r);
	while ((a = mr_map_next(&r->asked, &at, NULL))) free_asked(a);
	mr_map_fini(&r->asked);
	mr_topology_fini(&r->topology);
}

void mr_recovery_begin(struct mr_recovery *r)
{
	if (!r->was_open) r->attempt = 0;
}

void mr_recovery_end(struct mr_recovery *r)
{
	mr_recovery_lost(r);
	mr_timer_stop(&r->retry);
	r->was_open = r->is_whole = false;
	r->attempt = 0;
	mr_topology_fini(&r->topology);
	mr_topology_init(&r->topology);
}

/* A step ended the connection: the broker closed it, or we did. It would do so again: see replay.c. */
static void blame_step(struct mr_recovery *r)
{
	int code = r->link->error.code;
	const struct mr_step *s = mr_plan_step(r);
	if (!s || !r->waiting || !code || code == 320) return;
	struct mr_record *record = s->record ? mr_topology_record(&r->topology, s->record) : NULL;
	if (s->kind != MR_STEP_RECORD || !record) return;
	record->costs++;
	if (!record->blame) record->blame = mr_malloc(sizeof *record->blame);
	if (record->blame) *record->blame = r->link->error;
}

void mr_recovery_lost(struct mr_recovery *r)
{
	blame_step(r);
	r->attempt = tries(r);
	r->opened_at = 0;
	mr_plan_drop(r);
	mr_timer_stop(&r->repair);
	r->repairs = 0;
	r->scratch = 0;
	r->locked_since = 0;
	r->is_pausing = false;
	mr_recovery_drop_report(r);
}

/* ---- the next try ---- */

bool mr_recovery_would_retry(const struct mr_recovery *r, int kind)
{
	const struct mr_config *c = r->link->config;
	bool is_wanted = r->was_open ? c->recover : c->retry.style != MR_RETRY_JITTER;
	return is_wanted && mr_backoff(&c->retry, tries(r), kind, 0) >= 0;
}

static mr_msec next_delay(struct mr_recovery *r, int kind)
{
	const struct mr_retry *retry = &r->link->config->retry;
	double random = mr_recovery_chance(r);
	mr_msec delay = mr_backoff(retry, r->attempt, kind, random);
	if (r->attempt == 0 && retry->style == MR_RETRY_JITTER) {
		mr_msec more = mr_crowd_join(r->link->services->crowd, mr_clock_now());
		delay += (mr_msec)((double)more * random);
		if (delay > retry->max) delay = retry->max;
	}
	return r->host_decides && delay < MR_POLICY_TIME ? MR_POLICY_TIME : delay;
}

void mr_recovery_log_retry(struct mr_recovery *r, int kind, mr_msec delay)
{
	const struct mr_link *link = r->link;
	char attempt[24], wait[24], host[300];
	snprintf(attempt, sizeof attempt, "%" PRIi64, r->attempt);
	mr_format(wait, sizeof wait, "%.3f", (double)delay / 1000);
	mr_dial_host(&link->dial, host, sizeof host);
	mr_log(&link->services->log, MR_LOG_INFO, "retrying", "connection", link->config->name,
		"host", host, "#attempt", attempt, "#delay", wait, "kind", mr_status_name(kind),
		NULL);
}

void mr_recovery_retry(struct mr_recovery *r, const mr_error *why)
{
	mr_msec delay = next_delay(r, why->kind);
	mr_event ev = {.type = MR_EV_CONNECTION,
		.status = why->kind,
		.detail = MR_CONNECTION_RETRYING};
	ev.connection = r->link->number;
	ev.token = (uint64_t)++r->attempt;
	ev.last = (uint64_t)delay;
	ev.data.error = mr_malloc(sizeof *why);
	if (ev.data.error) *ev.data.error = *why;
	if (!r->host_decides) mr_recovery_log_retry(r, why->kind, delay);
	mr_timer_arm(&r->retry, mr_clock_now() + delay);
	mr_recovery_push(r, &ev);
}

/* ---- what the host asks for ---- */

/* A host that gives a token twice at a time loses the first. */
static bool keep(struct mr_recovery *r, uint64_t token, struct asked *a)
{
	struct asked *before = mr_map_get(&r->asked, token);
	if (mr_map_put(&r->asked, token, a) != MR_OK) return false;
	if (before) free_asked(before);
	return true;
}

void mr_recovery_channel_asked(struct mr_recovery *r, const struct mr_command *c)
{
	struct asked *a = mr_calloc(1, sizeof *a);
	if (!a) return; /* then it is not brought back */
	*a = (struct asked){.operation = -1, .channel = c->channel, .epoch = c->epoch};
	if (!keep(r, c->token, a)) mr_free(a);
}

void mr_recovery_channel_closed(struct mr_recovery *r, uint16_t number)
{
	mr_topology_channel_closed(&r->topology, number);
}

bool mr_recovery_asked(struct mr_recovery *r, const struct mr_command *c)
{
	struct mr_request_copy *copy = c->data;
	struct asked *a = mr_calloc(1, sizeof *a);
	if (a) *a = (struct asked){copy->request.operation, c->channel, c->epoch, copy};
	if (a && keep(r, c->token, a)) return true;
	mr_free(a);
	return false;
}

void mr_recovery_forget(struct mr_recovery *r, uint32_t consumer)
{
	struct mr_link *link = r->link;
	struct mr_record *record = mr_topology_consumer(&r->topology, consumer);
	if (!record) return;
	const struct mr_channel_record *c = mr_topology_channel_of(&r->topology, record->channel);
	mr_request cancel = {.operation = MR_BASIC_CANCEL, .extra = record->request.extra};
	if (link->session && c && mr_session_has_channel(link->session, c->number))
		mr_session_request(link->session, c->number, 0, c->epoch, &cancel, MR_NEVER);
	mr_topology_cancel(&r->topology, record);
}

/* The program deleted the queue itself: its consumers, told to be away, do not come back. */
static void end_consumers_of(struct mr_recovery *r, mr_slice queue)
{
	struct mr_record *c = NULL;
	while ((c = mr_topology_next_of(&r->topology, queue, c))) {
		mr_event ev = {.type = MR_EV_CANCEL, .consumer = c->request.number};
		ev.connection = r->link->number;
		ev.channel = c->channel;
		mr_recovery_push(r, &ev);
	}
}

/* The program was told of a timeout. True: the answer may still come, and is to be noted then. */
static bool waits_on(const struct asked *a)
{
	switch (a->operation) {
	case MR_QUEUE_DELETE:
	case MR_QUEUE_UNBIND:
	case MR_EXCHANGE_DELETE:
	case MR_EXCHANGE_UNBIND: return true;
	default: return false;
	}
}

/* What counts from the request on, whatever the answer: the session numbers publishes from it, and a consumer
 * that the program cancelled is not to come back. */
static bool counts_unanswered(const struct asked *a)
{
	return a->operation == MR_CONFIRM_SELECT || a->operation == MR_BASIC_CANCEL;
}

static void note_answer(struct mr_recovery *r, const mr_event *ev)
{
	struct asked *a = mr_map_get(&r->asked, ev->token);
	const mr_reply *reply = ev->data.reply;
	bool is_late = ev->detail == MR_DONE_LATE;
	if (!a || (ev->status == MR_TIMEOUT && !is_late && waits_on(a))) return;
	bool counts = ev->status == MR_OK || (ev->status == MR_TIMEOUT && counts_unanswered(a));
	mr_map_take(&r->asked, ev->token);
	if (counts && a->operation < 0) mr_topology_channel(&r->topology, a->channel, a->epoch);
	if (counts && a->operation == MR_QUEUE_DELETE) end_consumers_of(r, a->copy->request.name);
	if (counts && a->operation >= 0)
		mr_topology_note(&r->topology, a->channel, &a->copy->request,
			reply ? mr_slice_of(reply->name, reply->name_size) : mr_slice_of("", 0));
	free_asked(a);
}

/* ---- what the session tells ---- */

static void take_answer(struct mr_recovery *r, mr_event *ev)
{
	const mr_reply *reply = ev->data.reply;
	if (ev->token == r->token && r->waiting) {
		r->answered = true;
		memset(&r->error, 0, sizeof r->error);
		r->error.kind = ev->status;
		if (reply) r->error = reply->error;
		r->name[0] = '\0';
		if (reply) memcpy(r->name, reply->name, sizeof r->name);
		mr_link_touch(r->link);
	}
	mr_event_fini(ev);
}

/* With its connection: the host is told of that alone, unless the channel was not open yet. */
static bool goes_with_connection(const struct mr_recovery *r, const mr_event *ev)
{
	return mr_session_state(r->link->session) == MR_SESSION_CLOSED &&
	       r->link->state == MR_LINK_OPEN && mr_recovery_would_retry(r, ev->status);
}

/* By a step of the plan that failed: see replay.c. */
static bool goes_with_step(const struct mr_recovery *r, const mr_event *ev)
{
	bool is_scratch = r->scratch && ev->channel == r->scratch && ev->epoch == r->scratch_epoch;
	const struct mr_step *s = mr_plan_step(r);
	bool is_step =
		s && r->waiting && ev->epoch >= MR_RECOVERY_EPOCHS && s->channel == ev->channel;
	return is_scratch || (is_step && mr_session_state(r->link->session) == MR_SESSION_OPEN);
}

/* The broker closed a channel, or it has only taken back what it delivered there. One with consumers comes back. */
static bool take_channel(struct mr_recovery *r, mr_event *ev)
{
	if (ev->status == MR_OK) return false;
	struct mr_channel_record *c = mr_topology_channel_of(&r->topology, ev->channel);
	if (goes_with_step(r, ev) || (c && goes_with_connection(r, ev))) {
		mr_event_fini(ev);
		return true;
	}
	if (!c || mr_session_state(r->link->session) == MR_SESSION_CLOSED) return false;
	if (!r->link->config->recover || !mr_topology_has_consumers(&r->topology, c->number)) {
		mr_topology_channel_closed(&r->topology, c->number);
		return false;
	}
	c->broken = true;
	ev->last = 1; /* it will be back */
	if (!mr_plan_step(r)) mr_repair_plan(r, ev->channel, ev->data.error, ev->status);
	return false;
}

static void take_cancel(struct mr_recovery *r, mr_event *ev)
{
	if (!r->link->config->recover) return;
	if (!mr_topology_cancelled(&r->topology, ev->consumer)) return;
	ev->last = 1; /* it will be asked for again */
	if (!mr_plan_step(r)) mr_repair_plan(r, 0, ev->data.error, MR_CANCELLED);
}

bool mr_recovery_takes(struct mr_recovery *r, mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DONE:
		if (ev->token & MR_RECOVERY_OURS && ev->token != MR_TOKEN_NOBODY) {
			take_answer(r, ev);
			return true;
		}
		note_answer(r, ev);
		if (ev->detail != MR_DONE_LATE) return false;
		mr_event_fini(ev);
		return true;
	case MR_EV_CHANNEL: return take_channel(r, ev);
	case MR_EV_CANCEL: take_cancel(r, ev); return false;
	default: return false;
	}
}

bool mr_recovery_opened(struct mr_recovery *r)
{
	bool was_open = r->was_open;
	mr_msec now = mr_clock_now();
	r->was_open = true;
	r->opened_at = now;
	mr_timer_stop(&r->retry);
	r->is_whole = was_open && mr_plan_all(r, r->link->config->recover_topology);
	return r->is_whole;
}
