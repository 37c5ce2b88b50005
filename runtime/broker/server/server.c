/* server: the thread that serves connections of the embedded broker.
 * SPDX-License-Identifier: MIT
 * Calls reach it as pointers through a pipe, so that it shares nothing while it runs. */
#include "broker/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/ev.h"
#include "base/number.h"
#include "base/thread.h"
#include "bridge/ending.h"
#include "broker/server/fault.h"
#include "broker/server/gateway.h"
#include "broker/server/peer.h"
#include "broker/server/report.h"
#include "broker/server/thread.h"
#include "config/uri.h"
#include "net/listen.h"
#include "net/tcp.h"
#include "net/tls.h"

#define SCRATCH (256 * 1024)  /* the size of one read */
#define STOP_PATIENCE 5000    /* ms for clients to answer connection.close */
#define TRIM_FROM (16u << 20) /* bytes of freed memory after which it is returned to the system */
#define TRIM_AFTER 0.5        /* s of delay, so that it happens after a burst, and not too often */
#define EXHAUSTED_PAUSE 0.25  /* s until the next accept if the process has no free descriptor */

struct listener {
	struct mr_node node;
	int fd; /* -1: not open yet */
	ev_io io;
	ev_timer pause;
	struct mr_server *server;
	struct mr_tls_context *tls; /* NULL: plain */
};

struct mr_server {
	char *url;
	pid_t home; /* a forked child has no thread of the server and does not own the pipe */
	pthread_t thread;
	struct mr_wire wire;
	struct mr_broker *broker;
	struct mr_gateway *gateway; /* NULL: the messages are kept here */
	struct mr_node listeners;
	int mail[2]; /* pipe of struct mr_server_call * */
	ev_io mail_io, ending_io;
	ev_timer tick;
	ev_timer trim;
	uint64_t peak;                   /* of memory, since the last trim */
	bool stopped, ends_with_process; /* the process ends, so its thread is not joined */
	bool is_alone;                   /* its thread is not joined: it frees everything itself */
	struct mr_server_call farewell;
};

const char *mr_server_url(const mr_server *server) { return server->url; }

struct mr_notices *mr_server_notices(const mr_server *s) { return mr_gateway_notices(s->gateway); }

bool mr_server_is_forked(const mr_server *server) { return server->home != getpid(); }

static void open_peer(struct mr_server *s, struct mr_stream *stream)
{
	if (s->gateway)
		mr_gateway_adopt(s->gateway, stream);
	else
		mr_peer_open(&s->wire, stream);
}

/* ---- listening ---- */

static void close_listener(struct listener *l)
{
	if (l->fd >= 0) {
		ev_io_stop(l->server->wire.loop, &l->io);
		ev_timer_stop(l->server->wire.loop, &l->pause);
		mr_descriptor_close(l->fd);
	}
	mr_tls_context_close(l->tls);
	mr_list_remove(&l->node);
	mr_free(l);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	struct listener *l = io->data;
	struct mr_wire *w = &l->server->wire;
	struct mr_stream *stream;
	bool exhausted = false;
	(void)revents;
	mr_wire_begin_turn(w);
	while ((stream = mr_listen_accept(io->fd, &exhausted))) {
		struct mr_stream *plain = stream;
		if (l->tls && mr_tls_accept(&stream, l->tls, plain, NULL) != MR_OK) continue;
		open_peer(l->server, stream);
	}
	if (!exhausted) return;
	ev_io_stop(loop, io); /* a waiting client would wake the loop all the time */
	ev_timer_set(&l->pause, EXHAUSTED_PAUSE, 0);
	ev_timer_start(loop, &l->pause);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct listener *l = timer->data;
	(void)revents;
	ev_io_start(loop, &l->io);
}

static void close_listeners(struct mr_server *s)
{
	while (!mr_list_is_empty(&s->listeners))
		close_listener(mr_container(s->listeners.next, struct listener, node));
}

static enum mr_status load_tls(struct listener *l, const struct mr_server_call *c, mr_error *error)
{
	struct mr_tls_options o = {.certfile = c->listen.certfile,
		.keyfile = c->listen.keyfile,
		.no_verify = true,
		.is_server = true};
	return c->listen.certfile ? mr_tls_context_open(&l->tls, &o, error) : MR_OK;
}

/* With guest as its only user a broker listens on loopback only: guest's password is well known. */
static enum mr_status check_users(const struct mr_server *s, const char *address, mr_error *error)
{
	if (mr_listen_is_loopback(address) || s->broker->users.count > 1) return MR_OK;
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
		"listening on %s needs a user other than guest", address);
}

