/* health: the configured checks, the results of the host's own checks, and the requests for health.
 * SPDX-License-Identifier: MIT */
#include "health/health.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/value.h"
#include "health/http.h"
#include "health/metrics.h"
#include "io/services.h"

#define CHECKS_MAX 64
#define ROUND 1000 /* ms between two checks */
#define SOON 20    /* ms from a change to the check */

static mr_health *look(struct mr_health_state *c)
{
	mr_vitals_gather(c->vitals, c->services, c->stall, c->started);
	c->vitals->stopping |= c->stopping;
	return mr_verdict(c->vitals, &c->options, &c->checks, mr_clock_now());
}

/* ---- reports to the host ---- */

static void tell(struct mr_health_state *c, uint64_t token, mr_health *health)
{
	mr_event ev = {.type = MR_EV_HEALTH, .as.health = {token, health}};
	ev.status = health ? MR_OK : MR_NO_MEMORY;
	mr_event_queue_push(&c->services->dispatch, &ev);
}

static void on_round(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_health_state *c = timer->data;
	(void)loop;
	(void)revents;
	mr_health *h = look(c);
	mr_timer_arm(&c->round, mr_clock_now() + ROUND);
	/* Closing by a stop is not reported as a change. */
	if (h && h->healthy != c->was_healthy && !h->stopping) {
		c->was_healthy = h->healthy;
		tell(c, 0, h);
		return;
	}
	mr_verdict_free(h);
}

static void watch(struct mr_health_state *c, bool on)
{
	if (on && !c->watching) {
		mr_health *h = look(c);
		c->was_healthy = h && h->healthy;
		mr_verdict_free(h);
	}
	c->watching = on;
	mr_timer_arm(&c->round, on ? mr_clock_now() + ROUND : MR_NEVER);
}

/* Something may have changed: checks before the next round. A thousand lost connections cause one
 * check, not a thousand. */
static void look_soon(void *health)
{
	struct mr_health_state *c = health;
	mr_msec at = mr_clock_now() + SOON;
	if (c->watching && c->round.at > at) mr_timer_arm(&c->round, at);
}

/* ---- what the host tells ---- */

static void note(struct mr_health_state *c, const struct mr_health_note *note)
{
	struct mr_host_check *check = NULL;
	for (struct mr_node *n = c->checks.next; n != &c->checks && !check; n = n->next) {
		check = mr_container(n, struct mr_host_check, node);
		if (strcmp(check->name, note->name) != 0) check = NULL;
	}
	if (note->state == MR_NOTE_FORGET) {
		if (!check) return;
		mr_list_remove(&check->node);
		mr_free(check);
		c->check_count--;
		return;
	}
	if (!check && c->check_count < CHECKS_MAX && (check = mr_calloc(1, sizeof *check))) {
		memcpy(check->name, note->name, sizeof check->name);
		mr_list_append(&c->checks, &check->node);
		c->check_count++;
	}
	if (!check) return;
	check->state = note->state;
	memcpy(check->detail, note->detail, sizeof check->detail);
	check->at = mr_clock_now();
}

/* ---- pages ---- */

static enum mr_status write_json(struct mr_buffer *out, mr_table *page) /* frees the page */
{
	enum mr_status st = page ? mr_json_table(out, page) : MR_NO_MEMORY;
	mr_table_free(page);
	return st;
}

static bool is_page(mr_slice path, const char *name)
{
	return mr_slice_equal(path, mr_slice_str(name));
}

static enum mr_status write_not_found(struct mr_health_state *c, struct mr_buffer *out)
{
	static const char *const built_in[] = {"/health", "/ready", "/live", "/metrics"};
	mr_table *page = mr_table_new(), *list = NULL;
	if (page && mr_table_add_string(page, "error", mr_slice_str("not found")) == MR_OK)
		list = mr_table_nest(page, "pages", strlen("pages"), 'A');
	for (size_t i = 0; list && i < sizeof built_in / sizeof *built_in; i++)
		mr_table_add_string(list, "", mr_slice_str(built_in[i]));
	if (list) mr_host_pages_list(&c->host_pages, list);
	return write_json(out, page);
}

static int answer_built_in(struct mr_health_state *c, const struct mr_httpd_request *request,
	mr_health *h, struct mr_httpd_page *page)
{
	enum mr_status st;
	int code = 200;
	if (is_page(request->path, "/health")) {
		code = h->healthy ? 200 : 503;
		st = write_json(&page->body, mr_verdict_health(h, request->verbose));
	} else if (is_page(request->path, "/ready")) {
		code = h->ready ? 200 : 503;
		st = write_json(&page->body, mr_verdict_ready(h));
	} else if (is_page(request->path, "/live")) {
		code = h->live ? 200 : 503;
		st = write_json(&page->body, mr_verdict_live(h));
	} else if (is_page(request->path, "/metrics")) {
		page->type = "text/plain; version=0.0.4; charset=utf-8";
		st = mr_metrics_write(&page->body, c->vitals, h, c->meters, c->meter_count,
			&c->history->confirms, c->metrics, c->metric_count);
	} else {
		code = 404;
		st = write_not_found(c, &page->body);
	}
	return st == MR_OK ? code : 500;
}

