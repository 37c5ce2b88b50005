/* http: serves a few pages by HTTP, in the I/O thread's loop.
 * SPDX-License-Identifier: MIT
 * libmicrohttpd parses and writes; our loop watches its epoll descriptor, so it needs no thread. Its
 * time-out only covers inactivity: our own ends a client that sends a byte now and then. A request with
 * a later answer is suspended: libmicrohttpd ignores it until it is resumed, and then asks for its
 * answer again. */
#include "base/ev.h"
#include "health/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/list.h"
#include "base/value.h"
#include "net/listen.h"

#define CONNECTIONS_MAX 64  /* more wait in the kernel */
#define CONNECTIONS_MANY 48 /* from this number on a new one replaces the oldest */
#define SILENCE 3u          /* s */
#define PATIENCE 5.0        /* s for a request; for a later answer; for reading that answer */
#define MEMORY_MAX 16384u   /* bytes of a request's head: longer ones are refused (431, 414) */
#define RUNS_MAX 8          /* then AMQP connections have their turn */

/* A connection and its request. `number` is not 0 while the request waits for its answer; `answer`
 * is then set until libmicrohttpd asks for it. A visitor that was shown out is in no list, and has
 * no number. */
struct visitor {
	struct mr_node node; /* sorted by their deadlines */
	struct MHD_Connection *connection;
	int fd;
	double until;
	uint64_t number;
	struct MHD_Response *answer;
	unsigned code;
};

struct mr_httpd {
	struct ev_loop *loop;
	struct MHD_Daemon *daemon;
	ev_io door, io;
	ev_timer tick; /* while there are visitors */
	int listener, wake_fd;
	struct mr_node visitors;
	size_t visitor_count;
	bool is_exhausted; /* a client waits, because there was no descriptor for it */
	mr_httpd_answer *answer;
	void *owner;
};

/* ---- visitors ---- */

static void give_time(struct mr_httpd *h, struct visitor *v)
{
	v->until = ev_now(h->loop) + PATIENCE;
	mr_list_remove(&v->node);
	mr_list_append(&h->visitors, &v->node);
}

static void resume(struct visitor *v)
{
	v->number = 0;
	MHD_resume_connection(v->connection);
}

/* Makes libmicrohttpd see the end of the stream and close it. */
static void show_out(struct visitor *v)
{
	mr_list_remove(&v->node);
	shutdown(v->fd, SHUT_RDWR);
	if (v->number) resume(v);
}

static void forget(struct mr_httpd *h, struct visitor *v)
{
	mr_list_remove(&v->node);
	if (v->answer) MHD_destroy_response(v->answer);
	mr_free(v);
	h->visitor_count--;
}

static void on_visitor(void *owner, struct MHD_Connection *connection, void **slot,
	enum MHD_ConnectionNotificationCode code)
{
	struct mr_httpd *h = owner;
	struct visitor *v = *slot;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (info) mr_descriptor_disown(info->connect_fd); /* libmicrohttpd closes it next */
		if (v) forget(h, v);
		return;
	}
	if (info) mr_descriptor_note(info->connect_fd);
	v = info ? mr_calloc(1, sizeof *v) : NULL;
	*slot = v;
	if (!v) return; /* then only its inactivity timeout ends it */
	v->connection = connection;
	v->fd = info->connect_fd;
	h->visitor_count++;
	give_time(h, v);
}

/* ---- answers ---- */

/* Copies the body. Returns NULL without memory. */
static struct MHD_Response *respond(unsigned code, const char *type, const void *body, size_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, (void *)(uintptr_t)body,
		MHD_RESPMEM_MUST_COPY);
	if (!r) return NULL;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return r;
}

