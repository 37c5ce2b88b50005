/* seek: makes a connected stream to a Redis whose address is given, or is asked of Sentinels first.
 * SPDX-License-Identifier: MIT */
#include "redis/seek.h"

#define READ_SIZE 4096
#define PATIENCE                                                                                   \
	1000 /* ms that a Sentinel has: there are others, and one that is alive does nothing else */

/* ---- the end of a question, or of all ---- */

static void hang_up(struct mr_seek *s)
{
	ev_io_stop(s->loop, &s->io);
	ev_timer_stop(s->loop, &s->timer);
	if (s->stream) s->stream->class->close(s->stream);
	s->stream = NULL;
	mr_redis_wire_close(&s->wire);
	mr_buffer_fini(&s->out);
}

void mr_seek_cancel(struct mr_seek *s)
{
	hang_up(s);
	mr_reach_cancel(&s->reach);
	s->asks = false;
}

static void arm(struct mr_seek *s, mr_msec in)
{
	ev_timer_stop(s->loop, &s->timer);
	ev_now_update(s->loop);
	ev_timer_set(&s->timer, (double)in / 1000, 0);
	ev_timer_start(s->loop, &s->timer);
}

/* It is the next one's turn; from the loop, as a lookup must not begin within another. */
static void move_on(struct mr_seek *s)
{
	hang_up(s);
	arm(s, 0);
}

static void fail(struct mr_seek *s, const mr_error *error)
{
	mr_sentinel_failed(&s->sentinel, error);
	move_on(s);
}

/* ---- where to go ---- */

static mr_msec patience(const struct mr_seek *s)
{
	return s->options->socket_timeout < PATIENCE ? s->options->socket_timeout : PATIENCE;
}

static void go_to_master(struct mr_seek *s)
{
	const struct mr_redis_options *o = s->options;
	s->asks = false;
	s->to = (struct mr_reach_to){"Redis", o->host, o->port, o->path, o->use_tls, o->tls,
		o->socket_timeout};
	if (o->sentinel_count) {
		s->to.host = s->sentinel.host;
		s->to.port = s->sentinel.port;
	}
	mr_reach_start(&s->reach);
}

static void ask_next(struct mr_seek *s)
{
	const struct mr_redis_host *host = mr_sentinel_next(&s->sentinel);
	if (!host) {
		s->asks = false;
		s->done(s->owner, NULL, &s->sentinel.why);
		return;
	}
	s->asks = true;
	s->to = (struct mr_reach_to){.what = "Sentinel",
		.host = host->name,
		.port = host->port,
		.use_tls = s->options->sentinel_tls,
		.tls = s->options->tls,
		.timeout = patience(s)};
	mr_reach_start(&s->reach);
}

void mr_seek_start(struct mr_seek *s)
{
	mr_seek_cancel(s);
	if (!s->options->sentinel_count || s->options->follows) {
		go_to_master(s);
		return;
	}
	mr_sentinel_begin(&s->sentinel);
	ask_next(s);
}

/* ---- the question ---- */

static void note(struct mr_seek *s, const mr_error *error)
{
	mr_error e = {0};
	mr_error_set(&e, error->kind, MR_SCOPE_CONNECTION, 0, "%s at %.120s:%u: %.300s", s->to.what,
		s->to.host, s->to.port, error->text);
	fail(s, &e);
}

