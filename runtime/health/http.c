/* http: serves a few pages by HTTP, in the I/O thread's loop.
 * SPDX-License-Identifier: MIT
 * libmicrohttpd parses and writes; our loop watches its epoll descriptor, so it needs no thread. Its
 * time-out only covers inactivity: our own ends a client that sends a byte now and then. */
#include "health/http.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/value.h"
#include "bridge/pipe.h"
#include "health/visitor.h"
#include "net/listen.h"

#define SILENCE 3u        /* s */
#define MEMORY_MAX 16384u /* bytes of a request's head: longer ones are refused (431, 414) */
#define RUNS_MAX 8        /* then AMQP connections have their turn */
/* libmicrohttpd counts a closed connection until its next turn: then it would refuse another. */
#define LEAVING_MAX 64u

const struct mr_httpd_rules mr_httpd_public = {.clients = 64, .patience = 5};
/* What it is asked by POST is in the query. */
const struct mr_httpd_rules mr_httpd_admin = {.clients = 64, .patience = 5, .body_max = 1024};
const struct mr_httpd_rules mr_httpd_console = {.clients = 16,
	.body_max = 1u << 20,
	.is_private = true};

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

bool mr_httpd_asks(const struct mr_httpd_request *request, const char *name, uint64_t *value)
{
	const char *text = NULL;
	bool is_there = MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND,
				name, strlen(name), &text, NULL) == MHD_YES;
	*value = 0;
	for (; text && *text >= '0' && *text <= '9' && *value < UINT64_MAX / 100; text++)
		*value = *value * 10 + (uint64_t)(*text - '0');
	return is_there;
}

/* The visitor whose request has this number, and waits for its answer or for more of it; NULL: none. */
static struct visitor *find(struct mr_httpd *h, uint64_t number)
{
	if (!h || !number) return NULL;
	for (struct mr_node *n = h->visitors.next; n != &h->visitors; n = n->next) {
		struct visitor *v = mr_container(n, struct visitor, node);
		if (v->number == number) return v;
	}
	return NULL;
}

static struct visitor *find_waiting(struct mr_httpd *h, uint64_t number)
{
	struct visitor *v = find(h, number);
	return v && !v->pipe ? v : NULL;
}

void mr_httpd_reply(struct mr_httpd *h, uint64_t number, unsigned code, const char *type,
	mr_slice body)
{
	struct visitor *v = find_waiting(h, number);
	if (v) mr_visitor_answer(h, v, code, type, body);
}

void mr_httpd_stream(struct mr_httpd *h, uint64_t number, const char *type, struct mr_pipe *pipe)
{
	struct visitor *v = find_waiting(h, number);
	if (v)
		mr_visitor_stream(h, v, type, pipe);
	else
		mr_pipe_drop(pipe);
}

void mr_httpd_flow(struct mr_httpd *h, uint64_t number)
{
	struct visitor *v = find(h, number);
	if (v) mr_visitor_flow(h, v);
}

/* ---- turns ---- */

/* From this number on a new client replaces the oldest; clients of a private server wait in the
 * kernel instead. */
static size_t many(const struct mr_httpd *h)
{
	return h->rules->is_private ? h->rules->clients : h->rules->clients * 3 / 4;
}

/* Accepts the waiting clients. Returns false if one got no place or no descriptor: then the
 * listener must not be watched until the next tick, because it would wake the thread all the
 * time. */
static bool admit(struct mr_httpd *h)
{
	bool exhausted = false;
	while (h->visitor_count < h->rules->clients) {
		struct sockaddr_storage from;
		socklen_t size = sizeof from;
		int fd = mr_listen_accept_fd(h->listener, (struct sockaddr *)&from, &size,
			&exhausted);
		if (fd < 0) return !exhausted;
		if (!mr_visitor_is_welcome(h, fd)) {
			mr_descriptor_close(fd);
			continue;
		}
		if (h->visitor_count >= many(h)) mr_visitor_show_out_oldest(h);
		mr_descriptor_disown(
			fd); /* libmicrohttpd closes it: see mr_visitor_comes_or_goes */
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
	if (h->visitor_count < h->rules->clients && !h->is_exhausted)
		ev_io_start(h->loop, &h->door);
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
		h->is_exhausted = h->visitor_count < h->rules->clients;
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
		mr_visitor_end_wait(h, v);
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
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
					     MHD_ALLOW_SUSPEND_RESUME,
		0, NULL, NULL, mr_visitor_asks, h, MHD_OPTION_CONNECTION_LIMIT,
		h->rules->clients + LEAVING_MAX, MHD_OPTION_CONNECTION_TIMEOUT, SILENCE,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
		MHD_OPTION_NOTIFY_CONNECTION, mr_visitor_comes_or_goes, h, MHD_OPTION_END);
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

enum mr_status mr_httpd_serve(struct mr_httpd **out, struct ev_loop *loop, int listener,
	const struct mr_httpd_rules *rules, const struct mr_httpd_owner *owner, mr_error *error)
{
	enum mr_status st = MR_NO_MEMORY;
	struct mr_httpd *h = mr_calloc(1, sizeof *h);
	if (h) {
		h->loop = loop;
		h->listener = listener;
		h->wake_fd = -1;
		h->rules = rules;
		h->owner = *owner;
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
		mr_descriptor_close(listener);
	if (lacks)
		return mr_error_system(error, MR_NO_DESCRIPTORS, MR_SCOPE_CONFIG, system,
			"cannot serve HTTP");
	return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONFIG, 0,
		"cannot serve HTTP: out of memory");
}

enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, const struct mr_httpd_rules *rules,
	const struct mr_httpd_owner *owner, mr_error *error)
{
	int fd;
	enum mr_status st = mr_listen_open(&fd, address, port, actual, error);
	return st == MR_OK ? mr_httpd_serve(out, loop, fd, rules, owner, error) : st;
}

void mr_httpd_rule(struct mr_httpd *h, const struct mr_httpd_rules *rules) { h->rules = rules; }

void mr_httpd_close(struct mr_httpd *h)
{
	if (!h) return;
	ev_timer_stop(h->loop, &h->tick);
	ev_io_stop(h->loop, &h->door);
	if (h->daemon) {
		/* It must not be stopped during a suspended connection. */
		while (!mr_list_is_empty(&h->visitors)) mr_visitor_show_out_oldest(h);
		ev_io_stop(h->loop, &h->io);    /* which the resumed ones have fed */
		mr_descriptor_disown(h->io.fd); /* libmicrohttpd closes both */
		mr_descriptor_disown(h->wake_fd);
		MHD_stop_daemon(h->daemon);
	}
	mr_descriptor_close(h->listener);
	mr_free(h);
}
