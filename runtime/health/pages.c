/* pages: the HTTP servers of a runtime: the public one, and the console's, which serves more.
 * SPDX-License-Identifier: MIT */
#include "health/pages.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/local_socket.h"
#include "base/value.h"
#include "health/assets.h"
#include "health/fields.h"
#include "health/http.h"
#include "health/metrics.h"
#include "health/recent.h"
#include "health/recording.h"
#include "health/status.h"
#include "io/services.h"

/* ---- built-in pages ---- */

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

#define BIT(audience) (1u << (audience))

/* The pages /status and /recorder name users, hosts, queues and tracebacks: not everybody sees it. The files of the page for
 * browsers are not listed. */
static const struct {
	const char *path;
	unsigned audiences;
} built_in[] = {{"/health", BIT(MR_PAGE_ALL)}, {"/ready", BIT(MR_PAGE_ALL)},
	{"/live", BIT(MR_PAGE_ALL)}, {"/metrics", BIT(MR_PAGE_ALL)}, {"/", BIT(MR_PAGE_VIEWERS)},
	{"/status", BIT(MR_PAGE_VIEWERS) | BIT(MR_PAGE_CONSOLE)},
	{"/recorder", BIT(MR_PAGE_CONSOLE)}};

#define BUILT_IN (sizeof built_in / sizeof *built_in)

static bool is_built_in(mr_slice path, unsigned audiences)
{
	for (size_t i = 0; i < BUILT_IN; i++)
		if (built_in[i].audiences & audiences && is_page(path, built_in[i].path))
			return true;
	return false;
}

static const char *hint(unsigned audiences)
{
	if (audiences & (BIT(MR_PAGE_VIEWERS) | BIT(MR_PAGE_CONSOLE))) return NULL;
	return "it is served at a loopback address, to requests for an address or localhost that no "
	       "proxy passes on; elsewhere if asked for: --http-page";
}

static enum mr_status write_not_found(struct mr_pages *p, mr_slice path, unsigned audiences,
	struct mr_buffer *out)
{
	const char *why = is_page(path, "/") || is_page(path, "/status") ? hint(audiences) : NULL;
	mr_table *page = mr_table_new(), *list = NULL;
	if (page && mr_table_add_string(page, "error", mr_slice_str("not found")) == MR_OK)
		list = mr_table_nest(page, "pages", strlen("pages"), 'A');
	for (size_t i = 0; list && i < BUILT_IN; i++)
		if (built_in[i].audiences & audiences)
			mr_table_add_string(list, "", mr_slice_str(built_in[i].path));
	if (list) mr_host_pages_list(&p->host_pages, list, audiences);
	if (why) mr_fields_text(page, "hint", why);
	return write_json(out, page);
}

static enum mr_status write_recorder(struct mr_pages *p, const struct mr_httpd_request *request,
	struct mr_buffer *out, int *code)
{
	mr_table *query = mr_table_new();
	if (!query) return MR_NO_MEMORY;
	mr_httpd_query(request, query);
	enum mr_status st = mr_recording_page(p->health->services, query, out, code);
	mr_table_free(query);
	return st;
}

/* The query says what it has besides: `recent`, `rates`, `log` or `log=N`: the lines after the N-th. */
static enum mr_status write_status(struct mr_pages *p, const struct mr_httpd_request *request,
	mr_health *h, struct mr_buffer *out)
{
	struct mr_health_state *c = p->health;
	mr_table *page = mr_status_page(c, h);
	uint64_t value;
	if (page && !request->is_private) mr_fields_flag(page, "changes", p->gate.token != NULL);
	if (mr_httpd_asks(request, "recent", &value)) mr_recent_moves(page, c->history);
	if (mr_httpd_asks(request, "rates", &value)) mr_rates_write(&p->rates, value, page);
	if (mr_httpd_asks(request, "log", &value))
		mr_recent_log(page, &c->services->bridge->logger->tail, value);
	return write_json(out, page);
}

/* A file of the page for browsers; false: it is none, or not for this visitor. */
static bool answer_asset(const struct mr_httpd_request *request, unsigned audiences,
	struct mr_httpd_page *page, enum mr_status *st)
{
	if (!(audiences & BIT(MR_PAGE_VIEWERS))) return false;
	mr_slice file = mr_assets_find(request->path, &page->type);
	if (!file.size) return false;
	*st = mr_buffer_append(&page->body, file.data, file.size);
	return true;
}

