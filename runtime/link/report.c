/* report: a link's events to the host, and log lines of its channels and messages.
 * SPDX-License-Identifier: MIT */
#include "link/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/number.h"
#include "bridge/command.h"
#include "link/flight.h"
#include "link/outage.h"
#include "link/streams.h"

_Static_assert(MR_TOKEN_NONE == MR_TOKEN_NOBODY, "one word for nobody");

struct waiter {
	struct mr_node node;
	uint64_t token;
};

/* Records the link's events for health. */
static void note_event(struct mr_link *link, const mr_event *ev)
{
	struct mr_history *history = link->services->history;
	if (ev->type == MR_EV_BLOCKED) {
		bool was_blocked = link->is_blocked;
		link->is_blocked = ev->as.blocked.is_blocked;
		snprintf(link->blocked_why, sizeof link->blocked_why, "%.127s",
			ev->as.blocked.reason ? ev->as.blocked.reason->text : "");
		if (was_blocked != link->is_blocked)
			mr_outage_blocked(link, link->is_blocked, link->blocked_why);
	}
	if (ev->type == MR_EV_CANCEL && ev->status == MR_CANCELLED && !ev->as.cancel.will_recover)
		mr_history_failed(history, link->number, "(unknown)", "cancelled by the broker");
}

/* The quoted name after a word of the broker's text: "no exchange 'logs' in vhost '/'". */
static void quoted(const char *text, const char *word, char out[256])
{
	const char *at = strstr(text, word);
	const char *end = at ? strchr(at + strlen(word), '\'') : NULL;
	out[0] = '\0';
	if (end) snprintf(out, 256, "%.*s", (int)(end - at) - (int)strlen(word), at + strlen(word));
}

struct closed_channel {
	mr_error why;
	uint16_t number;
	bool is_answer;
	bool is_of_many; /* closed by one recovery */
	char queue[256];
};

/* Logs a channel that the broker closed, for any use, with its queue. False: it ended otherwise. */
static bool note_closed(struct mr_link *link, const mr_event *ev, struct closed_channel *c)
{
	const mr_error *why = ev->as.channel.error;
	if (!ev->status || !why || why->scope != MR_SCOPE_CHANNEL || !why->code) return false;
	*c = (struct closed_channel){.why = *why,
		.number = ev->channel,
		.is_answer = ev->as.channel.was_asking};
	const struct mr_record *consumer =
		mr_topology_next_on(&link->recovery.topology, ev->channel, NULL);
	if (consumer) snprintf(c->queue, sizeof c->queue, "%s", consumer->strings[0]);
	return true;
}

/* Without a consumer, the name in the broker's text is logged. If the request only asked whether an
 * object exists, the refusal is a normal answer. */
static void log_closed(struct mr_link *link, struct closed_channel *c)
{
	char exchange[256], number[12], code[12];
	if (!c->queue[0]) quoted(c->why.text, "queue '", c->queue);
	quoted(c->why.text, "exchange '", exchange);
	snprintf(number, sizeof number, "%u", c->number);
	snprintf(code, sizeof code, "%d", c->why.code);
	bool is_queue = c->queue[0];
	mr_log(&link->services->log, c->is_answer || c->is_of_many ? MR_LOG_DEBUG : MR_LOG_ERROR,
		"the broker closed a channel", "connection", link->config->name, "#channel", number,
		is_queue ? "queue" : "exchange", is_queue ? c->queue : exchange, "kind",
		mr_status_name(c->why.kind), "#code", code, "text", c->why.text, "hint",
		mr_error_hint(&c->why), NULL);
}

void mr_report_push(struct mr_link *link, const mr_event *ev)
{
	mr_history_saw(link->services->history, ev);
	mr_event_queue_push_from(&link->services->dispatch, &link->lane, ev);
}

/* True if the session has ended, and the host does not know yet. */
static bool is_loss_untold(const struct mr_link *link)
{
	bool was_open = link->state == MR_LINK_OPEN || link->state == MR_LINK_CLOSING;
	return was_open && link->session && mr_session_state(link->session) == MR_SESSION_CLOSED;
}

/* Requests that fail with the connection are reported after its end, so that a program that sees
 * the error finds the connection closed. */
static bool hold(struct mr_link *link, const mr_event *ev)
{
	if (ev->type != MR_EV_DONE || !is_loss_untold(link)) return false;
	return mr_buffer_append(&link->held, ev, sizeof *ev) == MR_OK;
}

void mr_report_release(struct mr_link *link)
{
	mr_event ev;
	while (mr_buffer_size(&link->held)) {
		memcpy(&ev, mr_buffer_data(&link->held), sizeof ev);
		mr_buffer_consume(&link->held, sizeof ev);
		mr_report_push(link, &ev);
	}
	mr_buffer_fini(&link->held);
}

