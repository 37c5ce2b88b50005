/* visitor: a client of an HTTP server: its request and its answer.
 * SPDX-License-Identifier: MIT
 * A request with a later answer is suspended: libmicrohttpd ignores it until it is resumed, and then
 * asks for its answer again. It does not see then that the client has left: for a private server,
 * whose answers may take long, we watch the socket ourselves. */
#include "health/visitor.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/value.h"
#include "bridge/pipe.h"

#define PATIENCE 5.0 /* s for a request; for reading a later answer */
#define FOREVER 1e12 /* s */
#define BLOCK 16384  /* bytes of an answer that comes bit by bit, at a time */

static void give_time(struct mr_httpd *h, struct visitor *v, double seconds)
{
	mr_list_remove(&v->node);
	v->until = ev_now(h->loop) + seconds;
	struct mr_node *before = h->visitors.prev;
	while (before != &h->visitors &&
		mr_container(before, struct visitor, node)->until > v->until)
		before = before->prev;
	mr_list_append(before->next, &v->node); /* to a node: before it */
}

/* ---- coming and going ---- */

static void stop_waiting(struct mr_httpd *h, struct visitor *v)
{
	ev_io_stop(h->loop, &v->leaving);
	v->number = 0;
	MHD_resume_connection(v->connection);
	ev_feed_event(h->loop, &h->io, EV_READ); /* it makes no descriptor readable */
}

void mr_visitor_show_out(struct mr_httpd *h, struct visitor *v)
{
	mr_list_remove(&v->node);
	shutdown(v->fd, SHUT_RDWR);
	if (v->number) stop_waiting(h, v);
}

void mr_visitor_show_out_oldest(struct mr_httpd *h)
{
	if (!mr_list_is_empty(&h->visitors))
		mr_visitor_show_out(h, mr_container(h->visitors.next, struct visitor, node));
}