static int answer_built_in(struct mr_pages *p, const struct mr_httpd_request *request,
	unsigned audiences, mr_health *h, struct mr_httpd_page *page)
{
	struct mr_health_state *c = p->health;
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
	} else if (is_page(request->path, "/status") && is_built_in(request->path, audiences)) {
		st = write_status(p, request, h, &page->body);
	} else if (is_page(request->path, "/recorder") && is_built_in(request->path, audiences)) {
		st = write_recorder(p, request, &page->body, &code);
	} else if (is_page(request->path, "/metrics")) {
		page->type = "text/plain; version=0.0.4; charset=utf-8";
		st = mr_metrics_write(&page->body, c->vitals, h, c->meters, c->meter_count,
			&c->history->confirms, c->metrics, c->metric_count);
	} else if (!answer_asset(request, audiences, page, &st)) {
		code = 404;
		st = write_not_found(p, request->path, audiences, &page->body);
	}
	return st == MR_OK ? code : 500;
}

/* ---- requests ---- */

/* Answers with a page of the host. */
static int answer_later(struct mr_pages *p, const struct mr_httpd_request *request,
	struct mr_httpd_page *page)
{
	static const char behind[] = "{\"error\":\"the program takes no requests at the moment\"}";
	struct mr_event_queue *events = &p->health->services->dispatch;
	if (!mr_host_pages_are_behind(&p->host_pages, events)) {
		page->number = mr_host_pages_ask(&p->host_pages, events, request);
		return page->number ? MR_HTTPD_LATER : 500;
	}
	return mr_buffer_append(&page->body, behind, sizeof behind - 1) == MR_OK ? 503 : 500;
}

static int refuse(struct mr_httpd_page *page, int code, const char *text)
{
	return mr_buffer_append(&page->body, text, strlen(text)) == MR_OK ? code : 500;
}

/* A POST request of somebody who may change nothing: the wrong token, or the wrong place. */
static int refuse_change(struct mr_pages *p, const struct mr_httpd_request *request,
	struct mr_httpd_page *page)
{
	if (mr_gate_shows(&p->gate, request))
		return refuse(page, 401, "{\"error\":\"a change needs the right token\"}");
	mr_table *text = mr_table_new();
	if (text) mr_fields_text(text, "error", "nothing is changed where the page is not served");
	if (text) mr_fields_text(text, "hint", hint(0));
	return write_json(&page->body, text) == MR_OK ? 403 : 500;
}

static int answer(void *owner, const struct mr_httpd_request *request, struct mr_httpd_page *page)
{
	struct mr_pages *p = owner;
	const unsigned audiences = mr_gate_audiences(&p->gate, request);
	if (!audiences) return refuse_change(p, request, page);
	/* A page of the host's may replace a built-in one, but not what the console's clients read. Its own
	 * pages for the console may: a supervisor's are those of its workers. */
	bool is_fixed = request->is_private && is_built_in(request->path, audiences) &&
	                !mr_host_pages_have(&p->host_pages, request->path, BIT(MR_PAGE_CONSOLE));
	if (!is_fixed && mr_host_pages_have(&p->host_pages, request->path, audiences))
		return answer_later(p, request, page);
	if (audiences == BIT(MR_PAGE_ADMINS) ||
		(p->gate.token &&
			mr_host_pages_have(&p->host_pages, request->path, BIT(MR_PAGE_ADMINS))))
		return refuse(page, 405, "{\"error\":\"this page has another method\"}");
	mr_health *h = mr_health_look(p->health);
	int code = h ? answer_built_in(p, request, audiences, h, page) : 500;
	mr_verdict_free(h);
	return code;
}

static void left(void *owner, uint64_t number)
{
	struct mr_pages *p = owner;
	mr_event ev = {.type = MR_EV_PAGE, .as.page = {number, NULL}};
	mr_event_queue_push(&p->health->services->dispatch, &ev);
}

static void reply(struct mr_pages *p, uint64_t number, struct mr_page_answer *a)
{
	mr_slice body = mr_slice_of(a->body, a->size);
	/* Their numbers are different: at most one has a visitor with this one. */
	if (a->pipe) {
		mr_httpd_stream(p->console, number, a->type, a->pipe);
	} else {
		mr_httpd_reply(p->http, number, a->code, a->type, body);
		mr_httpd_reply(p->console, number, a->code, a->type, body);
	}
	mr_free(a);
}

