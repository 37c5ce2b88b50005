/* peer: one connection of the server: a stream, and the session over it.
 * SPDX-License-Identifier: MIT */
#include "broker/server/peer.h"

#include <sys/socket.h>

#include "base/alloc.h"

#define READS_PER_TURN 4    /* then other peers have their turn */
#define STEPS_PER_TURN 4000 /* steps of work: less than a millisecond */
#define PARTING_TIME 1.0    /* s for a client to hang up after the last bytes */

static void touch(void *owner)
{
	struct mr_peer *p = owner;
	if (!p->dirty.next) mr_list_append(&p->wire->dirty, &p->dirty);
}

static void die(struct mr_peer *p)
{
	p->is_dead = true;
	touch(p);
}

/* ---- watching ---- */

static void watch(struct mr_peer *p)
{
	bool silent = p->wire->faults.silent;
	bool has_bytes = mr_buffer_size(mr_broker_session_output(p->session)) && p->may_write;
	int events =
		!silent && (p->is_parting || (mr_broker_session_reads(p->session) && !p->is_held))
			? EV_READ
			: 0;
	if (!p->is_up) events = EV_READ;
	if (!silent && (has_bytes || p->stream->want & MR_WANT_WRITE)) events |= EV_WRITE;
	if (p->io.events == events && (ev_is_active(&p->io) || !events)) return;
	ev_io_stop(p->wire->loop, &p->io);
	ev_io_set(&p->io, p->stream->fd, events);
	if (events) ev_io_start(p->wire->loop, &p->io);
}

static void rearm(struct mr_peer *p)
{
	mr_msec at = mr_broker_session_deadline(p->session);
	if (p->is_parting) return;
	ev_timer_stop(p->wire->loop, &p->timer);
	if (p->wire->faults.silent) return;
	if (at == MR_NEVER) return;
	mr_msec in = at - p->wire->broker->store.now;
	ev_timer_set(&p->timer, in > 0 ? (double)in / 1000 : 0, 0);
	ev_timer_start(p->wire->loop, &p->timer);
}

/* ---- reading ---- */

static size_t feed(void *owner, const uint8_t *data, size_t size, size_t *want)
{
	struct mr_peer *p = owner;
	if (p->is_parting) return size; /* too late */
	size_t used = mr_broker_session_feed(p->session, data, size, want);
	bool is_over = used < size && mr_store_is_spent(&p->wire->broker->store);
	if (is_over || !mr_broker_session_reads(p->session)) p->is_held = true;
	return used;
}

static bool come_up(struct mr_peer *p)
{
	mr_error error = {0};
	if (p->is_up) return true;
	enum mr_status st = p->stream->class->connect(p->stream, &error);
	p->is_up = st == MR_OK;
	if (st != MR_OK && st != MR_TIMEOUT) die(p);
	return p->is_up;
}

static void read_some(struct mr_peer *p)
{
	mr_error error = {0};
	if (!come_up(p)) return;
	p->is_held = !mr_broker_session_reads(p->session);
	if (!p->is_held) mr_inlet_replay(&p->inlet, feed, p);
	for (int i = 0; p->is_parting || !p->is_held; i++) {
		ssize_t n = mr_inlet_read(&p->inlet, p->stream, &p->wire->scratch, feed, NULL, p,
			&error);
		if (n < 0) die(p);
		if (n <= 0) return;
		p->wire->traffic++;
		bool more = p->stream->class->pending(p->stream);
		bool full = (size_t)n >= p->wire->scratch.capacity / 2;
		if (!more && (!full || i >= READS_PER_TURN)) return;
	}
}

/* ---- writing ---- */

/* Returns the number of bytes that may be written: a fault may cut the connection after any
 * byte. */
static size_t allowance(struct mr_peer *p, size_t size)
{
	if (p->wire->faults.cut_after < 0) return size;
	if (p->cut_left < 0) p->cut_left = p->wire->faults.cut_after;
	return (uint64_t)p->cut_left < size ? (size_t)p->cut_left : size;
}

static void write_out(struct mr_peer *p)
{
	struct mr_buffer *out = mr_broker_session_output(p->session);
	mr_error error = {0};
	while (mr_buffer_size(out) && p->may_write && p->is_up) {
		size_t size = allowance(p, mr_buffer_size(out));
		ssize_t n =
			size ? p->stream->class->write(p->stream, mr_buffer_data(out), size, &error)
			     : -1;
		if (n < 0) {
			die(p);
			return;
		}
		if (n == 0) break;
		p->wire->traffic++;
		if (p->wire->faults.cut_after >= 0) p->cut_left -= n;
		mr_buffer_consume(out, (size_t)n);
		mr_broker_session_wrote(p->session);
	}
	mr_buffer_trim(out, 64 * 1024);
	if (!mr_buffer_size(out)) p->may_write = !p->wire->faults.delay;
}

/* Ends writing, but not reading: a socket that is closed with unread bytes would lose the last
 * bytes written. */
static void part(struct mr_peer *p)
{
	p->is_parting = true;
	p->stream->class->end(p->stream);
	ev_timer_stop(p->wire->loop, &p->timer);
	ev_timer_set(&p->timer, PARTING_TIME, 0);
	ev_timer_start(p->wire->loop, &p->timer);
}

/* There is something to read, or to process, though the descriptor may not say so. */
static bool may_read(const struct mr_peer *p)
{
	if (p->is_held) return mr_broker_session_reads(p->session);
	return p->is_up && p->stream->class->pending(p->stream);
}

