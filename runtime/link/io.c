/* io: a link's stream: passes received bytes to the session, writes the session's output.
 * SPDX-License-Identifier: MIT */
#include "link/io.h"

#include "base/alloc.h"
#include "bridge/command.h"

#define LAST_WORDS_MAX (64u << 20) /* bytes to read from a peer that accepts no bytes any more */
/* The limit of a turn of reading; then other links have their turns. */
#define TURN_READS 64
#define TURN_BYTES (MR_READ_CHUNK) /* then the host has what came while it is in the cache */
#define PLACES 64                  /* of bytes for one write: 32 large bodies */
/* The bound of a connection's deliveries that the host holds, or that are parked, before it stops
 * reading. Loose deliveries, which no prefetch limits, have their own bound (tally.c); for those
 * within a prefetch, which the program has chosen, there is only this final bound. */
#define BYTES_MAX (1ul << 30) /* bytes of all bodies */

static bool is_paused(const struct mr_link_io *io) { return io->paused.next != NULL; }

static bool is_over(const struct mr_link_io *io)
{
	const struct mr_tally *t = io->tally;
	/* It resumes at half of the bound. */
	size_t halves = is_paused(io) ? MR_LOOSE_HALF : MR_LOOSE_WHOLE;
	return mr_tally_is_over(t, halves) || t->bytes > BYTES_MAX / 2 * halves;
}

/* Handshakes, closes and requests have deadlines: their answers must be read. */
static bool may_pause(const struct mr_link_io *io)
{
	return io->session && mr_session_state(io->session) == MR_SESSION_OPEN &&
	       !io->services->stopping && !mr_session_is_asking(io->session);
}

static void watch(struct mr_link_io *io)
{
	int events = EV_READ;
	if (is_paused(io)) events = 0;
	bool unsent = mr_outbox_size(mr_session_output(io->session)) != 0;
	if (unsent || io->stream->want & MR_WANT_WRITE) events |= EV_WRITE;
	/* TLS needs to read first (a new handshake): a writable socket does not help. */
	if (unsent && io->writes_wait_to_read) events = EV_READ;
	if (io->io.events == events && ev_is_active(&io->io)) return;
	ev_io_stop(io->services->loop, &io->io);
	ev_io_set(&io->io, io->stream->fd, events);
	if (events) ev_io_start(io->services->loop, &io->io);
}

/* Bytes that the stream has buffered do not make the descriptor readable: the loop returns to it by
 * itself. */
static void plan_turn(struct mr_link_io *io)
{
	bool has_more = io->stream && !is_paused(io) && io->stream->class->pending(io->stream);
	if (!has_more)
		mr_list_remove(&io->eager);
	else if (!io->eager.next)
		mr_list_append(&io->services->eager, &io->eager);
}

static size_t feed(void *owner, const uint8_t *data, size_t size, size_t *want)
{
	struct mr_link_io *io = owner;
	return mr_session_feed(io->session, data, size, mr_services_tick(io->services), want);
}

static char *place(void *owner, size_t *size)
{
	return mr_session_place(((struct mr_link_io *)owner)->session, size);
}

/* Releases deliveries that are held for curbed consumers, if the host has caught up. */
static void let_go(struct mr_link_io *io)
{
	bool holds = mr_session_let_go(io->session);
	if (!holds)
		mr_list_remove(&io->holding);
	else if (!io->holding.next)
		mr_list_append(&io->services->holding, &io->holding);
}

void mr_link_io_judge(struct mr_link_io *io)
{
	if (io->session && io->stream) let_go(io);
	bool was_paused = is_paused(io), is_to = is_over(io) && may_pause(io);
	if (is_to == was_paused || !io->stream || !io->session) return;
	if (is_to)
		mr_list_append(&io->services->paused, &io->paused);
	else
		mr_list_remove(&io->paused);
	mr_session_deaf(io->session, is_to, mr_clock_now());
	watch(io);
	plan_turn(io);
}

