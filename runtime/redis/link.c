/* link: one connection to a Redis, which is made again when it is lost.
 * SPDX-License-Identifier: MIT */
#include "redis/link.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/number.h"
#include "link/backoff.h"
#include "redis/failure.h"
#include "redis/figures.h"
#include "redis/greet.h"
#include "redis/pushes.h"
#include "redis/seek.h"

#define READ_SIZE (16 * 1024)
#define READS_MAX 16      /* in a turn of the loop */
#define OUT_KEPT 65536    /* bytes of an empty output that are not given back */
#define BACKOFF_MAX 30000 /* ms */
/* Tries; then the wait grows no more: Sentinels may name another server soon, and what loads its data is there soon. */
#define ASKS_MAX 3
/* ms without a refusal for its state, after which a server is as before. More than BACKOFF_MAX: there may be no other requests
 * than those of a client that is closed for each, and comes again ever later. */
#define STATE_GAP (2 * BACKOFF_MAX)

enum phase { WAITS, CONNECTS, LOGS_IN, UP };

struct pending {
	mr_redis_answer *answer;
	void *context;
	uint64_t number;
	size_t replies; /* that make its answer: one, or one for each channel */
};

/* Invariants. There is a stream in LOGS_IN and UP only; `pending` has the commands that are in `out` or were written
 * on this stream, in order. While `busy`, callbacks run, and close only marks the link. */
struct mr_redis_link {
	struct ev_loop *loop;
	struct mr_redis_options options; /* owns its strings */
	struct mr_redis_port port;
	struct mr_seek seek;
	enum phase phase;
	struct mr_stream *stream;
	struct mr_redis_wire wire;
	struct mr_buffer out;     /* not yet written */
	struct mr_buffer pending; /* of struct pending */
	mr_error failure;         /* of the login: kind MR_OK while there is none */
	long long subscribed;     /* channels and patterns */
	ev_io io;
	ev_timer timer; /* by phase: the next try, or the end of patience */
	mr_msec due;    /* of the timer */
	mr_msec heard;  /* when Redis last sent something, made room for more, or was first asked */
	int64_t tries;  /* since it was up */
	/* When the server first and last refused a command for its state (READONLY, LOADING, MASTERDOWN). */
	mr_msec refused, refused_again;
	uint64_t random;
	struct mr_redis_figures figures;
	unsigned busy;
	bool is_full; /* what is written has to wait for room */
	bool is_closed;
};

static void lose(struct mr_redis_link *l, const mr_error *why);

/* ---- small things ---- */

static double chance(struct mr_redis_link *l)
{
	l->random ^= l->random << 13; /* xorshift64 */
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (double)(l->random >> 11) / (double)(1ull << 53);
}

static void arm(struct mr_redis_link *l, mr_msec in)
{
	l->due = mr_clock_now() + in;
	ev_timer_stop(l->loop, &l->timer);
	ev_now_update(l->loop);
	ev_timer_set(&l->timer, (double)in / 1000, 0);
	ev_timer_start(l->loop, &l->timer);
}

static void free_link(struct mr_redis_link *l)
{
	mr_seek_fini(&l->seek);
	mr_buffer_fini(&l->out);
	mr_buffer_fini(&l->pending);
	mr_redis_options_fini(&l->options);
	mr_free(l);
}

static void leave(struct mr_redis_link *l)
{
	if (!--l->busy && l->is_closed) free_link(l);
}

static void watch(struct mr_redis_link *l)
{
	unsigned want = l->stream->want;
	int events = EV_READ;
	if (mr_buffer_size(&l->out) || (want & MR_WANT_WRITE)) events |= EV_WRITE;
	if (ev_is_active(&l->io) && (l->io.events & (EV_READ | EV_WRITE)) == events) return;
	ev_io_stop(l->loop, &l->io);
	ev_io_set(&l->io, l->stream->fd, events);
	ev_io_start(l->loop, &l->io);
}

/* ---- commands ---- */

static enum mr_status put(struct mr_redis_link *l, const mr_slice *words, size_t count,
	const struct pending *p)
{
	bool was_silent = !mr_buffer_size(&l->pending);
	enum mr_status st = mr_buffer_append(&l->pending, p, sizeof *p);
	if (st == MR_OK && (st = mr_redis_wire_put(&l->out, words, count)) != MR_OK)
		l->pending.end -= sizeof *p;
	if (st != MR_OK) return st;
	mr_figures_asked(&l->figures, was_silent ? mr_clock_us() : 0);
	if (was_silent) {
		l->heard = mr_clock_now();
		if (l->due > l->heard + l->options.socket_timeout)
			arm(l, l->options.socket_timeout);
	}
	if (!ev_is_pending(&l->io)) ev_feed_event(l->loop, &l->io, EV_WRITE);
	return MR_OK;
}