static void look(struct mr_peer *p)
{
	struct mr_wire *w = p->wire;
	if (p->is_dead) {
		mr_peer_free(p);
		return;
	}
	if (!w->faults.silent) {
		bool has_bytes = mr_buffer_size(mr_broker_session_output(p->session)) != 0;
		if (!w->faults.delay) p->may_write = true;
		if (has_bytes && !p->may_write && !ev_is_active(&p->hold)) {
			ev_timer_set(&p->hold, (double)w->faults.delay / 1000, 0);
			ev_timer_start(w->loop, &p->hold);
		}
		write_out(p);
		if (may_read(p) && !p->later.next) mr_list_append(&w->later, &p->later);
	}
	if (p->is_dead) {
		mr_peer_free(p);
		return;
	}
	bool is_over = p->session->state == MR_BS_ENDED &&
	               !mr_buffer_size(mr_broker_session_output(p->session));
	if (is_over && !p->is_parting) part(p);
	mr_broker_session_weigh(p->session, p->inlet.kept.capacity);
	watch(p);
	rearm(p);
}

void mr_wire_flush(struct mr_wire *wire)
{
	struct mr_node *node;
	for (;;) {
		mr_turn_end(wire->broker); /* it makes peers dirty, and look may end an alarm */
		node = mr_list_shift(&wire->dirty);
		if (!node) return;
		look(mr_container(node, struct mr_peer, dirty));
	}
}

/* ---- events ---- */

void mr_wire_begin_turn(struct mr_wire *w)
{
	w->broker->store.now = mr_clock_now();
	mr_turn_begin(w->broker, STEPS_PER_TURN);
	ev_now_update(w->loop);
}

bool mr_wire_has_more(const struct mr_wire *w)
{
	return !mr_list_is_empty(&w->later) || mr_turn_has_more(w->broker);
}

void mr_wire_resume(struct mr_wire *w)
{
	struct mr_node now, *node;
	mr_wire_begin_turn(w);
	mr_turn_resume(w->broker);
	mr_list_init(&now);
	mr_list_splice(&now, &w->later);
	while ((node = mr_list_shift(&now))) { /* each once: a peer may be added again */
		struct mr_peer *p = mr_container(node, struct mr_peer, later);
		mr_wire_begin_turn(w);
		if (!w->faults.silent && !p->is_dead) read_some(p);
		touch(p);
	}
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_peer *p = io->data;
	(void)loop;
	mr_wire_begin_turn(p->wire);
	if (revents & EV_READ || p->stream->want & MR_WANT_WRITE) read_some(p);
	touch(p);
}

/* Reads before it checks the heartbeat: the broker may be late, and not the client. */
static void look_and_tick(struct mr_peer *p)
{
	if (p->wire->faults.silent) return; /* like a stopped process */
	if (!p->is_parting && !p->is_dead) read_some(p);
	mr_broker_session_tick(p->session);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_peer *p = timer->data;
	(void)loop;
	(void)revents;
	mr_wire_begin_turn(p->wire);
	if (p->is_parting)
		die(p);
	else
		look_and_tick(p);
	touch(p);
}

static void on_hold(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_peer *p = timer->data;
	(void)loop;
	(void)revents;
	mr_wire_begin_turn(p->wire);
	p->may_write = true;
	touch(p);
}

/* ---- life ---- */

void mr_peer_open(struct mr_wire *wire, struct mr_stream *stream)
{
	struct mr_peer *p = mr_calloc(1, sizeof *p);
	struct mr_broker_session_options options = {touch, p};
	if (p) p->session = mr_broker_session_open(wire->broker, &options);
	if (!p || !p->session) {
		stream->class->close(stream);
		mr_free(p);
		return;
	}
	wire->traffic++;
	p->wire = wire;
	p->stream = stream;
	p->cut_left = -1;
	ev_init(&p->io, on_io);
	ev_init(&p->timer, on_timer);
	ev_init(&p->hold, on_hold);
	p->io.data = p->timer.data = p->hold.data = p;
	mr_list_append(&wire->peers, &p->node);
	come_up(p);
	touch(p);
}

void mr_peer_free(struct mr_peer *p)
{
	struct ev_loop *loop = p->wire->loop;
	ev_io_stop(loop, &p->io);
	ev_timer_stop(loop, &p->timer);
	ev_timer_stop(loop, &p->hold);
	mr_list_remove(&p->node);
	mr_list_remove(&p->dirty);
	mr_list_remove(&p->later);
	mr_inlet_fini(&p->inlet);
	/* Its held messages go to other peers, which are touched; this one must not be. */
	p->session->touch = touch;
	mr_broker_session_close(p->session);
	mr_list_remove(&p->dirty);
	p->stream->class->close(p->stream);
	mr_free(p);
}

void mr_wire_changed(struct mr_wire *wire)
{
	for (struct mr_node *n = wire->peers.next; n != &wire->peers; n = n->next) {
		struct mr_peer *p = mr_container(n, struct mr_peer, node);
		p->cut_left = -1;
		look_and_tick(p);
		touch(p);
	}
}

void mr_wire_drop(struct mr_wire *wire)
{
	while (!mr_list_is_empty(&wire->peers))
		mr_peer_free(mr_container(wire->peers.next, struct mr_peer, node));
}

void mr_wire_shut(struct mr_wire *wire, int code, const char *text)
{
	for (struct mr_node *n = wire->peers.next; n != &wire->peers; n = n->next)
		mr_broker_session_shut(mr_container(n, struct mr_peer, node)->session, code, text,
			0);
}
