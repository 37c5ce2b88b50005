/* loop: the I/O thread's loop: turns, and sleep in between.
 * SPDX-License-Identifier: MIT */
#include "engine/state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/number.h"
#include "base/thread.h"
#include "bridge/ending.h"
#include "engine/engine.h"
#include "engine/turn.h"
#include "link/link.h"
#include "net/resolve.h"

#define LINGER 0.005 /* s: the longest delay of a command of a busy host */

/* Sleeps until there is something to do. */
static void sleep_once(struct mr_engine *e, bool busy)
{
	struct mr_bridge *b = e->services.bridge;
	size_t size;
	if (!busy) {
		/* Checks for commands, and for room in the event ring, from before the host could
		 * see this thread asleep. */
		mr_wake_prepare(&b->io);
		busy = mr_ring_peek(&b->commands, &size) != NULL ||
		       mr_event_queue_has_room(&e->services.dispatch);
	}
	/* A host that is awake adds commands without waking this thread each time, because that
	 * would slow it down. */
	if (!busy && !mr_wake_is_asleep(&b->host))
		ev_timer_again(e->services.loop, &e->linger);
	else
		ev_timer_stop(e->services.loop, &e->linger);
	ev_run(e->services.loop, busy ? EVRUN_NOWAIT : EVRUN_ONCE);
	mr_wake_cancel(&b->io); /* on_wake clears the descriptor when it is readable */
}

static void after_sleep(struct mr_engine *e)
{
	if (e->clock_token) mr_turn_flush(e); /* writes heartbeats, too */
	mr_turn_tell_clock(e);
}

/* The host runs the loop until it has been away for a while. One that does not wait comes by itself, and
 * must not be woken: its descriptor would tell of nothing when it is elsewhere. */
static void hand_over(struct mr_engine *e)
{
	struct mr_bridge *b = e->services.bridge;
	ev_timer_stop(e->services.loop, &e->linger);
	ev_io_start(e->services.loop, &e->signals_io);
	mr_helm_hand_over(&b->helm);
	if (atomic_load(&b->host_waits)) mr_wake_signal(&b->host);
	mr_helm_wait(&b->helm);
	ev_timer_stop(e->services.loop, &e->lead);
	ev_io_stop(e->services.loop, &e->signals_io);
}

/* Whatever a turn must go on with. */
static bool has_come(const struct mr_engine *e)
{
	return !mr_ring_is_empty(&e->services.bridge->events) || e->is_interrupted ||
	       !mr_event_queue_is_empty(&e->services.dispatch) ||
	       !mr_list_is_empty(&e->services.dirty) || e->services.stopped;
}

static void look_for(struct mr_engine *e, struct mr_look *look)
{
	uint64_t began = mr_clock_us(), spent;
	do {
		ev_run(e->services.loop, EVRUN_NOWAIT);
		look->outcome = has_come(e) ? MR_LOOK_FOUND : MR_LOOK_VAIN;
		spent = mr_clock_us() - began;
	} while (look->outcome == MR_LOOK_VAIN && spent < look->left);
	look->left -= spent < look->left ? spent : look->left;
}

/* It always looks at the descriptors: commands may bring events again and again. */
static void sleep_of_host(struct mr_engine *e, bool busy, double seconds, struct mr_look *look)
{
	uint64_t wanted = look->left;
	busy |= seconds <= 0 || !mr_ring_is_empty(&e->services.bridge->events);
	if (!busy && wanted) look_for(e, look);
	if (look->outcome == MR_LOOK_FOUND) return;
	seconds -= (double)(wanted - look->left) / 1e6;
	busy |= seconds <= 0;
	if (!busy && !ev_is_active(&e->lead)) {
		/* It is not set anew for each sleep: one that it ends too soon is followed by another. */
		ev_timer_set(&e->lead, seconds, 0);
		ev_timer_start(e->services.loop, &e->lead);
	}
	ev_run(e->services.loop, busy ? EVRUN_NOWAIT : EVRUN_ONCE);
}

enum mr_lead mr_engine_lead(struct mr_engine *e, double seconds, struct mr_look *look)
{
	locale_t before = mr_number_plain_begin();
	e->is_interrupted = false;
	bool busy = mr_turn_first_half(e);
	if (!e->services.stopped) {
		sleep_of_host(e, busy, seconds, look);
		after_sleep(e);
		mr_turn_second_half(e);
	}
	mr_number_plain_end(before);
	if (e->services.stopped) return MR_LEAD_STOPPED;
	return e->is_interrupted ? MR_LEAD_INTERRUPTED : MR_LEAD_DONE;
}