void mr_link_io_read(struct mr_link_io *io)
{
	mr_error error = {0};
	struct mr_services *e = io->services;
	size_t bytes = 0;
	for (int i = 0; io->stream && i < TURN_READS && bytes < TURN_BYTES; i++) {
		mr_link_io_judge(io);
		if (is_paused(io)) break;
		ssize_t n =
			mr_inlet_read(&io->inlet, io->stream, &e->scratch, feed, place, io, &error);
		if (n < 0) {
			io->port.broken(io->port.owner, &error);
			return;
		}
		bytes += (size_t)n;
		e->stats.reads += n > 0;
		e->stats.bytes_in += (uint64_t)n;
		io->received += (uint64_t)n;
		if (io->session) io->port.moved(io->port.owner);
		if (!io->stream || n == 0) break;
		bool more = io->stream->class->pending(io->stream);
		if (!more && !io->inlet.is_full) break;
	}
	plan_turn(io);
	mr_link_io_touch(io);
}

static void on_io(struct ev_loop *loop, ev_io *ready, int revents)
{
	struct mr_link_io *io = ready->data;
	(void)loop;
	/* TLS may have to read in order to write, and vice versa: each event tries both. */
	if (revents & EV_READ || io->stream->want & MR_WANT_WRITE) mr_link_io_read(io);
	if (io->stream) mr_link_io_touch(io);
}

void mr_link_io_gone(struct mr_link_io *io, size_t left)
{
	mr_gauge_advance(io->gauge, io->published > left ? io->published - left : 0);
	if (left > MR_OUTBOUND_MAX / 2 || !mr_gauge_take_want(io->gauge)) return;
	mr_event ev = {.type = MR_EV_ROOM, .connection = io->connection};
	mr_event_queue_push(&io->services->dispatch, &ev);
}

/* Writes until there is nothing left or the stream accepts no more. False: it failed, see
 * `error`. */
static bool write_out(struct mr_link_io *io, mr_error *error)
{
	struct mr_outbox *out = mr_session_output(io->session);
	struct iovec places[PLACES];
	bool wrote = false;
	while (mr_outbox_size(out)) {
		int count = mr_outbox_view(out, places, PLACES);
		ssize_t n = io->stream->class->writev(io->stream, places, count, error);
		if (n < 0) return false;
		io->writes_wait_to_read = n == 0 && io->stream->want == MR_WANT_READ;
		if (n == 0) break;
		wrote = true;
		io->services->stats.writes++;
		io->services->stats.bytes_out += (uint64_t)n;
		io->sent += (uint64_t)n;
		mr_outbox_consume(out, (size_t)n);
	}
	if (wrote) mr_session_wrote(io->session, mr_clock_now());
	return true;
}

void mr_link_io_last_words(struct mr_link_io *io)
{
	mr_error ignored = {0};
	if (io->stream && io->session) write_out(io, &ignored);
}

/* The peer is gone. Reads its last bytes, such as a close with the reason, before the loss is
 * reported, even if the host is behind. */
static void hear_last_words(struct mr_link_io *io, const mr_error *why)
{
	mr_error end = {0};
	size_t heard = 0;
	ssize_t n = 1;
	bool had_ended = mr_session_state(io->session) == MR_SESSION_CLOSED;
	while (n > 0 && heard < LAST_WORDS_MAX &&
		mr_session_state(io->session) != MR_SESSION_CLOSED) {
		n = mr_inlet_read(&io->inlet, io->stream, &io->services->scratch, feed, place, io,
			&end);
		heard += n > 0 ? (size_t)n : 0;
	}
	bool has_ended = mr_session_state(io->session) == MR_SESSION_CLOSED;
	if (has_ended && !had_ended)
		io->port.moved(io->port.owner);
	else /* TLS may write an alert */
		io->port.broken(io->port.owner, end.kind == MR_TLS_FAILED ? &end : why);
}