static enum mr_status listen_on(struct mr_server *s, struct mr_server_call *c)
{
	const char *address = c->listen.address;
	int fd = -1;
	struct listener *l = mr_calloc(1, sizeof *l);
	if (!l) return mr_error_set(&c->error, MR_NO_MEMORY, MR_SCOPE_NONE, 0, "out of memory");
	l->server = s;
	l->fd = -1;
	enum mr_status st = check_users(s, address, &c->error);
	if (st == MR_OK) st = load_tls(l, c, &c->error);
	if (st == MR_OK)
		st = mr_listen_open(&fd, address, c->listen.port, &c->listen.actual, &c->error);
	if (st != MR_OK) {
		close_listener(l);
		return st;
	}
	if (!mr_listen_is_loopback(address)) s->broker->seal_guest = true;
	l->fd = fd;
	ev_io_init(&l->io, on_connection, fd, EV_READ);
	ev_init(&l->pause, on_pause);
	l->io.data = l->pause.data = l;
	ev_io_start(s->wire.loop, &l->io);
	mr_list_append(&s->listeners, &l->node);
	return MR_OK;
}

/* ---- faults ---- */

static void set_fault(struct mr_server *s, int kind, int64_t number, mr_slice text)
{
	if (kind == MR_FAULT_UNLISTEN) close_listeners(s);
	mr_fault_set(&s->wire, kind, number, text);
}

/* ---- calls ---- */

static void adopt(struct mr_server *s, int fd)
{
	struct mr_stream *stream;
	if (mr_tcp_adopt(&stream, fd) == MR_OK)
		open_peer(s, stream);
	else
		mr_descriptor_close(fd);
}

static enum mr_status no_memory(struct mr_server_call *c, enum mr_status st)
{
	if (st != MR_OK) mr_error_set(&c->error, st, MR_SCOPE_NONE, 0, "out of memory");
	return st;
}

static void obey(struct mr_server *s, struct mr_server_call *c)
{
	switch (c->what) {
	case MR_SERVER_LISTEN: listen_on(s, c); break;
	case MR_SERVER_ADD_USER:
		no_memory(c, mr_broker_add_user(s->broker, c->user.name, c->user.password));
		break;
	case MR_SERVER_ADD_VHOST: no_memory(c, mr_broker_add_vhost(s->broker, c->vhost)); break;
	case MR_SERVER_FAULT: set_fault(s, c->fault.kind, c->fault.number, c->fault.text); break;
	case MR_SERVER_REPORT:
		c->report = mr_broker_report(s->broker);
		if (!c->report) no_memory(c, MR_NO_MEMORY);
		break;
	case MR_SERVER_CLOCK: mr_wire_changed(&s->wire); break;
	case MR_SERVER_STOP: s->stopped = true; break;
	default: break; /* handled by on_mail */
	}
}

/* Handles one call per turn: many calls that move the clock must leave turns for the work due. */
static void on_mail(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_server *s = io->data;
	struct mr_server_call *c;
	uint64_t one = 1;
	(void)loop;
	(void)revents;
	mr_wire_begin_turn(&s->wire);
	if (read(s->mail[0], &c, sizeof c) != (ssize_t)sizeof c) return;
	if (c->what == MR_SERVER_ADOPT) {
		adopt(s, c->adopted);
		mr_free(c);
		return;
	}
	if (c->what == MR_SERVER_LEAVE) {
		s->stopped = s->is_alone = true;
		return;
	}
	obey(s, c);
	mr_turn_tick(s->broker);
	mr_wire_flush(&s->wire);
	if (c->what == MR_SERVER_CLOCK) c->traffic = s->wire.traffic;
	int done = c->done; /* after the write the call belongs to its owner again */
	if (done >= 0 && write(done, &one, sizeof one) != (ssize_t)sizeof one) s->stopped = true;
}

/* ---- the thread ---- */

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_server *s = timer->data;
	(void)loop;
	(void)revents;
	mr_wire_begin_turn(&s->wire);
	mr_turn_tick(s->broker);
}

static void arm_tick(struct mr_server *s)
{
	mr_msec at = mr_turn_deadline(s->broker);
	ev_timer_stop(s->wire.loop, &s->tick);
	if (at == MR_NEVER) return;
	mr_msec in = at - mr_clock_now();
	ev_now_update(s->wire.loop);
	ev_timer_set(&s->tick, in > 0 ? (double)in / 1000 : 0, 0);
	ev_timer_start(s->wire.loop, &s->tick);
}

static void on_trim(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_server *s = timer->data;
	(void)loop;
	(void)revents;
	mr_alloc_trim();
	s->peak = s->broker->store.memory;
}