/* Takes the response. NULL closes the connection. */
static enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned code,
	struct MHD_Response *r)
{
	if (!r) return MHD_NO;
	enum MHD_Result result = MHD_queue_response(connection, code, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned code, const char *text)
{
	return queue_response(connection, code,
		respond(code, "application/json", text, strlen(text)));
}

static struct visitor *visitor_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

static enum MHD_Result ask(struct mr_httpd *h, struct MHD_Connection *connection, const char *url,
	void **slot)
{
	struct mr_httpd_page page = {.type = "application/json"};
	struct mr_httpd_request request = {.path = mr_slice_str(url), .connection = connection};
	struct visitor *v = visitor_of(connection);
	if (v && !v->node.next) return MHD_NO; /* it was shown out after its request */
	request.verbose = MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND,
				  "verbose", strlen("verbose"), NULL, NULL) == MHD_YES;
	int code = v ? h->answer(h->owner, &request, &page) : 500;
	if (code == MR_HTTPD_LATER) {
		v->number = page.number;
		*slot = v;
		give_time(h, v);
		MHD_suspend_connection(connection);
		return MHD_YES;
	}
	enum MHD_Result result =
		code == 500 ? send_text(connection, 500, "{\"error\":\"out of memory\"}")
			    : queue_response(connection, (unsigned)code,
				      respond((unsigned)code, page.type, mr_buffer_data(&page.body),
					      mr_buffer_size(&page.body)));
	mr_buffer_fini(&page.body);
	return result;
}

/* Called with the head of a request, and again for a later answer: no body is read. If a version of
 * libmicrohttpd reads one nevertheless, its parts are ignored. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **slot)
{
	struct visitor *v = *slot;
	(void)version;
	(void)data;
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	if (v) {
		struct MHD_Response *r = v->answer;
		v->answer = NULL;
		return queue_response(connection, v->code, r);
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			"{\"error\":\"only GET and HEAD are served\"}");
	return ask(owner, connection, url, slot);
}

static enum MHD_Result add_argument(void *into, enum MHD_ValueKind kind, const char *key,
	size_t key_size, const char *value, size_t value_size)
{
	mr_value v = {.type = 'S', .as.bytes = {.data = value ? value : "", .size = value_size}};
	(void)kind;
	(void)mr_table_add(into, key, key_size, &v); /* ignores too long names */
	return MHD_YES;
}

void mr_httpd_query(const struct mr_httpd_request *request, mr_table *into)
{
	MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, add_argument, into);
}

static void give_answer(struct mr_httpd *h, struct visitor *v, unsigned code, const char *type,
	const void *body, size_t size)
{
	v->code = code;
	v->answer = respond(code, type, body, size);
	give_time(h, v);
	resume(v);
}

void mr_httpd_reply(struct mr_httpd *h, uint64_t number, unsigned code, const char *type,
	mr_slice body)
{
	if (!h || !number) return;
	for (struct mr_node *n = h->visitors.next; n != &h->visitors; n = n->next) {
		struct visitor *v = mr_container(n, struct visitor, node);
		if (v->number != number) continue;
		give_answer(h, v, code, type, body.data, body.size);
		return;
	}
}

/* The visitor's deadline has come. */
static void end_wait(struct mr_httpd *h, struct visitor *v)
{
	static const char late[] = "{\"error\":\"the program did not answer within 5 s\"}";
	if (v->number)
		give_answer(h, v, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", late,
			sizeof late - 1);
	else
		show_out(v);
}

/* ---- turns ---- */

/* Accepts the waiting clients. Returns false if one got no place or no descriptor: then the
 * listener must not be watched until the next tick, because it would wake the thread all the
 * time. */
static bool admit(struct mr_httpd *h)
{
	bool exhausted = false;
	while (h->visitor_count < CONNECTIONS_MAX) {
		struct sockaddr_storage from;
		socklen_t size = sizeof from;
		int fd = mr_listen_accept_fd(h->listener, (struct sockaddr *)&from, &size,
			&exhausted);
		if (fd < 0) return !exhausted;
		if (h->visitor_count >= CONNECTIONS_MANY && !mr_list_is_empty(&h->visitors))
			show_out(mr_container(h->visitors.next, struct visitor, node));
		mr_descriptor_disown(fd); /* libmicrohttpd closes it: see on_visitor */
		MHD_add_connection(h->daemon, fd, (struct sockaddr *)&from, size);
	}
	return false;
}

static void run(struct mr_httpd *h)
{
	MHD_UNSIGNED_LONG_LONG wait;
	for (int i = 0; i < RUNS_MAX; i++) {
		MHD_run(h->daemon);
		if (MHD_get_timeout(h->daemon, &wait) != MHD_YES || wait) break;
	}
	/* Bytes that libmicrohttpd has read ahead make no descriptor readable. */
	if (MHD_get_timeout(h->daemon, &wait) == MHD_YES && !wait)
		ev_feed_event(h->loop, &h->io, EV_READ);
	if (h->visitor_count < CONNECTIONS_MAX && !h->is_exhausted) ev_io_start(h->loop, &h->door);
	bool ticks = h->visitor_count || h->is_exhausted;
	if (ticks && !ev_is_active(&h->tick)) ev_timer_again(h->loop, &h->tick);
	if (!ticks) ev_timer_stop(h->loop, &h->tick);
}

