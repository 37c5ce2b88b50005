/* reach: makes a connected stream to a Redis: names, TCP or a Unix socket, TLS.
 * SPDX-License-Identifier: MIT */
#include "redis/reach.h"

#include <errno.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "net/tcp.h"

static void try_next(struct mr_reach *r);

/* ---- the end of a try, or of all ---- */

static void drop(struct mr_reach *r)
{
	ev_io_stop(r->loop, &r->io);
	ev_timer_stop(r->loop, &r->timer);
	if (r->stream) r->stream->class->close(r->stream);
	r->stream = NULL;
	r->is_tls = false;
}

void mr_reach_cancel(struct mr_reach *r)
{
	drop(r);
	mr_resolve_cancel(r->lookup);
	r->lookup = NULL;
	mr_free(r->addresses);
	r->addresses = NULL;
	r->count = r->next = 0;
}

static void fail(struct mr_reach *r)
{
	mr_reach_cancel(r);
	r->done(r->owner, NULL, &r->last);
}

static void out_of_memory(struct mr_reach *r)
{
	mr_error_set(&r->last, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
}

/* Says which Redis it is about. That nothing listens at one address says less than what another one did. */
static void note(struct mr_reach *r, const mr_error *error)
{
	mr_error copy = *error;
	if (error->kind == MR_CONNECTION_REFUSED && r->last.kind &&
		r->last.kind != MR_CONNECTION_REFUSED)
		return;
	if (r->to->path)
		mr_error_set(&r->last, copy.kind, MR_SCOPE_CONNECTION, copy.code,
			"%s at %.108s: %.300s", r->to->what, r->to->path,
			copy.system == ECONNREFUSED ? "nothing listens on that socket" : copy.text);
	else
		mr_error_set(&r->last, copy.kind, MR_SCOPE_CONNECTION, copy.code,
			"%s at %.120s:%u: %.300s", r->to->what, r->to->host, r->to->port,
			copy.text);
	r->last.system = copy.system;
}

/* ---- TCP, then TLS ---- */

static void watch(struct mr_reach *r)
{
	unsigned want = r->stream->want;
	ev_io_stop(r->loop, &r->io);
	ev_io_set(&r->io, r->stream->fd,
		(want & MR_WANT_READ ? EV_READ : 0) | (want & MR_WANT_WRITE ? EV_WRITE : 0));
	ev_io_start(r->loop, &r->io);
}

static void finish(struct mr_reach *r)
{
	struct mr_stream *stream = r->stream;
	r->stream = NULL;
	mr_reach_cancel(r);
	r->done(r->owner, stream, NULL);
}

/* MR_OK: the TLS handshake may begin. */
static enum mr_status begin_tls(struct mr_reach *r, mr_error *error)
{
	const struct mr_tls_target target = {r->to->host, r->to->port, &r->session};
	struct mr_stream *lower = r->stream;
	r->stream = NULL; /* a failure closes it */
	enum mr_status st = mr_tls_open(&r->stream, r->context, lower, &target, error);
	r->is_tls = st == MR_OK;
	return st;
}

static void step(struct mr_reach *r)
{
	mr_error error = {0};
	enum mr_status st = r->stream->class->connect(r->stream, &error);
	if (st == MR_OK && r->context && !r->is_tls) {
		st = begin_tls(r, &error);
		if (st == MR_OK) st = r->stream->class->connect(r->stream, &error);
	}
	if (st == MR_TIMEOUT) {
		watch(r);
	} else if (st == MR_OK) {
		finish(r);
	} else {
		/* With a session that was on offer this may be its fault: once more without it. */
		bool again = r->session.is_suspect && r->next;
		drop(r);
		note(r, &error);
		mr_tls_session_forget(&r->session);
		if (again) r->next--;
		try_next(r);
	}
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	step(io->data);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_reach *r = timer->data;
	mr_error error = {0};
	(void)loop;
	(void)revents;
	drop(r);
	mr_error_set(&error, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0, "no answer in time");
	note(r, &error);
	try_next(r);
}

static void start_timer(struct mr_reach *r)
{
	ev_now_update(r->loop);
	ev_timer_set(&r->timer, (double)r->to->timeout / 1000, 0);
	ev_timer_start(r->loop, &r->timer);
}

static void try_next(struct mr_reach *r)
{
	while (r->next < r->count) {
		const struct mr_address *a = &r->addresses[r->next++];
		mr_error error = {0};
		if (mr_tcp_open(&r->stream, &a->storage.any, a->size, &error) == MR_OK) {
			start_timer(r);
			step(r);
			return;
		}
		note(r, &error);
	}
	fail(r);
}

static void open_path(struct mr_reach *r)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mr_error error = {0};
	size_t size = strlen(r->to->path);
	if (size >= sizeof address.sun_path) {
		mr_error_set(&error, MR_BAD_ARGUMENT, MR_SCOPE_CONNECTION, 0,
			"a path of a socket has at most %zu bytes", sizeof address.sun_path - 1);
	} else {
		memcpy(address.sun_path, r->to->path, size + 1);
		if (mr_tcp_open(&r->stream, (struct sockaddr *)&address, sizeof address, &error) ==
			MR_OK) {
			start_timer(r);
			step(r);
			return;
		}
	}
	note(r, &error);
	fail(r);
}