static void out_of_memory(struct mr_seek *s)
{
	mr_error e = {0};
	mr_error_set(&e, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	fail(s, &e);
}

static void watch(struct mr_seek *s)
{
	bool writes = mr_buffer_size(&s->out) || s->stream->want & MR_WANT_WRITE;
	ev_io_stop(s->loop, &s->io);
	ev_io_set(&s->io, s->stream->fd, EV_READ | (writes ? EV_WRITE : 0));
	ev_io_start(s->loop, &s->io);
}

static void on_reached(void *owner, struct mr_stream *stream, const mr_error *error)
{
	struct mr_seek *s = owner;
	if (!s->asks) {
		if (!stream) mr_sentinel_doubt(&s->sentinel);
		s->done(s->owner, stream, error);
		return;
	}
	s->stream = stream;
	if (!stream) {
		fail(s, error);
	} else if (mr_redis_wire_open(&s->wire) != MR_OK ||
		   mr_sentinel_ask(&s->sentinel, &s->out) != MR_OK) {
		out_of_memory(s);
	} else {
		arm(s, patience(s));
		watch(s);
	}
}

/* False: it has been left. */
static bool write_out(struct mr_seek *s)
{
	mr_error error = {0};
	while (mr_buffer_size(&s->out)) {
		ssize_t n = s->stream->class->write(s->stream, mr_buffer_data(&s->out),
			mr_buffer_size(&s->out), &error);
		if (n < 0) {
			note(s, &error);
			return false;
		}
		if (n == 0) break;
		mr_buffer_consume(&s->out, (size_t)n);
	}
	watch(s);
	return true;
}

/* What came, with the bytes at its end. */
static void take_replies(struct mr_seek *s)
{
	mr_error error = {0};
	enum mr_status st = MR_TIMEOUT;
	while (st == MR_TIMEOUT) {
		redisReply *reply = NULL;
		if (mr_redis_wire_take(&s->wire, &reply, &error) != MR_OK) {
			note(s, &error);
			return;
		}
		if (!reply) return;
		st = mr_sentinel_take(&s->sentinel, reply);
		mr_redis_wire_free(reply);
	}
	if (st != MR_OK) {
		move_on(s);
		return;
	}
	hang_up(s);
	go_to_master(s);
}

/* To the end of what has come: TLS may have read it already, and then tells of it no more. */
static void read_in(struct mr_seek *s)
{
	char data[READ_SIZE];
	mr_error error = {0};
	while (s->stream) {
		ssize_t n = s->stream->class->read(s->stream, data, sizeof data, &error);
		if (n == 0) {
			watch(s);
			return;
		}
		if (n < 0 || mr_redis_wire_feed(&s->wire, data, (size_t)n, &error) != MR_OK)
			note(s, &error);
		else
			take_replies(s);
	}
}

/* TLS may have to read before it can write, and the other way round. */
static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_seek *s = io->data;
	(void)loop;
	if ((revents & EV_WRITE || s->to.use_tls) && !write_out(s)) return;
	if (revents & EV_READ || s->to.use_tls) read_in(s);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_seek *s = timer->data;
	mr_error error = {0};
	(void)loop;
	(void)revents;
	if (!s->stream) {
		ask_next(s);
		return;
	}
	mr_error_set(&error, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0, "no answer in time");
	note(s, &error);
}

/* ---- the leader ---- */

void mr_seek_doubt(struct mr_seek *s) { mr_sentinel_doubt(&s->sentinel); }

bool mr_seek_follow(struct mr_seek *s, const struct mr_seek *leader)
{
	const struct mr_sentinel *to = &leader->sentinel;
	bool moves = s->sentinel.port != to->port || strcmp(s->sentinel.host, to->host) != 0;
	memcpy(s->sentinel.host, to->host, sizeof to->host);
	s->sentinel.port = to->port;
	return moves;
}

/* ---- start and end ---- */

void mr_seek_init(struct mr_seek *s, struct ev_loop *loop, const struct mr_redis_options *options,
	mr_reached *done, void *owner)
{
	*s = (struct mr_seek){.loop = loop, .options = options, .done = done, .owner = owner};
	mr_sentinel_init(&s->sentinel, options);
	mr_reach_init(&s->reach, loop, &s->to, on_reached, s);
	ev_init(&s->io, on_io);
	ev_init(&s->timer, on_timer);
	s->io.data = s->timer.data = s;
}

void mr_seek_fini(struct mr_seek *s)
{
	mr_seek_cancel(s);
	mr_reach_fini(&s->reach);
}