enum mr_status mr_redis_link_send(struct mr_redis_link *l, const mr_slice *words, size_t count,
	mr_redis_answer *answer, void *context, uint64_t number)
{
	if (l->phase != UP || l->is_closed) return MR_CLOSED;
	struct pending p = {answer, context, number, count ? mr_pushes_replies(words, count) : 0};
	return p.replies ? put(l, words, count, &p) : MR_BAD_ARGUMENT;
}

/* ---- replies ---- */

static void finish_first(struct mr_redis_link *l, const redisReply *reply, const mr_error *why)
{
	struct pending p;
	memcpy(&p, mr_buffer_data(&l->pending), sizeof p);
	mr_buffer_consume(&l->pending, sizeof p);
	mr_figures_answered(&l->figures);
	if (p.answer) p.answer(p.context, p.number, reply, why);
}

/* False: its owner may try again here. A server that does not serve for its state is left at once if Sentinels know of
 * another one; else after a time, as its name may lead to another one by then. */
static bool is_left(struct mr_redis_link *l)
{
	mr_msec now = mr_clock_now();
	if (l->options.sentinel_count) return true;
	if (!l->refused_again || now - l->refused_again > STATE_GAP) l->refused = now;
	l->refused_again = now;
	return now - l->refused >= l->options.health_check_interval;
}

static void lose_unasked(struct mr_redis_link *l, const redisReply *r)
{
	mr_error why = {0};
	if (r->type == REDIS_REPLY_ERROR) /* "ERR max number of clients reached" */
		mr_failure_of_redis(&why, MR_SCOPE_CONNECTION, mr_slice_of(r->str, r->len));
	else
		mr_error_set(&why, MR_UNEXPECTED_FRAME, MR_SCOPE_CONNECTION, 0,
			"Redis answered what was not asked");
	lose(l, &why);
}

/* Of a command that has asked for it. */
static void answer(struct mr_redis_link *l, const redisReply *r)
{
	mr_error why = {0};
	if (l->subscribed && mr_pushes_is_message(r)) {
		if (l->port.pushed) l->port.pushed(l->port.owner, r);
		return;
	}
	if (!mr_buffer_size(&l->pending)) {
		lose_unasked(l, r);
		return;
	}
	if (r->type == REDIS_REPLY_ERROR) {
		mr_failure_of_redis(&why, MR_SCOPE_PUBLISH, mr_slice_of(r->str, r->len));
		why.scope = MR_SCOPE_CONNECTION;
	} else {
		struct pending *p = (void *)mr_buffer_data(&l->pending);
		if (mr_pushes_confirm(r, &l->subscribed) && p->replies-- > 1) return;
	}
	/* What is refused by a server that is left is lost with the connection: its owner does it again at another one. */
	bool is_over = l->phase == UP && why.kind == MR_CONNECTION_FORCED && is_left(l);
	finish_first(l, is_over ? NULL : r, why.kind ? &why : NULL);
	if (is_over && !l->is_closed && l->phase == UP) lose(l, &why);
}

/* ---- the login ---- */

static void on_login(void *context, uint64_t step, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_link *l = context;
	mr_error refusal = {0};
	if (!reply || l->failure.kind) return;
	if (mr_greet_judge((enum mr_greet_step)step, reply, why, &refusal) != MR_OK) {
		l->failure = refusal;
		if (!why) /* of itself, not of a command */
			mr_error_set(&l->failure, refusal.kind, MR_SCOPE_CONNECTION, 0,
				"Redis at %.120s:%u %s", l->seek.to.host, l->seek.to.port,
				refusal.text);
		return;
	}
	if (step != MR_GREET_PING) return;
	l->phase = UP;
	l->tries = 0;
	if (l->port.up) l->port.up(l->port.owner);
}

static enum mr_status log_in(struct mr_redis_link *l)
{
	enum mr_status st = MR_OK;
	for (uint64_t step = 0; step < MR_GREET_END && st == MR_OK; step++) {
		struct pending p = {on_login, l, step, 1};
		struct mr_greet g;
		mr_greet_words(&g, (enum mr_greet_step)step, &l->options);
		if (g.count) st = put(l, g.words, g.count, &p);
	}
	return st;
}

/* ---- loss, and the next try ---- */