static void *run(void *arg)
{
	struct mr_engine *e = arg;
	struct mr_helm *helm = &e->services.bridge->helm;
	mr_ending_is_ours();
	mr_number_plain_begin();
	while (!e->services.stopped) {
		bool busy = mr_turn(e);
		if (e->services.stopped) break;
		if (mr_helm_is_asked_for(helm)) {
			hand_over(e);
			continue;
		}
		sleep_once(e, busy);
		after_sleep(e);
	}
	after_sleep(e);
	mr_pages_close(&e->pages);
	mr_wake_peer_fini(&e->wake_peer);
	mr_board_stop(&e->services.bridge->board);
	mr_wake_signal(&e->services.bridge->host);
	mr_tls_thread_end();
	mr_ending_leave_and_park(MR_ENDING_IO, mr_ending_has_begun() && !e->is_joined);
	return NULL;
}

/* ---- watchers ---- */

static void on_wake(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_engine *e = io->data;
	(void)loop;
	(void)revents;
	mr_wake_clear(&e->services.bridge->io);
}

/* The process ends: first sends the commands that the host has given so far. */
static void on_ending(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_engine *e = io->data;
	(void)revents;
	ev_io_stop(loop, io); /* it stays readable */
	/* No host polls any more. */
	e->services.log.sink = mr_logger_io_sink;
	e->services.log.owner = e->services.bridge->logger;
	mr_turn_commands(e);
	mr_turn_flush(e);
	mr_turn_begin_stop(e, mr_clock_now() + MR_ENDING_TIME);
}

static void on_lead(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents; /* the sleep is over */
}

static void on_signal(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_engine *e = io->data;
	(void)loop;
	(void)revents;
	e->is_interrupted = mr_signals_are_caught(&e->services.bridge->signals);
}

static void on_linger(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents; /* the next turn drains the commands */
}

static void on_stop_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_engine *e = timer->data;
	(void)loop;
	(void)revents;
	e->services.stopped = true;
}

static void on_trim_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_engine *e = timer->data;
	(void)loop;
	(void)revents; /* the next turn arms it again, if there is reason */
	mr_delivery_pool_trim(e->services.pool);
	mr_spares_trim(&e->services.bridge->spares);
}

static void arm_resolver(struct mr_engine *e)
{
	mr_timer_arm(&e->resolver_timer,
		mr_resolver_deadline(e->services.resolver, mr_clock_now()));
}

static void on_resolver_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_engine *e = io->data;
	unsigned ready =
		(revents & EV_READ ? MR_WANT_READ : 0u) | (revents & EV_WRITE ? MR_WANT_WRITE : 0u);
	(void)loop;
	mr_resolver_process(e->services.resolver, io->fd, ready);
	arm_resolver(e);
}

static void on_resolver_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_engine *e = timer->data;
	(void)loop;
	(void)revents;
	mr_resolver_process(e->services.resolver, -1, 0);
	arm_resolver(e);
}

static void on_resolver_watch(void *owner, int fd, unsigned want)
{
	struct mr_engine *e = owner;
	ev_io *io = mr_map_get(&e->resolver_watchers, (uint64_t)fd);
	if (io) ev_io_stop(e->services.loop, io);
	if (!want) {
		mr_free(mr_map_take(&e->resolver_watchers, (uint64_t)fd));
		return;
	}
	if (!io) {
		io = mr_calloc(1, sizeof *io);
		if (!io || mr_map_put(&e->resolver_watchers, (uint64_t)fd, io) != MR_OK) {
			mr_free(io); /* the lookup then ends by its own timeout */
			return;
		}
	}
	int events = (want & MR_WANT_READ ? EV_READ : 0) | (want & MR_WANT_WRITE ? EV_WRITE : 0);
	ev_io_init(io, on_resolver_io, fd, events);
	io->data = e;
	ev_io_start(e->services.loop, io);
	arm_resolver(e);
}

/* ---- start and end ---- */

static void init_watchers(struct mr_engine *e, int ending)
{
	ev_io_init(&e->ending_io, on_ending, ending, EV_READ);
	e->ending_io.data = e;
	ev_io_start(e->services.loop, &e->ending_io);
	ev_io_init(&e->wake_io, on_wake, e->services.bridge->io.fd, EV_READ);
	ev_init(&e->linger, on_linger);
	e->linger.repeat = LINGER;
	ev_init(&e->lead, on_lead);
	ev_io_init(&e->signals_io, on_signal, e->services.bridge->signals.fd, EV_READ);
	mr_timer_init(&e->stop_timer, &e->services.timers, on_stop_timer, e);
	mr_timer_init(&e->trim_timer, &e->services.timers, on_trim_timer, e);
	mr_timer_init(&e->resolver_timer, &e->services.timers, on_resolver_timer, e);
	e->wake_io.data = e->signals_io.data = e->linger.data = e;
	ev_io_start(e->services.loop, &e->wake_io);
}