/* False: it belonged to recovery. */
static bool tell(struct mr_link *link, mr_event *ev)
{
	if (mr_recovery_takes(&link->recovery, ev)) return false;
	note_event(link, ev);
	if (!hold(link, ev)) mr_report_push(link, ev);
	return true;
}

/* A channel has ended, with its connection or alone. */
static void forget_parked(struct mr_link *link, const mr_event *ev)
{
	bool is_whole = mr_session_state(link->session) == MR_SESSION_CLOSED;
	mr_event_queue_forget(&link->lane, link->services->pool, is_whole ? 0 : ev->epoch);
}

void mr_report_emit(void *owner, const mr_event *event)
{
	struct mr_link *link = owner;
	struct closed_channel closed;
	if (event->type == MR_EV_DELIVERY || event->type == MR_EV_CONFIRM) { /* most events */
		if (event->type == MR_EV_DELIVERY)
			link->services->delivered_at = link->services->clock;
		else if (event->status != MR_OK) {
			mr_outage_notices(link);
			mr_flight_event(link, event);
		}
		mr_event_queue_push_from(&link->services->dispatch, &link->lane, event);
		return;
	}
	mr_event ev = *event;
	mr_outage_notices(link);
	mr_flight_event(link, &ev);
	bool is_closed = ev.type == MR_EV_CHANNEL && note_closed(link, &ev, &closed);
	if (ev.type == MR_EV_CHANNEL && ev.status != MR_OK) forget_parked(link, &ev);
	bool is_told = tell(link, &ev);
	if (!is_closed) return; /* reported to the host first */
	if (!is_told) closed.is_of_many = ++link->recovery.closed > MR_RECOVERY_LINES;
	log_closed(link, &closed);
}

void mr_report_state(struct mr_link *link, enum mr_connection_state state, const mr_error *why)
{
	mr_event ev = {.type = MR_EV_CONNECTION, .status = why ? why->kind : MR_OK};
	ev.connection = link->number;
	ev.as.connection.state = (uint16_t)state;
	ev.as.connection.with.error = why ? mr_error_copy(why) : NULL;
	mr_report_emit(link, &ev);
}

void mr_report_opened(struct mr_link *link, struct mr_opened *opened)
{
	mr_event ev = {.type = MR_EV_CONNECTION, .connection = link->number};
	ev.as.connection.state = MR_CONNECTION_OPEN;
	ev.as.connection.with.opened = opened;
	mr_report_emit(link, &ev);
}

void mr_report_lost(struct mr_link *link, const mr_error *why)
{
	mr_event ev = {.type = MR_EV_CONNECTION, .status = why->kind};
	ev.connection = link->number;
	ev.as.connection.state = MR_CONNECTION_LOST;
	ev.as.connection.will_recover = true;
	ev.as.connection.with.error = mr_error_copy(why);
	mr_report_emit(link, &ev);
	mr_report_release(link);
}

void mr_report_channel_done(struct mr_link *link, uint16_t channel, uint64_t token,
	const mr_error *error)
{
	mr_event ev = {.type = MR_EV_DONE, .status = error->kind, .channel = channel};
	mr_reply *reply = mr_calloc(1, sizeof *reply);
	if (reply) reply->error = *error;
	ev.connection = link->number;
	ev.as.done.token = token;
	ev.as.done.reply = reply;
	mr_report_emit(link, &ev);
}

void mr_report_done(struct mr_link *link, uint64_t token, const mr_error *error)
{
	mr_report_channel_done(link, 0, token, error);
}