/* A million small messages leave a million holes, which the allocator keeps. */
static void arm_trim(struct mr_server *s)
{
	uint64_t now = s->broker->store.memory;
	if (now > s->peak) s->peak = now;
	if (s->peak - now < TRIM_FROM || ev_is_active(&s->trim)) return;
	ev_timer_set(&s->trim, TRIM_AFTER, 0);
	ev_timer_start(s->wire.loop, &s->trim);
}

static void on_ending(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_server *s = io->data;
	(void)revents;
	ev_io_stop(loop, io); /* it stays readable */
	s->ends_with_process = !s->stopped;
	s->stopped = true;
}

/* ---- start and end ---- */

static void free_server(struct mr_server *s)
{
	if (!s) return;
	if (s->broker) mr_wire_drop(&s->wire);
	close_listeners(s);
	mr_turn_finish(s->broker);
	mr_gateway_close(s->gateway);
	mr_broker_close(s->broker);
	if (s->wire.loop) ev_loop_destroy(s->wire.loop);
	mr_buffer_fini(&s->wire.scratch);
	for (int i = 0; i < 2; i++) mr_descriptor_close(s->mail[i]);
	mr_free(s->url);
	mr_free(s);
}

/* Called after the end of its thread, or on that thread. */
static void end_server(struct mr_server *s)
{
	struct mr_server_call *late;
	while (read(s->mail[0], &late, sizeof late) == (ssize_t)sizeof late) {
		mr_descriptor_close(late->adopted); /* connections that will not be served */
		mr_free(late);
	}
	free_server(s);
}

/* What Redis has answered, or a command to it that failed, is told before the loop sleeps: libev calls what
 * was fed at the start of a turn, and then sleeps. */
static void flush(struct mr_server *s)
{
	do {
		mr_wire_flush(&s->wire);
		if (!s->gateway) return;
		mr_gateway_flush(s->gateway);
		ev_invoke_pending(s->wire.loop);
	} while (mr_wire_has_news(&s->wire));
}

static void *run(void *arg)
{
	struct mr_server *s = arg;
	mr_ending_is_ours();
	mr_number_plain_begin();
	while (!s->stopped) {
		flush(s);
		arm_tick(s);
		arm_trim(s);
		bool more = mr_wire_has_more(&s->wire);
		ev_run(s->wire.loop, more ? EVRUN_NOWAIT : EVRUN_ONCE);
		if (more) mr_wire_resume(&s->wire);
	}
	if (s->gateway) mr_gateway_wind_up(s->gateway);
	bool parks = s->ends_with_process;
	if (s->is_alone && !mr_ending_has_begun()) {
		pthread_detach(pthread_self());
		end_server(s); /* frees s */
	}
	mr_tls_thread_end();
	mr_ending_leave_and_park(MR_ENDING_BROKER, parks);
	return NULL;
}

static int start_thread(struct mr_server *s)
{
	int ending;
	mr_tls_prepare();
	if (mr_ending_enter(MR_ENDING_BROKER, &ending, NULL) != MR_OK) return EAGAIN;
	ev_io_init(&s->ending_io, on_ending, ending, EV_READ);
	s->ending_io.data = s;
	ev_io_start(s->wire.loop, &s->ending_io);
	int error = mr_thread_start(&s->thread, "mr broker", run, s);
	if (error) mr_ending_leave(MR_ENDING_BROKER);
	return error;
}

/* On failure `system` is the reason, as an errno. */
static enum mr_status prepare(struct mr_server *s, const char *name, int *system)
{
	uint64_t seed = 0;
	char url[300];
	struct mr_descriptor_hold hold;
	s->home = getpid();
	s->mail[0] = s->mail[1] = -1;
	mr_list_init(&s->listeners);
	mr_list_init(&s->wire.peers);
	mr_list_init(&s->wire.dirty);
	mr_list_init(&s->wire.later);
	s->wire.faults.cut_after = -1;
	if (mr_gateway_is_url(name))
		mr_uri_redact(url, sizeof url, name, strlen(name));
	else
		snprintf(url, sizeof url, "memory://%s", name);
	s->url = mr_strdup_n(url, strlen(url));
	if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0) seed = (uint64_t)mr_clock_now();
	if (!s->url || mr_broker_open(&s->broker, seed, mr_clock_now()) != MR_OK)
		return MR_NO_MEMORY;
	s->wire.broker = s->broker;
	mr_descriptor_hold(&hold);
	s->wire.loop = mr_ev_open();
	mr_descriptor_let_go(&hold);
	if (!s->wire.loop || mr_buffer_reserve(&s->wire.scratch, SCRATCH) != MR_OK)
		return MR_NO_MEMORY;
	if (pipe2(s->mail, O_CLOEXEC | O_NONBLOCK) != 0 || !mr_descriptor_claim_pair(s->mail)) {
		*system = errno;
		return MR_RESOURCE_ERROR;
	}
	ev_io_init(&s->mail_io, on_mail, s->mail[0], EV_READ);
	ev_set_priority(&s->mail_io,
		EV_MINPRI); /* a call comes after what clients wrote before it */
	ev_init(&s->tick, on_tick);
	ev_init(&s->trim, on_trim);
	s->mail_io.data = s->tick.data = s->trim.data = s;
	ev_io_start(s->wire.loop, &s->mail_io);
	return MR_OK;
}