static void rearm(struct mr_link_io *io)
{
	mr_msec at = mr_session_deadline(io->session);
	/* A timer that fires early only checks: deadlines move with every message, and need not
	 * move the timer. */
	if (at >= io->timer_at) return;
	io->timer_at = at;
	mr_timer_arm(&io->timer, at);
}

void mr_link_io_flush(struct mr_link_io *io)
{
	mr_error error = {0};
	if (!io->stream || !io->session) return;
	if (!write_out(io, &error)) {
		hear_last_words(io, &error);
		return;
	}
	struct mr_outbox *out = mr_session_output(io->session);
	size_t left = mr_outbox_size(out);
	mr_outbox_trim(out, 64 * 1024);
	mr_link_io_gone(io, left);
	io->port.moved(io->port.owner);
	if (!io->stream || !io->session) return;
	mr_link_io_judge(io);
	watch(io);
	rearm(io);
}

void mr_link_io_flush_acks(struct mr_link_io *io)
{
	if (mr_clock_was_moved())
		mr_session_flush(io->session);
	else
		mr_session_flush_due(io->session, mr_clock_now());
}

void mr_link_io_touch(struct mr_link_io *io)
{
	if (!io->dirty.next) mr_list_append(&io->services->dirty, &io->dirty);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_link_io *io = timer->data;
	struct mr_services *e = io->services;
	(void)revents;
	io->timer_at = MR_NEVER;
	if (!io->session || !io->stream) return;
	ev_now_update(loop);
	bool is_pumping = e->pumps != io->pumps_seen ||
	                  atomic_load_explicit(&e->bridge->host_waits, memory_order_relaxed);
	bool may_beat = !io->config->heartbeat_in_loop || is_pumping;
	io->pumps_seen = e->pumps;
	if (mr_session_tick(io->session, mr_clock_now(), may_beat)) {
		/* This loop may be late, not the peer: reads the socket, then checks again. */
		mr_link_io_read(io);
		if (io->session && io->stream)
			mr_session_tick(io->session, mr_clock_now(), may_beat);
	}
	if (io->session && io->stream) {
		io->port.moved(io->port.owner);
		mr_link_io_touch(io);
	}
}

/* ---- life ---- */

void mr_link_io_init(struct mr_link_io *io, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_link_io_port *port,
	struct mr_tally *tally, struct mr_gauge *gauge)
{
	*io = (struct mr_link_io){.services = services, .config = config, .port = *port};
	io->connection = connection;
	io->tally = tally;
	io->gauge = gauge;
}

void mr_link_io_fini(struct mr_link_io *io)
{
	mr_link_io_stop(io);
	mr_list_remove(&io->dirty);
	mr_tally_release(io->tally);
	mr_free(io->gauge);
}

void mr_link_io_start(struct mr_link_io *io, struct mr_stream *stream, struct mr_session *session)
{
	io->stream = stream;
	io->session = session;
	ev_init(&io->io, on_io);
	mr_timer_init(&io->timer, &io->services->timers, on_timer, io);
	io->io.data = io;
	io->timer_at = MR_NEVER;
	mr_link_io_touch(io);
}

void mr_link_io_describe(const struct mr_link_io *io, mr_facts *out)
{
	const struct mr_stream *stream = io->stream;
	if (stream && stream->class->describe) stream->class->describe(stream, out);
}

void mr_link_io_stop(struct mr_link_io *io)
{
	if (!io->stream) return;
	ev_io_stop(io->services->loop, &io->io);
	mr_timer_stop(&io->timer);
	io->timer_at = MR_NEVER;
	mr_inlet_fini(&io->inlet);
	mr_list_remove(&io->dirty);
	mr_list_remove(&io->eager);
	mr_list_remove(&io->paused);
	mr_list_remove(&io->holding);
	io->stream->class->close(io->stream);
	io->stream = NULL;
	io->session = NULL;
}
