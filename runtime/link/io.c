/* io: a link's stream: what is read goes to the session, what the session says is written.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#include "link/link.h"
#include "link/replay.h"

#define LAST_WORDS_MAX (64u << 20) /* bytes that are read of a peer that takes none any more */
/* A turn of reading; then the other links have theirs. */
#define TURN_READS 64
#define TURN_BYTES (4 * MR_READ_CHUNK)
/* What the host may hold, or have parked, of one connection's messages before it pauses: loose ones, which no
 * prefetch bounds, have a bound of their own (delivery.c). What a prefetch lets come is the program's word,
 * and has only the last one. */
#define BYTES_MAX (1ul << 30) /* of all bodies */

static bool is_paused(const struct mr_link *link) { return link->paused.next != NULL; }

static bool is_over(const struct mr_link *link)
{
	const struct mr_tally *t = link->tally;
	/* Half as much must be left before it reads on. */
	size_t halves = is_paused(link) ? MR_LOOSE_HALF : MR_LOOSE_WHOLE;
	return mr_tally_is_over(t, halves) || t->bytes > BYTES_MAX / 2 * halves;
}

/* Handshakes and farewells have deadlines, and so has what was asked for: it must be heard. */
static bool may_pause(const struct mr_link *link)
{
	return link->state == MR_LINK_OPEN && link->session && !link->services->stopping &&
	       !mr_session_is_asking(link->session);
}

static void watch(struct mr_link *link)
{
	int events = EV_READ;
	if (is_paused(link)) events = 0;
	bool unsent = mr_buffer_size(mr_session_output(link->session)) != 0;
	if (unsent || link->stream->want & MR_WANT_WRITE) events |= EV_WRITE;
	/* TLS shakes hands anew: a socket that takes bytes helps nobody, what the peer says does. */
	if (unsent && link->writes_wait_to_read) events = EV_READ;
	if (link->io.events == events && ev_is_active(&link->io)) return;
	ev_io_stop(link->services->loop, &link->io);
	ev_io_set(&link->io, link->stream->fd, events);
	if (events) ev_io_start(link->services->loop, &link->io);
}

/* What the stream has read ahead makes no descriptor readable: the loop comes back to it by itself. */
static void plan_turn(struct mr_link *link)
{
	bool has_more =
		link->stream && !is_paused(link) && link->stream->class->pending(link->stream);
	if (!has_more)
		mr_list_remove(&link->eager);
	else if (!link->eager.next)
		mr_list_append(&link->services->eager, &link->eager);
}

static size_t feed(void *owner, const uint8_t *data, size_t size, size_t *want)
{
	struct mr_link *link = owner;
	return mr_session_feed(link->session, data, size, mr_services_tick(link->services), want);
}

/* What curbed consumers hold for a host that is behind. */
static void let_go(struct mr_link *link)
{
	bool holds = mr_session_let_go(link->session);
	if (!holds)
		mr_list_remove(&link->holding);
	else if (!link->holding.next)
		mr_list_append(&link->services->holding, &link->holding);
}

void mr_link_judge(struct mr_link *link)
{
	if (link->session && link->stream) let_go(link);
	bool was_paused = is_paused(link), is_to = is_over(link) && may_pause(link);
	if (is_to == was_paused || !link->stream || !link->session) return;
	if (is_to)
		mr_list_append(&link->services->paused, &link->paused);
	else
		mr_list_remove(&link->paused);
	mr_session_deaf(link->session, is_to, mr_clock_now());
	watch(link);
	plan_turn(link);
}

void mr_link_read(struct mr_link *link)
{
	mr_error error = {0};
	struct mr_services *e = link->services;
	size_t bytes = 0;
	for (int i = 0; link->stream && i < TURN_READS && bytes < TURN_BYTES; i++) {
		mr_link_judge(link);
		if (is_paused(link)) break;
		ssize_t n =
			mr_inlet_read(&link->inlet, link->stream, &e->scratch, feed, link, &error);
		if (n < 0) {
			mr_link_broken(link, &error);
			return;
		}
		bytes += (size_t)n;
		e->stats.reads += n > 0;
		e->stats.bytes_in += (uint64_t)n;
		if (link->session) mr_link_session_moved(link);
		if (!link->stream || n == 0) break;
		bool more = link->stream->class->pending(link->stream);
		if (!more && (size_t)n < e->scratch.capacity / 2) break;
	}
	plan_turn(link);
	mr_link_touch(link);
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_link *link = io->data;
	(void)loop;
	/* TLS may have to read in order to write, and the reverse: either wakes both. */
	if (revents & EV_READ || link->stream->want & MR_WANT_WRITE) mr_link_read(link);
	if (link->stream) mr_link_touch(link);
}