static void on_leaving(struct ev_loop *loop, ev_io *io, int revents)
{
	struct visitor *v = io->data;
	struct mr_httpd *h = v->server;
	char byte;
	(void)revents;
	if (recv(v->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
		ev_io_stop(loop, io); /* it says more than it should; that stays readable */
		return;
	}
	uint64_t number = v->number;
	v->streams = 0;
	mr_visitor_show_out(h, v);
	if (h->owner.left) h->owner.left(h->owner.self, number);
}

bool mr_visitor_is_welcome(const struct mr_httpd *h, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	if (!h->rules->is_private) return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

static void identify(struct visitor *v)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	if (getsockopt(v->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
	v->uid = peer.uid;
	v->pid = (uint32_t)peer.pid;
}

static void forget(struct mr_httpd *h, struct visitor *v)
{
	mr_list_remove(&v->node);
	ev_io_stop(h->loop, &v->leaving);
	if (v->answer) MHD_destroy_response(v->answer);
	if (v->streams && h->owner.left) h->owner.left(h->owner.self, v->streams);
	if (v->pipe) mr_pipe_drop(v->pipe);
	mr_buffer_fini(&v->body);
	mr_free(v);
	h->visitor_count--;
}

void mr_visitor_comes_or_goes(void *server, struct MHD_Connection *connection, void **slot,
	enum MHD_ConnectionNotificationCode code)
{
	struct mr_httpd *h = server;
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
	v->server = h;
	v->connection = connection;
	v->fd = info->connect_fd;
	ev_io_init(&v->leaving, on_leaving, v->fd, EV_READ);
	v->leaving.data = v;
	if (h->rules->is_private) identify(v);
	h->visitor_count++;
	give_time(h, v, PATIENCE);
}

/* ---- answers ---- */

/* For browsers: the pages use what this server has and nothing else, and no other site shows or reads
 * them. */
static void add_safety(struct MHD_Response *r)
{
	MHD_add_response_header(r, "Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(r, "X-Frame-Options", "DENY");
	MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(r, "Cross-Origin-Resource-Policy", "same-origin");
}

static void add_head(struct MHD_Response *r, const char *type)
{
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	add_safety(r);
}

/* Copies the body. Returns NULL without memory. */
static struct MHD_Response *respond(const struct mr_httpd *h, unsigned code, const char *type,
	const void *body, size_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, (void *)(uintptr_t)body,
		MHD_RESPMEM_MUST_COPY);
	if (!r) return NULL;
	add_head(r, type);
	if (code == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW,
			h->rules->body_max ? "GET, HEAD, POST" : "GET, HEAD");
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

static enum MHD_Result send_text(struct mr_httpd *h, struct MHD_Connection *connection,
	unsigned code, const char *text)
{
	return queue_response(connection, code,
		respond(h, code, "application/json", text, strlen(text)));
}

static void begin_wait(struct mr_httpd *h, struct visitor *v, uint64_t number)
{
	v->number = number;
	if (h->rules->is_private) ev_io_start(h->loop, &v->leaving);
	MHD_suspend_connection(v->connection);
}

static enum MHD_Result answer_later(struct mr_httpd *h, struct visitor *v, uint64_t number)
{
	double patience = h->rules->patience;
	give_time(h, v, patience > 0 ? patience : FOREVER);
	begin_wait(h, v, number);
	return MHD_YES;
}

/* A request's header; empty: it has none. */
static mr_slice header_of(const struct visitor *v, const char *name)
{
	const char *text = MHD_lookup_connection_value(v->connection, MHD_HEADER_KIND, name);
	return text ? mr_slice_str(text) : mr_slice_of(NULL, 0);
}

/* A proxy has passed the request on: it says so, or it speaks HTTP/1.0 with a host, as nginx does by
 * default and no browser. */
static bool is_forwarded(const struct visitor *v, bool is_old)
{
	static const char *const signs[] = {"X-Forwarded-For", MHD_HTTP_HEADER_FORWARDED,
		MHD_HTTP_HEADER_VIA};
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (MHD_lookup_connection_value(v->connection, MHD_HEADER_KIND, signs[i]))
			return true;
	return is_old && header_of(v, MHD_HTTP_HEADER_HOST).size;
}

static enum MHD_Result ask(struct mr_httpd *h, struct visitor *v, const char *url, bool is_post,
	bool is_old)
{
	struct mr_httpd_page page = {.type = "application/json"};
	struct mr_httpd_request request = {.path = mr_slice_str(url),
		.host = header_of(v, MHD_HTTP_HEADER_HOST),
		.authorization = header_of(v, MHD_HTTP_HEADER_AUTHORIZATION),
		.body = mr_slice_of((const char *)mr_buffer_data(&v->body),
			mr_buffer_size(&v->body)),
		.is_post = is_post,
		.is_forwarded = is_forwarded(v, is_old),
		.is_private = h->rules->is_private,
		.uid = v->uid,
		.pid = v->pid,
		.connection = v->connection};
	if (!v->node.next) return MHD_NO; /* it was shown out after its request */
	request.verbose = MHD_lookup_connection_value_n(v->connection, MHD_GET_ARGUMENT_KIND,
				  "verbose", strlen("verbose"), NULL, NULL) == MHD_YES;
	int code = h->owner.answer(h->owner.self, &request, &page);
	mr_buffer_fini(&v->body);
	if (code == MR_HTTPD_LATER) return answer_later(h, v, page.number);
	enum MHD_Result result =
		code == 500
			? send_text(h, v->connection, 500, "{\"error\":\"out of memory\"}")
			: queue_response(v->connection, (unsigned)code,
				  respond(h, (unsigned)code, page.type, mr_buffer_data(&page.body),
					  mr_buffer_size(&page.body)));
	mr_buffer_fini(&page.body);
	return result;
}

static struct visitor *visitor_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

/* A part of a POST request's body. What is too long is read, and refused at its end. */
static enum MHD_Result take_part(struct mr_httpd *h, struct visitor *v, const char *data,
	size_t *size)
{
	size_t part = *size, all = mr_buffer_size(&v->body) + part;
	*size = 0;
	if (!h->rules->body_max) return MHD_YES;
	if (all > h->rules->body_max + 1) part -= all - (h->rules->body_max + 1);
	return mr_buffer_append(&v->body, data, part) == MR_OK ? MHD_YES : MHD_NO;
}

/* Called with the head of a request, with each part of its body, at its end, and again for a later
 * answer. The head of a GET request is its end. */
enum MHD_Result mr_visitor_asks(void *server, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **slot)
{
	struct mr_httpd *h = server;
	struct visitor *v = visitor_of(connection);
	bool is_get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	              strcmp(method, MHD_HTTP_METHOD_HEAD) == 0,
	     is_post = h->rules->body_max && strcmp(method, MHD_HTTP_METHOD_POST) == 0;
	(void)slot;
	if (!v) return MHD_NO;
	if (v->answer) {
		struct MHD_Response *r = v->answer;
		v->answer = NULL;
		return queue_response(connection, v->code, r);
	}
	if (*size) return take_part(h, v, data, size);
	if (!is_get && !is_post)
		return send_text(h, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			h->rules->body_max ? "{\"error\":\"only GET, HEAD and POST are served\"}"
					   : "{\"error\":\"only GET and HEAD are served\"}");
	if (is_post && !v->is_asking) {
		v->is_asking = true;
		return MHD_YES;
	}
	if (mr_buffer_size(&v->body) > h->rules->body_max)
		return send_text(h, connection, MHD_HTTP_CONTENT_TOO_LARGE,
			"{\"error\":\"the request's body is too large\"}");
	return ask(h, v, url, is_post, strcmp(version, MHD_HTTP_VERSION_1_0) == 0);
}

void mr_visitor_answer(struct mr_httpd *h, struct visitor *v, unsigned code, const char *type,
	mr_slice body)
{
	v->code = code;
	v->answer = respond(h, code, type, body.data, body.size);
	give_time(h, v, PATIENCE);
	if (v->answer)
		stop_waiting(h, v);
	else
		mr_visitor_show_out(h, v); /* out of memory */
}

/* ---- answers that come bit by bit ---- */

static ssize_t read_pipe(void *visitor, uint64_t at, char *out, size_t most)
{
	struct visitor *v = visitor;
	(void)at;
	if (!v->node.next) return MHD_CONTENT_READER_END_WITH_ERROR; /* it was shown out */
	for (;;) {
		size_t n = mr_pipe_read(v->pipe, out, most);
		if (n) return (ssize_t)n;
		if (mr_pipe_is_over(v->pipe)) return MHD_CONTENT_READER_END_OF_STREAM;
		if (mr_pipe_sleep(v->pipe)) break;
	}
	begin_wait(v->server, v, v->streams);
	return 0;
}

/* Its client may read as slowly as it likes: what it costs is the pipe. */
void mr_visitor_stream(struct mr_httpd *h, struct visitor *v, const char *type,
	struct mr_pipe *pipe)
{
	v->pipe = pipe;
	v->streams = v->number;
	v->code = MHD_HTTP_OK;
	v->answer = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_pipe, v, NULL);
	if (!v->answer) {
		mr_visitor_show_out(h, v); /* out of memory */
		return;
	}
	add_head(v->answer, type);
	MHD_set_connection_option(v->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	give_time(h, v, FOREVER);
	stop_waiting(h, v);
}

void mr_visitor_flow(struct mr_httpd *h, struct visitor *v)
{
	if (v->pipe) stop_waiting(h, v);
}

void mr_visitor_end_wait(struct mr_httpd *h, struct visitor *v)
{
	static const char late[] = "{\"error\":\"the program did not answer within 5 s\"}";
	if (v->number)
		mr_visitor_answer(h, v, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json",
			mr_slice_str(late));
	else
		mr_visitor_show_out(h, v);
}
