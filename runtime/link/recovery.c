/* recovery: restores a lost connection with its channels, topology and consumers.
 * SPDX-License-Identifier: MIT */
#include "link/recovery.h"

#include <sys/random.h>

#include "base/alloc.h"
#include "link/backoff.h"
#include "link/idle.h"
#include "link/repair.h"
#include "link/replay.h"

#define STABLE 10000 /* ms open after which the count of tries starts again */

struct asked {         /* a request of the host whose answer is awaited */
	int operation; /* -1: channel.open */
	uint16_t channel;
	uint32_t epoch;
	struct mr_request_copy *copy;
};

/* The number of retries since it was last open for a while. */
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
	r->port.retry(r->port.owner);
}

void mr_recovery_init(struct mr_recovery *r, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_recovery_port *port)
{
	*r = (struct mr_recovery){.services = services, .config = config, .port = *port};
	r->connection = connection;
	mr_plan_init(&r->plan);
	mr_topology_init(&r->topology);
	mr_timer_init(&r->retry, &services->timers, on_retry, r);
	mr_timer_init(&r->repair, &services->timers, mr_repair_due, r);
	mr_timer_init(&r->idle, &services->timers, mr_idle_due, r);
	mr_timer_init(&r->pace, &services->timers, mr_replay_due, r);
	if (getrandom(&r->random, sizeof r->random, GRND_NONBLOCK) < 0)
		r->random = (uint64_t)(uintptr_t)r;
	r->random |= 1;
}

static void free_asked(struct asked *a)
{
	if (a->copy) mr_table_free(a->copy->request.arguments);
	mr_free(a->copy);
	mr_free(a);
}

void mr_recovery_fini(struct mr_recovery *r)
{
	struct asked *a;
	size_t at = 0;
	mr_recovery_end(r);
	while ((a = mr_map_next(&r->asked, &at, NULL))) free_asked(a);
	mr_map_fini(&r->asked);
	mr_topology_fini(&r->topology);
	mr_plan_fini(&r->plan);
	mr_error_keep(&r->repair_why, NULL);
	mr_error_keep(&r->over_limit, NULL);
}

void mr_recovery_begin(struct mr_recovery *r)
{
	if (!r->was_open) r->attempt = 0;
}

void mr_recovery_end(struct mr_recovery *r)
{
	mr_recovery_lost(r, NULL);
	mr_timer_stop(&r->retry);
	r->was_open = false;
	r->attempt = 0;
	mr_topology_fini(&r->topology);
	mr_topology_init(&r->topology);
}

void mr_recovery_lost(struct mr_recovery *r, const mr_error *why)
{
	r->attempt = tries(r);
	r->opened_at = 0;
	mr_timer_stop(&r->repair);
	mr_timer_stop(&r->idle);
	r->repairs = 0;
	mr_replay_lost(r, why);
}

/* ---- the next try ---- */

bool mr_recovery_would_retry(const struct mr_recovery *r, int kind)
{
	const struct mr_config *c = r->config;
	bool is_wanted = r->was_open ? c->recover : c->retry.style != MR_RETRY_JITTER;
	return is_wanted && mr_backoff(&c->retry, tries(r), kind, 0) >= 0;
}

static mr_msec next_delay(struct mr_recovery *r, int kind)
{
	const struct mr_retry *retry = &r->config->retry;
	double random = mr_recovery_chance(r);
	mr_msec delay = mr_backoff(retry, r->attempt, kind, random);
	if (r->attempt == 0 && retry->style == MR_RETRY_JITTER) {
		mr_msec more = mr_backoff_join(r->services->crowd, mr_clock_now());
		delay += (mr_msec)((double)more * random);
		if (delay > retry->max) delay = retry->max;
	}
	return r->host_decides && delay < MR_POLICY_TIME ? MR_POLICY_TIME : delay;
}

mr_msec mr_recovery_retry(struct mr_recovery *r, const mr_error *why)
{
	mr_msec delay = next_delay(r, why->kind);
	mr_timer_arm(&r->retry, mr_clock_now() + delay);
	mr_recovery_tell_try(r, MR_CONNECTION_RETRYING, 0, ++r->attempt, delay, why);
	return delay;
}

/* ---- what the host asks for ---- */

/* If a host uses a token twice at a time, the first request is dropped. */
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
	if (!a) return; /* then it is not restored */
	*a = (struct asked){.operation = -1, .channel = c->channel, .epoch = c->epoch};
	if (!keep(r, c->token, a)) mr_free(a);
}

void mr_recovery_channel_closed(struct mr_recovery *r, uint16_t number)
{
	mr_topology_channel_closed(&r->topology, number);
}

bool mr_recovery_asked(struct mr_recovery *r, const struct mr_command *c)
{
	struct mr_request_copy *copy = c->request.copy;
	struct asked *a = mr_calloc(1, sizeof *a);
	if (a) *a = (struct asked){copy->request.operation, c->channel, c->epoch, copy};
	if (a && keep(r, c->token, a)) return true;
	mr_free(a);
	return false;
}