static void free_engine(struct mr_engine *e)
{
	struct mr_link *link;
	struct mr_command *c;
	size_t at = 0, size;
	/* Commands that were pending at the thread's end own memory, too. */
	if (e->services.bridge->commands.base)
		while ((c = mr_ring_peek(&e->services.bridge->commands, &size))) {
			if (e->services.pool) mr_turn_obey(e, c);
			mr_ring_consume(&e->services.bridge->commands);
		}
	while ((link = mr_map_next(&e->services.links, &at, NULL))) mr_link_free(link);
	mr_map_fini(&e->services.links);
	mr_turn_free_barren(e, 0);
	mr_farewell_fini(&e->farewell);
	mr_pages_fini(&e->pages);
	mr_health_fini(&e->checkup);
	mr_history_fini(&e->history);
	mr_registry_release(e->services.server);
	mr_tls_store_fini(&e->tls);
	mr_resolver_close(e->services.resolver);
	ev_io *io;
	for (at = 0; (io = mr_map_next(&e->resolver_watchers, &at, NULL));) mr_free(io);
	mr_map_fini(&e->resolver_watchers);
	mr_watch_fini(&e->watches);
	mr_wake_peer_fini(&e->wake_peer);
	mr_stall_fini(&e->stall);
	mr_event_queue_fini(&e->services.dispatch);
	mr_delivery_pool_close(e->services.pool);
	mr_buffer_fini(&e->services.scratch);
	if (e->services.loop) ev_loop_destroy(e->services.loop);
	mr_free(e);
}

static int start_thread(struct mr_engine *e)
{
	return mr_thread_start(&e->thread, "mr io", run, e);
}

enum mr_status mr_engine_start(struct mr_engine **out, struct mr_bridge *bridge, mr_error *error)
{
	struct mr_descriptor_hold hold;
	struct mr_engine *e;
	int ending, system;
	mr_tls_prepare();
	enum mr_status st = mr_ending_enter(MR_ENDING_IO, &ending, error);
	if (st != MR_OK) return st;
	st = MR_NO_MEMORY;
	e = mr_calloc(1, sizeof *e);
	if (!e) mr_ending_leave(MR_ENDING_IO);
	if (!e) return mr_error_set(error, st, MR_SCOPE_NONE, 0, "out of memory");
	e->services.bridge = bridge;
	e->services.log = (struct mr_log){.sink = mr_logger_io_sink,
		.owner = bridge->logger,
		.level = MR_LOG_WARN};
	mr_event_queue_init(&e->services.dispatch, bridge);
	mr_list_init(&e->services.dirty);
	mr_list_init(&e->services.eager);
	mr_list_init(&e->services.paused);
	mr_list_init(&e->services.holding);
	mr_tls_store_init(&e->tls);
	mr_list_init(&e->services.shake_line);
	mr_list_init(&e->barren);
	mr_history_init(&e->history);
	e->services.crowd = &e->crowd;
	e->services.history = &e->history;
	e->services.tls = &e->tls;
	mr_descriptor_hold(&hold);
	e->services.loop = mr_ev_open();
	mr_descriptor_let_go(&hold);
	if (mr_buffer_reserve(&e->services.scratch, MR_READ_CHUNK) != MR_OK || !e->services.loop ||
		mr_delivery_pool_open(&e->services.pool) != MR_OK)
		goto fail;
	mr_timers_init(&e->services.timers, e->services.loop);
	mr_watch_init(&e->watches, &e->services.timers, &e->services.dispatch);
	mr_farewell_init(&e->farewell, &e->services);
	mr_wake_peer_init(&e->wake_peer, e->services.loop, &bridge->host);
	mr_stall_init(&e->stall, e->services.loop, bridge, &e->services.log);
	init_watchers(e, ending);
	mr_pages_init(&e->pages, &e->checkup);
	st = mr_health_init(&e->checkup, &e->services, &e->stall);
	if (st == MR_OK) st = mr_resolver_open(&e->services.resolver, on_resolver_watch, e, error);
	if (st != MR_OK) goto fail;
	st = mr_writer_start(&e->writer, bridge->logger, error);
	if (st != MR_OK) goto fail;
	system = start_thread(e);
	if (system) {
		st = mr_error_system(error, MR_NO_MEMORY, MR_SCOPE_NONE, system,
			"cannot start the I/O thread");
		goto fail;
	}
	*out = e;
	return MR_OK;
fail:
	if (mr_status_lacks_descriptors(&system)) st = MR_NO_DESCRIPTORS;
	mr_writer_stop(e->writer);
	free_engine(e);
	mr_ending_leave(MR_ENDING_IO);
	return mr_error_set(error, st, MR_SCOPE_NONE, 0, "cannot start a runtime: %s",
		mr_status_text(st));
}

void mr_engine_warm_tls(void) { mr_tls_context_warm(); }

struct mr_writer *mr_engine_join(struct mr_engine *e)
{
	struct mr_writer *writer = e->writer;
	pthread_join(e->thread, NULL);
	/* At the process's end other libraries may have cleaned up already, such as OpenSSL. */
	if (!mr_ending_has_begun()) free_engine(e);
	return writer;
}