void mr_link_gone(struct mr_link *link, size_t left)
{
	mr_gauge_advance(link->gauge, link->published > left ? link->published - left : 0);
	if (left > MR_OUTBOUND_MAX / 2 || !mr_gauge_take_want(link->gauge)) return;
	mr_event ev = {.type = MR_EV_ROOM, .connection = link->number};
	mr_event_queue_push(&link->services->dispatch, &ev);
}

/* Writes until there is nothing left or the stream takes no more. False: it broke, see `error`. */
static bool write_out(struct mr_link *link, mr_error *error)
{
	struct mr_buffer *out = mr_session_output(link->session);
	bool wrote = false;
	while (mr_buffer_size(out)) {
		ssize_t n = link->stream->class->write(link->stream, mr_buffer_data(out),
			mr_buffer_size(out), error);
		if (n < 0) return false;
		link->writes_wait_to_read = n == 0 && link->stream->want == MR_WANT_READ;
		if (n == 0) break;
		wrote = true;
		link->services->stats.writes++;
		link->services->stats.bytes_out += (uint64_t)n;
		mr_buffer_consume(out, (size_t)n);
	}
	if (wrote) mr_session_wrote(link->session, mr_clock_now());
	return true;
}

void mr_link_last_words(struct mr_link *link)
{
	mr_error ignored = {0};
	if (link->stream && link->session) write_out(link, &ignored);
}

/* Our bytes find nobody. What the peer said before it went, such as why, comes before the loss is told, also
 * to a host that is behind. */
static void hear_last_words(struct mr_link *link, const mr_error *why)
{
	mr_error ignored = {0};
	size_t heard = 0;
	ssize_t n = 1;
	while (n > 0 && heard < LAST_WORDS_MAX &&
		mr_session_state(link->session) != MR_SESSION_CLOSED) {
		n = mr_inlet_read(&link->inlet, link->stream, &link->services->scratch, feed, link,
			&ignored);
		heard += n > 0 ? (size_t)n : 0;
	}
	bool has_said = mr_session_state(link->session) == MR_SESSION_CLOSED;
	if (has_said && link->state != MR_LINK_PARTING)
		mr_link_session_moved(link);
	else
		mr_link_broken(link, why);
}

void mr_link_flush(struct mr_link *link)
{
	mr_error error = {0};
	if (link->is_faulty) mr_link_drop_faulty(link);
	if (!link->stream || !link->session) return;
	if (link->state == MR_LINK_OPEN) {
		mr_replay_go_on(&link->recovery);
		mr_session_flush(link->session);
	}
	if (!write_out(link, &error)) {
		hear_last_words(link, &error);
		return;
	}
	struct mr_buffer *out = mr_session_output(link->session);
	size_t left = mr_buffer_size(out);
	mr_buffer_trim(out, 64 * 1024);
	mr_link_gone(link, left);
	mr_link_session_moved(link);
	if (!link->stream || !link->session) return;
	mr_link_judge(link);
	watch(link);
	mr_link_rearm(link);
}

void mr_link_touch(struct mr_link *link)
{
	if (!link->dirty.next) mr_list_append(&link->services->dirty, &link->dirty);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_link *link = timer->data;
	struct mr_services *e = link->services;
	(void)revents;
	link->timer_at = MR_NEVER;
	if (!link->session || !link->stream) return;
	ev_now_update(loop);
	bool is_pumping = e->pumps != link->pumps_seen ||
	                  atomic_load_explicit(&e->bridge->host_waits, memory_order_relaxed);
	bool may_beat = !link->config->heartbeat_in_loop || is_pumping;
	link->pumps_seen = e->pumps;
	if (mr_session_tick(link->session, mr_clock_now(), may_beat)) {
		/* We may be late rather than the peer: read what is there, then ask again. */
		mr_link_read(link);
		if (link->session && link->stream)
			mr_session_tick(link->session, mr_clock_now(), may_beat);
	}
	if (link->session && link->stream) {
		mr_link_session_moved(link);
		mr_link_touch(link);
	}
}

void mr_link_rearm(struct mr_link *link)
{
	mr_msec at = mr_session_deadline(link->session);
	/* A timer that is early only looks; deadlines move on with every message, timers need not. */
	if (at >= link->timer_at) return;
	link->timer_at = at;
	mr_timer_arm(&link->timer, at);
}

void mr_link_io_start(struct mr_link *link)
{
	ev_init(&link->io, on_io);
	mr_timer_init(&link->timer, &link->services->timers, on_timer, link);
	link->io.data = link;
	link->timer_at = MR_NEVER;
	mr_link_touch(link);
}

void mr_link_io_stop(struct mr_link *link)
{
	ev_io_stop(link->services->loop, &link->io);
	mr_timer_stop(&link->timer);
	link->timer_at = MR_NEVER;
	mr_inlet_fini(&link->inlet);
	mr_list_remove(&link->dirty);
	mr_list_remove(&link->eager);
	mr_list_remove(&link->paused);
	mr_list_remove(&link->holding);
}