/* Answers with a page of the host. */
static int answer_later(struct mr_health_state *c, const struct mr_httpd_request *request,
	struct mr_httpd_page *page)
{
	static const char behind[] = "{\"error\":\"the program takes no requests at the moment\"}";
	if (!mr_host_pages_are_behind(&c->host_pages, &c->services->dispatch)) {
		page->number = mr_host_pages_ask(&c->host_pages, &c->services->dispatch, request);
		return page->number ? MR_HTTPD_LATER : 500;
	}
	return mr_buffer_append(&page->body, behind, sizeof behind - 1) == MR_OK ? 503 : 500;
}

static int answer(void *owner, const struct mr_httpd_request *request, struct mr_httpd_page *page)
{
	struct mr_health_state *c = owner;
	if (mr_host_pages_have(&c->host_pages, request->path))
		return answer_later(c, request, page);
	mr_health *h = look(c);
	int code = h ? answer_built_in(c, request, h, page) : 500;
	mr_verdict_free(h);
	return code;
}

static void pass_on(struct mr_health_state *c, uint64_t number, const struct mr_page_answer *a)
{
	mr_httpd_reply(c->http, number, a->code, a->type, mr_slice_of(a->body, a->size));
}

static void tell_listening(struct mr_health_state *c, uint64_t token, const char *address,
	uint16_t port, const mr_error *error)
{
	mr_event ev = {.type = MR_EV_DONE, .status = error->kind, .as.done.token = token};
	mr_reply *r = ev.as.done.reply = mr_calloc(1, sizeof *r);
	if (r) {
		r->error = *error;
		r->message_count = port;
		int n = snprintf(r->name, sizeof r->name,
			strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
		r->name_size = (uint16_t)(n < 255 ? n : 255);
	}
	mr_event_queue_push(&c->services->dispatch, &ev);
}

static void listen_on(struct mr_health_state *c, uint64_t token, const char *address, uint16_t port)
{
	mr_error error = {0};
	uint16_t actual = port;
	if (c->http)
		mr_error_set(&error, MR_NOT_ALLOWED, MR_SCOPE_CONFIG, 0,
			"the pages are served already; close them first");
	else
		mr_httpd_open(&c->http, c->services->loop, address, port, &actual, answer, c,
			&error);
	if (!error.kind) {
		char text[8];
		snprintf(text, sizeof text, "%u", actual);
		mr_log(&c->services->log, MR_LOG_INFO, "health pages", "address", address, "#port",
			text, NULL);
	}
	tell_listening(c, token, address, actual, &error);
}

void mr_health_obey(struct mr_health_state *c, const struct mr_command *command)
{
	mr_error none = {0};
	switch (command->health.what) {
	case MR_HEALTH_OPTIONS:
		c->options = *command->health.options;
		mr_free(command->health.options);
		break;
	case MR_HEALTH_NOTE:
		note(c, command->health.note);
		mr_free(command->health.note);
		break;
	case MR_HEALTH_STOPPING: c->stopping = true; break;
	case MR_HEALTH_ASK: tell(c, command->token, look(c)); return;
	case MR_HEALTH_WATCH: watch(c, command->health.is_watched); return;
	case MR_HEALTH_METER:
		if (c->meter_count < sizeof c->meters / sizeof *c->meters)
			c->meters[c->meter_count++] = command->health.meter;
		return;
	case MR_HEALTH_METRIC:
		if (c->metric_count < MR_METRICS_MAX)
			c->metrics[c->metric_count++] = command->health.metric;
		return;
	case MR_HTTP_LISTEN:
		listen_on(c, command->token, command->health.listen.address,
			command->health.listen.port);
		mr_free(command->health.listen.address);
		return;
	case MR_HTTP_PAGE:
		mr_host_pages_set(&c->host_pages, command->health.page.path,
			command->health.page.is_on);
		return;
	case MR_HTTP_ANSWER:
		pass_on(c, command->health.answer.request, command->health.answer.page);
		mr_free(command->health.answer.page);
		return;
	case MR_HTTP_CLOSE:
		mr_health_close(c);
		tell_listening(c, command->token, "", 0, &none);
		return;
	}
	look_soon(c);
}

/* ---- start and end ---- */

enum mr_status mr_health_init(struct mr_health_state *c, struct mr_services *services,
	struct mr_stall *stall)
{
	*c = (struct mr_health_state){.services = services,
		.stall = stall,
		.options = mr_health_defaults};
	c->history = services->history;
	c->history->changed = look_soon;
	c->history->owner = c;
	mr_list_init(&c->checks);
	c->started = mr_now();
	mr_timer_init(&c->round, &services->timers, on_round, c);
	c->vitals = mr_calloc(1, sizeof *c->vitals);
	return c->vitals ? MR_OK : MR_NO_MEMORY;
}

void mr_health_close(struct mr_health_state *c)
{
	mr_httpd_close(c->http);
	c->http = NULL;
}

void mr_health_fini(struct mr_health_state *c)
{
	struct mr_node *node;
	if (!c->services) return;
	mr_health_close(c);
	mr_timer_stop(&c->round);
	while ((node = mr_list_shift(&c->checks)))
		mr_free(mr_container(node, struct mr_host_check, node));
	mr_host_pages_fini(&c->host_pages);
	mr_free(c->vitals);
	c->vitals = NULL;
}