/* ---- the servers ---- */

static void tell_listening(struct mr_pages *p, uint64_t token, const char *address, uint16_t port,
	const mr_error *error)
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
	mr_event_queue_push(&p->health->services->dispatch, &ev);
}

static const struct mr_httpd_rules *rules(const char *token)
{
	return token ? &mr_httpd_admin : &mr_httpd_public;
}

static void watch_rates(struct mr_pages *p)
{
	if (mr_gate_is_open(&p->gate)) mr_rates_begin(&p->rates, p->health);
}

static void show(struct mr_pages *p, const struct mr_command *command)
{
	mr_gate_set(&p->gate, command->health.show.where, command->health.show.token);
	if (!p->http || !command->health.show.is_now) return;
	mr_gate_apply(&p->gate);
	mr_httpd_rule(p->http, rules(p->gate.token));
	watch_rates(p);
}

static void listen_on(struct mr_pages *p, uint64_t token, const char *address, uint16_t port)
{
	const struct mr_httpd_owner owner = {p, answer, left};
	mr_error error = {0};
	uint16_t actual = port;
	if (p->http)
		mr_error_set(&error, MR_NOT_ALLOWED, MR_SCOPE_CONFIG, 0,
			"the pages are served already; close them first");
	else
		mr_httpd_open(&p->http, p->health->services->loop, address, port, &actual,
			rules(mr_gate_next_token(&p->gate)), &owner, &error);
	if (!error.kind) {
		mr_gate_open(&p->gate, address);
		watch_rates(p);
		char text[8];
		snprintf(text, sizeof text, "%u", actual);
		mr_log(&p->health->services->log, MR_LOG_INFO, "health pages", "address", address,
			"#port", text, NULL);
	}
	tell_listening(p, token, address, actual, &error);
}

static void end(struct mr_pages *p, uint64_t token)
{
	mr_error none = {0};
	mr_httpd_close(p->http);
	p->http = NULL;
	tell_listening(p, token, "", 0, &none);
}

static void end_console(struct mr_pages *p)
{
	if (p->console) p->socket->listener = -1; /* the server closes it */
	mr_httpd_close(p->console);
	p->console = NULL;
	if (!p->socket) return;
	mr_local_socket_close(p->socket);
	mr_free(p->socket);
	p->socket = NULL;
}

static void open_console(struct mr_pages *p, struct mr_local_socket *socket)
{
	const struct mr_httpd_owner owner = {p, answer, left};
	mr_error error;
	end_console(p);
	p->socket = socket;
	if (mr_httpd_serve(&p->console, p->health->services->loop, socket->listener,
		    &mr_httpd_console, &owner, &error) == MR_OK)
		return;
	socket->listener = -1; /* it is closed */
	end_console(p);
	mr_log(&p->health->services->log, MR_LOG_ERROR, "console not served", "error", error.text,
		NULL);
}

bool mr_pages_obey(struct mr_pages *p, const struct mr_command *command)
{
	switch (command->health.what) {
	case MR_HTTP_LISTEN:
		listen_on(p, command->token, command->health.listen.address,
			command->health.listen.port);
		mr_free(command->health.listen.address);
		return true;
	case MR_HTTP_CLOSE: end(p, command->token); return true;
	case MR_CONSOLE_LISTEN: open_console(p, command->health.console); return true;
	case MR_CONSOLE_CLOSE: end_console(p); return true;
	case MR_HTTP_PAGE:
		mr_host_pages_set(&p->host_pages, command->health.page.path,
			command->health.page.audience, command->health.page.is_on);
		return true;
	case MR_HTTP_SHOW: show(p, command); return true;
	case MR_HTTP_ANSWER:
		reply(p, command->health.answer.request, command->health.answer.page);
		return true;
	case MR_HTTP_FLOW: mr_httpd_flow(p->console, command->health.flows); return true;
	default: return false;
	}
}

/* ---- start and end ---- */

void mr_pages_init(struct mr_pages *p, struct mr_health_state *health)
{
	*p = (struct mr_pages){.health = health};
}

void mr_pages_close(struct mr_pages *p)
{
	mr_httpd_close(p->http);
	p->http = NULL;
	end_console(p);
}

void mr_pages_fini(struct mr_pages *p)
{
	mr_pages_close(p);
	mr_rates_end(&p->rates);
	mr_gate_fini(&p->gate);
	mr_host_pages_fini(&p->host_pages);
}