void mr_recovery_forget(struct mr_recovery *r, uint32_t consumer)
{
	struct mr_record *record = mr_record_of_consumer(&r->topology, consumer);
	if (!record) return;
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, record->channel);
	const mr_request cancel = {.operation = MR_BASIC_CANCEL, .extra = record->request.extra};
	if (c && r->port.has_channel(r->port.owner, c->number)) {
		const struct mr_ask ask = {MR_ASK_REQUEST, c->number, c->epoch, 0, MR_NEVER,
			&cancel};
		r->port.ask(r->port.owner, &ask);
	}
	mr_topology_cancel(&r->topology, record);
}

/* The program deleted the queue itself: its cancelled consumers are not restored. */
static void end_consumers_of(struct mr_recovery *r, mr_slice queue)
{
	struct mr_record *c = NULL;
	while ((c = mr_topology_next_of(&r->topology, queue, c))) {
		mr_event ev = {.type = MR_EV_CANCEL, .connection = r->connection};
		ev.channel = c->channel;
		ev.as.cancel.consumer = c->request.number;
		mr_recovery_push(r, &ev);
	}
}

/* The program got a timeout. True: the answer may still arrive, and must be recorded then. */
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

/* Effects that count from the request on, whatever the answer: confirm mode numbers publishes from
 * it, and a consumer that the program cancels is not restored. */
static bool counts_unanswered(const struct asked *a)
{
	return a->operation == MR_CONFIRM_SELECT || a->operation == MR_BASIC_CANCEL;
}

static void note_answer(struct mr_recovery *r, const mr_event *ev)
{
	struct asked *a = mr_map_get(&r->asked, ev->as.done.token);
	const mr_reply *reply = ev->as.done.reply;
	bool is_late = ev->as.done.is_late;
	if (!a || (ev->status == MR_TIMEOUT && !is_late && waits_on(a))) return;
	bool counts = ev->status == MR_OK || (ev->status == MR_TIMEOUT && counts_unanswered(a));
	mr_map_take(&r->asked, ev->as.done.token);
	if (counts && a->operation < 0) mr_topology_channel(&r->topology, a->channel, a->epoch);
	if (counts && a->operation == MR_QUEUE_DELETE) end_consumers_of(r, a->copy->request.name);
	if (counts && a->operation >= 0)
		mr_topology_note(&r->topology, a->channel, &a->copy->request,
			reply ? mr_slice_of(reply->name, reply->name_size) : mr_slice_of("", 0));
	free_asked(a);
}

/* ---- what the session tells ---- */

/* It ended with its connection: only that is reported, unless the channel was not open yet. */
static bool goes_with_connection(const struct mr_recovery *r, const mr_event *ev)
{
	return r->port.state(r->port.owner) == MR_SESSION_CLOSED && r->opened_at &&
	       mr_recovery_would_retry(r, ev->status);
}

/* The broker closed a channel, or has only taken back its deliveries. A channel with consumers is
 * restored. */
static bool take_channel(struct mr_recovery *r, mr_event *ev)
{
	if (ev->as.channel.change != MR_CHANNEL_ENDED) return false;
	struct mr_channel_record *c = mr_record_of_channel(&r->topology, ev->channel);
	if (mr_replay_ended(r, ev) || (c && goes_with_connection(r, ev))) {
		mr_event_fini(ev);
		return true;
	}
	if (!c || r->port.state(r->port.owner) == MR_SESSION_CLOSED) return false;
	if (!r->config->recover || !mr_topology_has_consumers(&r->topology, c->number)) {
		mr_topology_channel_closed(&r->topology, c->number);
		return false;
	}
	c->broken = true;
	ev->as.channel.will_recover = true;
	if (!mr_plan_track(&r->plan, ev->channel))
		mr_repair_plan(r, ev->channel, ev->as.channel.error, ev->status);
	return false;
}

static void take_cancel(struct mr_recovery *r, mr_event *ev)
{
	if (!r->config->recover) return;
	const struct mr_record *record =
		mr_topology_cancelled(&r->topology, ev->as.cancel.consumer);
	if (!record) return;
	ev->as.cancel.will_recover = true;
	if (!mr_plan_track(&r->plan, record->channel))
		mr_repair_plan(r, 0, ev->as.cancel.error, MR_CANCELLED);
}

static bool is_ours(uint64_t token) { return token & MR_RECOVERY_OURS && token != MR_TOKEN_NOBODY; }

bool mr_recovery_takes(struct mr_recovery *r, mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DONE:
		if (is_ours(ev->as.done.token)) {
			mr_replay_answered(r, ev);
			mr_event_fini(ev);
			return true;
		}
		note_answer(r, ev);
		if (!ev->as.done.is_late) return false;
		mr_event_fini(ev);
		return true;
	case MR_EV_CHANNEL: return take_channel(r, ev);
	case MR_EV_CANCEL: take_cancel(r, ev); return false;
	default: return false;
	}
}

bool mr_recovery_opened(struct mr_recovery *r, const struct mr_handshake *agreed)
{
	bool was_open = r->was_open;
	mr_msec now = mr_clock_now();
	r->was_open = true;
	r->opened_at = now;
	mr_timer_stop(&r->retry);
	r->channel_max = agreed->channel_max;
	r->heartbeat = agreed->heartbeat;
	r->is_usable = false;
	mr_idle_begin(r);
	if (was_open && mr_recovery_plan(r, true)) return true;
	if (r->is_put_off) mr_repair_put_off(r);
	return r->is_put_off;
}

bool mr_recovery_is_usable(const struct mr_recovery *r) { return !r->is_whole || r->is_usable; }