void mr_report_wait(struct mr_link *link, struct mr_node *list, uint64_t token)
{
	mr_error error = {0};
	struct waiter *w = mr_calloc(1, sizeof *w);
	if (!w) {
		mr_error_set(&error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
		mr_report_done(link, token, &error);
		return;
	}
	w->token = token;
	mr_list_append(list, &w->node);
}

void mr_report_answer(struct mr_link *link, struct mr_node *list, const mr_error *error)
{
	struct mr_node *node;
	while ((node = mr_list_shift(list))) {
		struct waiter *w = mr_container(node, struct waiter, node);
		mr_report_done(link, w->token, error);
		mr_free(w);
	}
}

void mr_report_usable(struct mr_link *link)
{
	const mr_error none = {0};
	mr_report_answer(link, &link->openers, &none);
}

void mr_report_recovered(struct mr_link *link, uint32_t restored, mr_table *report)
{
	mr_event ev = {.type = MR_EV_CONNECTION, .connection = link->number};
	mr_msec gap = mr_clock_now() - link->recovery.lost_at;
	ev.as.connection.state = MR_CONNECTION_RECOVERED;
	ev.as.connection.numbers.recovered.entities = restored;
	ev.as.connection.numbers.recovered.gap = mr_clock_ms32(gap);
	ev.as.connection.with.report = report;
	mr_outage_recovered(link, restored, gap);
	mr_report_emit(link, &ev);
	mr_report_usable(link);
}

static void tell_late(void *owner, uint16_t channel, uint64_t token, enum mr_status status)
{
	struct mr_link *link = owner;
	mr_event ev = {.type = MR_EV_DONE, .status = status, .channel = channel};
	ev.connection = link->number;
	ev.as.done.token = token;
	ev.as.done.is_late = token != MR_TOKEN_NONE;
	mr_report_emit(link, &ev);
}

/* Logs the first, then fewer and fewer: a broker that does it with each message must not fill the
 * log. */
static void log_odd(void *owner, uint16_t channel, const mr_error *what)
{
	struct mr_link *link = owner;
	char number[16], count[32];
	uint64_t n = ++link->violations;
	if (n & (n - 1)) return;
	snprintf(number, sizeof number, "%u", channel);
	snprintf(count, sizeof count, "%" PRIu64, n);
	mr_log(&link->services->log, MR_LOG_WARN, "the broker broke the protocol", "connection",
		link->config->name, "#channel", number, "text", what->text, "#count", count, NULL);
}

static void log_too_large(void *owner, const struct mr_too_large *what)
{
	const struct mr_link *link = owner;
	char names[4][256], size[24], limit[24];
	const mr_slice slices[] = {what->queue, what->consumer_tag, what->exchange,
		what->routing_key};
	for (size_t i = 0; i < 4; i++)
		snprintf(names[i], sizeof names[i], "%.*s", (int)slices[i].size,
			slices[i].size ? slices[i].data : "");
	snprintf(size, sizeof size, "%" PRIu64, what->size);
	snprintf(limit, sizeof limit, "%" PRIu64, what->limit);
	mr_log(&link->services->log, MR_LOG_ERROR, "message over max_message_size", "connection",
		link->config->name, "queue", names[0], "tag", names[1], "exchange", names[2],
		"routing_key", names[3], "#size", size, "#limit", limit, "fate", what->fate, "hint",
		"raise max_message_size; what was rejected is in the queue's dead letters, if it has a "
		"dead letter exchange; what is kept comes again when the channel ends",
		NULL);
}

static void log_curbed(void *owner, const struct mr_curbed *what)
{
	const struct mr_link *link = owner;
	char queue[256], tag[256], prefetch[12];
	snprintf(queue, sizeof queue, "%.*s", (int)what->queue.size, what->queue.data);
	snprintf(tag, sizeof tag, "%.*s", (int)what->consumer_tag.size, what->consumer_tag.data);
	snprintf(prefetch, sizeof prefetch, "%u", what->prefetch);
	mr_log(&link->services->log, MR_LOG_WARN, "a consumer without prefetch gets one",
		"connection", link->config->name, "queue", queue, "tag", tag, "#prefetch", prefetch,
		"hint",
		"the script is far behind with its messages, and waits for the broker: set a "
		"prefetch, and take no_ack off",
		NULL);
}

static void log_curb_refused(void *owner, const mr_error *why)
{
	struct mr_link *link = owner;
	char code[16];
	snprintf(code, sizeof code, "%d", why->code);
	link->curbs_refused = true;
	mr_log(&link->services->log, MR_LOG_WARN, "the broker refuses a consumer with a prefetch",
		"connection", link->config->name, "#code", code, "text", why->text, "hint",
		"it took the place of one without prefetch, as the script is far behind; this "
		"connection does so no more: set a prefetch",
		NULL);
}

/* A consumer has ended: if it is restored, then where it was. */
static void note_resume(void *owner, const struct mr_resume *at)
{
	struct mr_link *link = owner;
	struct mr_record *r = mr_record_of_consumer(&link->recovery.topology, at->consumer);
	mr_msec age = mr_clock_now() - at->since;
	if (r) mr_streams_resume(r, at, (int64_t)time(NULL) - age / 1000, age);
}

/* The memory of a body that was written: for the host's next ones. */
static void spare(void *owner, void *block, size_t size)
{
	const struct mr_link *link = owner;
	mr_spares_give(&link->services->bridge->spares, block, size);
}

void mr_report_hear(struct mr_link *link)
{
	struct mr_session_options *o = &link->options;
	o->pool = link->services->pool;
	o->stats = &link->services->stats;
	o->clock = &link->services->clock;
	o->confirm_times = &link->services->history->confirms;
	o->owner = link;
	o->emit = mr_report_emit;
	o->written = spare;
	o->odd = log_odd;
	o->seen = mr_flight_method;
	o->late = tell_late;
	o->too_large = log_too_large;
	o->curbed = log_curbed;
	o->resume = note_resume;
	o->curb_refused = log_curb_refused;
}