/* Ends the stream; each command is answered by its loss. Callbacks may close the link. */
static void drop(struct mr_redis_link *l, const mr_error *why)
{
	struct mr_buffer lost = l->pending;
	l->pending = (struct mr_buffer){0};
	l->phase = WAITS;
	l->subscribed = 0;
	l->figures.asked_at = 0;
	l->refused_again = 0;
	l->is_full = false;
	ev_io_stop(l->loop, &l->io);
	ev_timer_stop(l->loop, &l->timer);
	mr_seek_cancel(&l->seek);
	if (l->stream) l->stream->class->close(l->stream);
	l->stream = NULL;
	mr_redis_wire_close(&l->wire);
	mr_buffer_fini(&l->out);
	while (mr_buffer_size(&lost)) {
		struct pending p;
		memcpy(&p, mr_buffer_data(&lost), sizeof p);
		mr_buffer_consume(&lost, sizeof p);
		if (p.answer) p.answer(p.context, p.number, NULL, why);
	}
	mr_buffer_fini(&lost);
}

/* Callers are `busy`. */
static void lose(struct mr_redis_link *l, const mr_error *why)
{
	const struct mr_retry retry = {MR_RETRY_JITTER, 0, 0, BACKOFF_MAX, -1};
	mr_error copy = *why; /* it may be the link's own */
	if (l->phase == LOGS_IN) mr_seek_doubt(&l->seek);
	drop(l, &copy);
	l->failure = (mr_error){0};
	if (l->is_closed) return;
	bool is_soon = l->options.sentinel_count || copy.kind == MR_CONNECTION_FORCED;
	if (is_soon && l->tries > ASKS_MAX) l->tries = ASKS_MAX;
	arm(l, mr_backoff(&retry, l->tries++, copy.kind, chance(l)));
	if (l->port.down) l->port.down(l->port.owner, &copy);
}

static void on_reached(void *owner, struct mr_stream *stream, const mr_error *error)
{
	struct mr_redis_link *l = owner;
	if (!stream) {
		l->failure = *error;
		arm(l, 0); /* the port is called from the loop, not from within the lookup */
		return;
	}
	l->stream = stream;
	l->phase = LOGS_IN;
	l->failure = (mr_error){0};
	arm(l, l->options.socket_timeout);
	ev_io_set(&l->io, stream->fd, EV_READ);
	if (mr_redis_wire_open(&l->wire) != MR_OK || log_in(l) != MR_OK) {
		mr_error why = {0};
		mr_error_set(&why, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
		drop(l, &why); /* only our own commands are lost */
		l->failure = why;
		arm(l, 0);
		return;
	}
	watch(l);
}

/* ---- in the loop ---- */

static void write_out(struct mr_redis_link *l)
{
	mr_error error = {0};
	while (l->stream && mr_buffer_size(&l->out)) {
		ssize_t n = l->stream->class->write(l->stream, mr_buffer_data(&l->out),
			mr_buffer_size(&l->out), &error);
		if (n < 0) lose(l, &error);
		if (n == 0) l->is_full = true;
		if (n <= 0) break;
		if (l->is_full) l->heard = mr_clock_now(); /* it has made room: it reads */
		l->is_full = false;
		l->figures.sent += (size_t)n;
		mr_buffer_consume(&l->out, (size_t)n);
	}
	if (!l->stream) return;
	mr_buffer_trim(&l->out, OUT_KEPT);
	watch(l);
}

/* False: the connection is not there any more. */
static bool take_replies(struct mr_redis_link *l)
{
	mr_error error = {0};
	redisReply *reply = NULL;
	while (l->stream) {
		if (mr_redis_wire_take(&l->wire, &reply, &error) != MR_OK) {
			lose(l, &error);
			return false;
		}
		if (!reply) return true;
		answer(l, reply);
		mr_redis_wire_free(reply);
		if (l->stream && l->failure.kind) lose(l, &l->failure);
	}
	return false;
}

static void read_in(struct mr_redis_link *l)
{
	char data[READ_SIZE];
	mr_error error = {0};
	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = l->stream->class->read(l->stream, data, sizeof data, &error);
		if (n == 0) return;
		if (n < 0 || mr_redis_wire_feed(&l->wire, data, (size_t)n, &error) != MR_OK) {
			lose(l, &error);
			return;
		}
		l->heard = mr_clock_now();
		l->figures.received += (size_t)n;
		if (!take_replies(l)) return;
		if ((size_t)n < sizeof data && !l->stream->class->pending(l->stream)) return;
	}
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_redis_link *l = io->data;
	if (!l->stream) return;
	l->busy++;
	/* TLS may have to read before it can write, and the other way round. */
	if (revents & EV_READ || l->options.use_tls) read_in(l);
	write_out(l);
	if (l->stream && l->stream->class->pending(l->stream)) ev_feed_event(loop, io, EV_READ);
	leave(l);
}