enum mr_status mr_server_start(mr_server **out, const char *name, mr_error *error)
{
	struct mr_server *s = mr_calloc(1, sizeof *s);
	int system = ENOMEM;
	enum mr_status st = s ? prepare(s, name, &system) : MR_NO_MEMORY;
	if (st == MR_OK && mr_gateway_is_url(name)) {
		st = mr_gateway_open(&s->gateway, &s->wire, name, error);
		if (st != MR_OK) {
			free_server(s);
			return st;
		}
	}
	if (st == MR_OK) system = start_thread(s);
	if (st == MR_OK && !system) {
		*out = s;
		return MR_OK;
	}
	if (mr_status_lacks_descriptors(&system)) st = MR_NO_DESCRIPTORS;
	free_server(s);
	return mr_error_system(error, st == MR_OK ? MR_RESOURCE_ERROR : st, MR_SCOPE_CONNECTION,
		system, "cannot start the embedded broker");
}

/* ---- calling ---- */

static bool post(mr_server *s, struct mr_server_call *c)
{
	struct pollfd wait = {.fd = s->mail[1], .events = POLLOUT};
	for (;;) {
		if (write(s->mail[1], &c, sizeof c) == (ssize_t)sizeof c) return true;
		if (errno != EAGAIN && errno != EINTR) return false;
		poll(&wait, 1, 1000);
	}
}

enum mr_status mr_server_do(mr_server *s, struct mr_server_call *c)
{
	uint64_t count;
	if (mr_server_is_forked(s))
		return mr_error_set(&c->error, MR_FORKED, MR_SCOPE_NONE, 0,
			"this broker belongs to the parent");
	if (mr_ending_has_begun())
		return mr_error_set(&c->error, MR_CLOSED, MR_SCOPE_NONE, 0, "the process ends");
	c->done = mr_descriptor_claim(eventfd(0, EFD_CLOEXEC));
	if (c->done < 0 || !post(s, c)) {
		mr_descriptor_close(c->done);
		return mr_error_system(&c->error, MR_RESOURCE_ERROR, MR_SCOPE_NONE, errno,
			"cannot reach the embedded broker");
	}
	while (read(c->done, &count, sizeof count) < 0 && errno == EINTR) {}
	mr_descriptor_close(c->done);
	return (enum mr_status)c->error.kind;
}

enum mr_status mr_server_connect(mr_server *s, int *fd, mr_error *error)
{
	int pair[2];
	struct mr_server_call *c = mr_calloc(1, sizeof *c);
	if (!c) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0 ||
		!mr_descriptor_claim_pair(pair)) {
		mr_free(c);
		return mr_error_system(error, MR_CONNECTION_REFUSED, MR_SCOPE_CONNECTION, errno,
			"cannot make a socket pair");
	}
	c->what = MR_SERVER_ADOPT;
	c->adopted = pair[1];
	if (write(s->mail[1], &c, sizeof c) == (ssize_t)sizeof c) {
		*fd = pair[0];
		return MR_OK;
	}
	mr_descriptor_close(pair[0]);
	mr_descriptor_close(pair[1]);
	mr_free(c);
	return mr_error_set(error, MR_CONNECTION_REFUSED, MR_SCOPE_CONNECTION, 0,
		"the embedded broker has too many connections waiting");
}

void mr_server_stop(mr_server *s)
{
	struct mr_server_call stop = {.what = MR_SERVER_STOP,
		.done = -1};                                  /* joining replaces an answer */
	if (mr_ending_has_begun() || !post(s, &stop)) return; /* it ends with the process */
	pthread_join(s->thread, NULL);
	end_server(s);
}

bool mr_server_stop_later(mr_server *s)
{
	struct mr_server_call *farewell = &s->farewell;
	*farewell = (struct mr_server_call){.what = MR_SERVER_LEAVE};
	return write(s->mail[1], &farewell, sizeof farewell) == (ssize_t)sizeof farewell;
}