static void on_door(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_httpd *h = io->data;
	(void)revents;
	if (!admit(h)) {
		ev_io_stop(loop, io);
		h->is_exhausted = h->visitor_count < CONNECTIONS_MAX;
	}
	run(h);
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	run(io->data);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_httpd *h = timer->data;
	(void)revents;
	h->is_exhausted = false;
	while (!mr_list_is_empty(&h->visitors)) {
		struct visitor *v = mr_container(h->visitors.next, struct visitor, node);
		if (v->until > ev_now(loop)) break;
		end_wait(h, v);
	}
	run(h);
}

/* ---- start and end ---- */

/* Finds the eventfd by which libmicrohttpd wakes itself after a resume. It has no function for
 * that, but before the first connection its epoll descriptor watches only this one. -1: not
 * found. */
static int find_wake_fd(int epoll_fd)
{
	char text[128];
	int fd = -1;
	snprintf(text, sizeof text, "/proc/self/fdinfo/%d", epoll_fd);
	FILE *info = fopen(text, "re");
	if (!info) return -1;
	while (fd < 0 && fgets(text, sizeof text, info))
		if (sscanf(text, "tfd: %d", &fd) != 1) fd = -1;
	fclose(info);
	return fd;
}

static enum mr_status start(struct mr_httpd *h)
{
	const union MHD_DaemonInfo *info = NULL;
	struct mr_descriptor_hold hold;
	mr_descriptor_hold(&hold);
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, h, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, SILENCE, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)MEMORY_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_visitor, h, MHD_OPTION_END);
	if (h->daemon) info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info) h->wake_fd = find_wake_fd(info->epoll_fd);
	mr_descriptor_let_go(&hold);
	if (!info) return MR_NO_MEMORY;
	mr_descriptor_note(info->epoll_fd);
	mr_descriptor_note(h->wake_fd);
	ev_io_init(&h->io, on_io, info->epoll_fd, EV_READ);
	ev_io_init(&h->door, on_door, h->listener, EV_READ);
	h->io.data = h->door.data = h;
	ev_io_start(h->loop, &h->io);
	ev_io_start(h->loop, &h->door);
	return MR_OK;
}

enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, mr_httpd_answer *answer, void *owner, mr_error *error)
{
	int fd;
	enum mr_status st = mr_listen_open(&fd, address, port, actual, error);
	if (st != MR_OK) return st;
	struct mr_httpd *h = mr_calloc(1, sizeof *h);
	if (h) {
		h->loop = loop;
		h->listener = fd;
		h->wake_fd = -1;
		h->answer = answer;
		h->owner = owner;
		mr_list_init(&h->visitors);
		ev_init(&h->tick, on_tick);
		h->tick.repeat = 1;
		h->tick.data = h;
		st = start(h);
	}
	if (h && st == MR_OK) {
		*out = h;
		return MR_OK;
	}
	int system = 0;
	bool lacks = mr_status_lacks_descriptors(&system);
	if (h)
		mr_httpd_close(h);
	else
		mr_descriptor_close(fd);
	if (lacks)
		return mr_error_system(error, MR_NO_DESCRIPTORS, MR_SCOPE_CONFIG, system,
			"cannot serve HTTP");
	return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONFIG, 0,
		"cannot serve HTTP: out of memory");
}

void mr_httpd_close(struct mr_httpd *h)
{
	if (!h) return;
	ev_timer_stop(h->loop, &h->tick);
	ev_io_stop(h->loop, &h->io);
	ev_io_stop(h->loop, &h->door);
	if (h->daemon) {
		/* It must not be stopped during a suspended connection. */
		while (!mr_list_is_empty(&h->visitors))
			show_out(mr_container(h->visitors.next, struct visitor, node));
		mr_descriptor_disown(h->io.fd); /* libmicrohttpd closes both */
		mr_descriptor_disown(h->wake_fd);
		MHD_stop_daemon(h->daemon);
	}
	mr_descriptor_close(h->listener);
	mr_free(h);
}