void mr_redis_link_follow(struct mr_redis_link *l, const struct mr_redis_link *leader)
{
	mr_error why = {0};
	if (!mr_seek_follow(&l->seek, &leader->seek)) return;
	mr_error_set(&why, MR_CONNECTION_FORCED, MR_SCOPE_CONNECTION, 0,
		"another Redis is the master now");
	l->busy++;
	if (l->phase != WAITS) lose(l, &why);
	if (!l->is_closed) arm(l, 0);
	leave(l);
}

void mr_redis_link_flush(struct mr_redis_link *l)
{
	if (!l->stream) return;
	l->busy++;
	write_out(l);
	leave(l);
}

/* Redis has had its time: to answer, or, with nothing to answer, to be silent. */
static void look_after(struct mr_redis_link *l)
{
	const mr_slice ping[] = {mr_slice_str("PING")};
	const struct pending nobody = {.replies = 1};
	mr_error error = {0};
	mr_msec silent = mr_clock_now() - l->heard;
	bool is_asked = mr_buffer_size(&l->pending) > 0;
	mr_msec limit = is_asked ? l->options.socket_timeout : l->options.health_check_interval;
	if (silent < limit) {
		arm(l, limit - silent);
	} else if (is_asked) {
		char text[MR_NUMBER_SIZE];
		mr_number_text(text, (double)limit / 1000);
		mr_error_set(&error, MR_HEARTBEAT_TIMEOUT, MR_SCOPE_CONNECTION, 0,
			"Redis said nothing for %s s", text);
		lose(l, &error);
	} else {
		arm(l, l->options.socket_timeout);
		if (put(l, ping, 1, &nobody) != MR_OK) arm(l, limit); /* asked later */
	}
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_redis_link *l = timer->data;
	(void)loop;
	(void)revents;
	l->busy++;
	if (l->failure.kind) {
		lose(l, &l->failure);
	} else if (l->stream) {
		look_after(l);
	} else if (l->phase == WAITS) {
		l->phase = CONNECTS;
		mr_seek_start(&l->seek);
	}
	leave(l);
}

void mr_redis_link_hurry(struct mr_redis_link *l)
{
	if (l->phase == WAITS && !l->failure.kind && !l->is_closed) arm(l, 0);
}

bool mr_redis_link_is_up(const struct mr_redis_link *l) { return l->phase == UP; }
size_t mr_redis_link_unsent(const struct mr_redis_link *l) { return mr_buffer_size(&l->out); }
size_t mr_redis_link_pending(const struct mr_redis_link *l)
{
	return mr_buffer_size(&l->pending) / sizeof(struct pending);
}
const struct mr_redis_figures *mr_redis_link_figures(const struct mr_redis_link *l)
{
	return &l->figures;
}
void mr_redis_link_place(const struct mr_redis_link *l, char out[MR_FIGURES_PLACE])
{
	mr_figures_place(out, &l->options, l->seek.sentinel.host, l->seek.sentinel.port);
}

/* ---- start and end ---- */

enum mr_status mr_redis_link_open(struct mr_redis_link **out, struct ev_loop *loop,
	const struct mr_redis_options *options, const struct mr_redis_port *port, mr_error *error)
{
	struct mr_redis_link *l = mr_calloc(1, sizeof *l);
	if (!l) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	l->loop = loop;
	l->port = *port;
	ev_init(&l->io, on_io);
	ev_init(&l->timer, on_timer);
	l->io.data = l->timer.data = l;
	mr_seek_init(&l->seek, loop, &l->options, on_reached, l);
	if (mr_redis_options_copy(&l->options, options) != MR_OK) {
		free_link(l);
		return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	}
	if (getrandom(&l->random, sizeof l->random, GRND_NONBLOCK) < 0 || !l->random)
		l->random = (uint64_t)(uintptr_t)l;
	if (!l->options.follows) arm(l, 0);
	*out = l;
	return MR_OK;
}

void mr_redis_link_close(struct mr_redis_link *l)
{
	mr_error why = {0};
	if (!l || l->is_closed) return;
	l->is_closed = true;
	mr_error_set(&why, MR_CLOSED, MR_SCOPE_CONNECTION, 0, "the connection to Redis was closed");
	l->busy++;
	drop(l, &why);
	leave(l);
}