/* ---- names ---- */

static void arm_lookup(struct mr_reach *r)
{
	mr_msec now = mr_clock_now(), at = mr_resolver_deadline(r->resolver, now);
	ev_timer_stop(r->loop, &r->lookup_timer);
	if (at == MR_NEVER) return;
	ev_timer_set(&r->lookup_timer, at > now ? (double)(at - now) / 1000 : 0, 0);
	ev_timer_start(r->loop, &r->lookup_timer);
}

static void on_lookup_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_reach *r = io->data;
	(void)loop;
	mr_resolver_process(r->resolver, io->fd,
		(revents & EV_READ ? MR_WANT_READ : 0u) |
			(revents & EV_WRITE ? MR_WANT_WRITE : 0u));
	arm_lookup(r);
}

static void on_lookup_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_reach *r = timer->data;
	(void)loop;
	(void)revents;
	mr_resolver_process(r->resolver, -1, 0);
	arm_lookup(r);
}

/* A socket beyond the places is not watched: its lookup ends by its own timeout. */
static void on_lookup_watch(void *owner, int fd, unsigned want)
{
	struct mr_reach *r = owner;
	ev_io *found = NULL;
	for (size_t i = 0; i < MR_REACH_SOCKETS; i++) {
		ev_io *io = &r->sockets[i];
		if (ev_is_active(io) && io->fd == fd) found = io;
		if (!found && want && !ev_is_active(io)) found = io;
	}
	if (!found) return;
	ev_io_stop(r->loop, found);
	if (!want) return;
	ev_io_set(found, fd,
		(want & MR_WANT_READ ? EV_READ : 0) | (want & MR_WANT_WRITE ? EV_WRITE : 0));
	ev_io_start(r->loop, found);
}

static void on_resolved(void *owner, const struct mr_address *addresses, size_t count,
	const mr_error *error)
{
	struct mr_reach *r = owner;
	r->lookup = NULL;
	if (!count) {
		note(r, error);
	} else if (!(r->addresses = mr_calloc(count, sizeof *addresses))) {
		out_of_memory(r);
	} else {
		memcpy(r->addresses, addresses, count * sizeof *addresses);
		r->count = count;
	}
	try_next(r);
}

static void look_up(struct mr_reach *r)
{
	struct mr_lookup *lookup = NULL;
	mr_error error = {0};
	enum mr_status st =
		r->resolver ? MR_OK : mr_resolver_open(&r->resolver, on_lookup_watch, r, &error);
	if (st == MR_OK)
		st = mr_resolve(r->resolver, r->to->host, r->to->port, on_resolved, r, &lookup);
	if (st != MR_OK) {
		if (!error.kind)
			mr_error_set(&error, st, MR_SCOPE_CONNECTION, 0, "cannot look up the host");
		note(r, &error);
		fail(r);
		return;
	}
	if (!lookup) return; /* answered at once: it may have moved on */
	r->lookup = lookup;
	arm_lookup(r);
}

/* ---- start and end ---- */

void mr_reach_start(struct mr_reach *r)
{
	mr_error error = {0};
	mr_reach_cancel(r);
	r->last = (mr_error){0};
	mr_tls_context_close(r->context);
	r->context = NULL;
	if (r->to->use_tls &&
		mr_tls_store_get(&r->store, &r->to->tls, &r->context, &error) != MR_OK) {
		note(r, &error);
		fail(r);
	} else if (r->to->path) {
		open_path(r);
	} else {
		look_up(r);
	}
}

void mr_reach_init(struct mr_reach *r, struct ev_loop *loop, const struct mr_reach_to *to,
	mr_reached *done, void *owner)
{
	*r = (struct mr_reach){.loop = loop, .to = to, .done = done, .owner = owner};
	mr_tls_store_init(&r->store);
	ev_init(&r->io, on_ready);
	ev_init(&r->timer, on_timeout);
	ev_init(&r->lookup_timer, on_lookup_timer);
	r->io.data = r->timer.data = r->lookup_timer.data = r;
	for (size_t i = 0; i < MR_REACH_SOCKETS; i++) {
		ev_init(&r->sockets[i], on_lookup_io);
		r->sockets[i].data = r;
	}
}

void mr_reach_fini(struct mr_reach *r)
{
	mr_reach_cancel(r);
	mr_resolver_close(r->resolver);
	r->resolver = NULL;
	ev_timer_stop(r->loop, &r->lookup_timer);
	for (size_t i = 0; i < MR_REACH_SOCKETS; i++) ev_io_stop(r->loop, &r->sockets[i]);
	mr_tls_session_forget(&r->session);
	mr_tls_context_close(r->context);
	mr_tls_store_fini(&r->store);
}
