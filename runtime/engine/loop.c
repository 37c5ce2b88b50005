/* loop: the I/O thread's loop: takes commands, runs the links, pushes events, sleeps.
 * SPDX-License-Identifier: MIT */
#include "engine/loop.h"

#include <string.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/number.h"
#include "base/thread.h"
#include "bridge/ending.h"
#include "engine/engine.h"
#include "link/command.h"
#include "link/link.h"
#include "net/resolve.h"

#define LINGER 0.005            /* s: the longest delay of a command of a busy host */
#define COMMANDS_PER_TURN 16384 /* then sockets and deadlines have their turn */
#define COMMANDS_PER_TICK 256   /* publishes that get the same time */

/* ---- back-pressure from the host ---- */

/* Checks the links that may read again, or may report held deliveries: the host has returned enough
 * deliveries, or waits for an answer. */
static void judge_waiting(struct mr_engine *e)
{
	struct mr_node *next;
	for (struct mr_node *n = e->services.holding.next; n != &e->services.holding; n = next) {
		struct mr_link_io *io = mr_container(n, struct mr_link_io, holding);
		next = n->next;
		mr_link_io_judge(io);
		mr_link_io_touch(io);
	}
	for (struct mr_node *n = e->services.paused.next; n != &e->services.paused; n = next) {
		next = n->next;
		mr_link_io_judge(mr_container(n, struct mr_link_io, paused));
	}
}

/* Gives a turn to each link whose stream has buffered bytes, for which no descriptor is
 * readable. */
static void read_eager(struct mr_engine *e)
{
	struct mr_node turn, *node;
	mr_list_init(&turn);
	mr_list_splice(&turn, &e->services.eager);
	while ((node = mr_list_shift(&turn)))
		mr_link_io_read(mr_container(node, struct mr_link_io, eager));
}

/* ---- commands ---- */

/* Frees the seed of a link that could not be created; 0: all of them. */
static void free_barren(struct mr_engine *e, uint32_t number)
{
	struct mr_node *next;
	for (struct mr_node *n = e->barren.next; n != &e->barren; n = next) {
		struct mr_link_seed *seed = mr_container(n, struct mr_link_seed, node);
		next = n->next;
		if (number && seed->number != number) continue;
		mr_list_remove(n);
		mr_config_fini(seed->config);
		mr_free(seed->config);
		mr_free(seed->gauge);
		mr_free(seed);
	}
}

static void no_link(struct mr_engine *e, const struct mr_command *c)
{
	if (c->type == MR_CMD_REQUEST) {
		struct mr_request_copy *copy = c->request.copy;
		mr_table_free(copy->request.arguments);
		mr_free(copy);
	}
	if (c->type == MR_CMD_SECRET) mr_free(c->secret.text);
	if (c->type == MR_CMD_LINK_FREE) free_barren(e, c->connection);
	if (!c->token) return;
	enum mr_status st = c->type == MR_CMD_LINK_CLOSE ? MR_OK : MR_NO_MEMORY;
	mr_event ev = {.type = MR_EV_DONE, .status = (int32_t)st, .as.done.token = c->token};
	mr_event_queue_push(&e->services.dispatch, &ev);
}

static void new_link(struct mr_engine *e, const struct mr_command *c)
{
	if (mr_link_new(&e->services, c->connection, c->seed) == MR_OK) return;
	mr_list_append(&e->barren, &c->seed->node);
}

static void link_command(struct mr_engine *e, const struct mr_command *c)
{
	struct mr_link *link = mr_map_get(&e->services.links, c->connection);
	if (!link)
		no_link(e, c);
	else if (c->type == MR_CMD_LINK_OPEN)
		mr_link_open(link, c->token);
	else if (c->type == MR_CMD_LINK_CLOSE)
		mr_link_close(link, c->token, c->deadline);
	else if (c->type == MR_CMD_LINK_FREE)
		mr_link_free(link);
	else
		mr_link_command(link, c, (const char *)(c + 1));
}

static void begin_stop(struct mr_engine *e, mr_msec deadline)
{
	struct mr_link *link;
	size_t at = 0;
	e->services.stopping = true;
	mr_timer_arm(&e->stop_timer, deadline);
	while ((link = mr_map_next(&e->services.links, &at, NULL)))
		mr_link_close(link, 0, deadline);
}

static void clock_moved(struct mr_engine *e, uint64_t token)
{
	mr_timers_clock_moved(&e->services.timers);
	e->clock_token = token;
}

/* Reports that everything due by the moved clock has been done. */
static void tell_clock(struct mr_engine *e)
{
	mr_event ev = {.type = MR_EV_DONE, .as.done.token = e->clock_token};
	if (!e->clock_token) return;
	e->clock_token = 0;
	mr_event_queue_push(&e->services.dispatch, &ev);
}

static void obey(struct mr_engine *e, const struct mr_command *c)
{
	switch (c->type) {
	case MR_CMD_LINK_NEW: new_link(e, c); break;
	case MR_CMD_RELEASE: mr_delivery_give(e->services.pool, c->released); break;
	case MR_CMD_WATCH_FD:
		mr_watch_add(&e->watches, c->token, c->watch.serial, c->watch.fd, c->watch.events);
		break;
	case MR_CMD_UNWATCH_FD: mr_watch_remove(&e->watches, c->unwatched); break;
	case MR_CMD_WAKE_AT: mr_timer_arm(&e->watches.alarm, c->wake_at); break;
	case MR_CMD_NUDGE_AT: mr_timer_arm(&e->watches.nudge, c->wake_at); break;
	case MR_CMD_CLOCK: clock_moved(e, c->token); break;
	case MR_CMD_PUMPED: e->services.pumps++; break;
	case MR_CMD_LOG: /* level -1 is below every line: no log */
		e->services.log.level = c->log.level;
		e->services.log.format = c->log.format;
		e->services.log.worker = c->log.worker;
		break;
	case MR_CMD_WATCHDOG:
		mr_stall_watch(&e->stall, c->watchdog.stall, c->watchdog.signal,
			c->watchdog.thread);
		break;
	case MR_CMD_NOTE: mr_stall_note(&e->stall, c->note.consumer, c->note.about); break;
	case MR_CMD_HEALTH: mr_health_obey(&e->checkup, c); break;
	case MR_CMD_STOP:
		e->is_joined = true;
		begin_stop(e, c->deadline);
		break;
	default:
		link_command(e, c);
		/* A settled delivery's memory comes back with its settlement. */
		if (c->type == MR_CMD_SETTLE && c->settle.released)
			mr_delivery_give(e->services.pool, c->settle.released);
	}
}

/* Returns true if there may be more commands. */
static bool drain_commands(struct mr_engine *e)
{
	struct mr_command *c;
	size_t size;
	for (int i = 0; i < COMMANDS_PER_TURN; i++) {
		c = mr_ring_peek(&e->services.bridge->commands, &size);
		if (!c) {
			if (!mr_ring_take_starved(&e->services.bridge->commands)) return false;
			mr_event ev = {.type = MR_EV_ROOM};
			mr_event_queue_push(&e->services.dispatch, &ev);
			return false;
		}
		if (i % COMMANDS_PER_TICK == 0) mr_services_tick(&e->services);
		obey(e, c);
		mr_ring_consume(&e->services.bridge->commands);
	}
	return true;
}

/* ---- turns ---- */

static void flush_links(struct mr_engine *e)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&e->services.dirty)))
		mr_link_flush(mr_container(node, struct mr_link, io.dirty));
}

static void check_stopped(struct mr_engine *e)
{
	struct mr_link *link;
	size_t at = 0;
	if (!e->services.stopping || e->services.stopped) return;
	while ((link = mr_map_next(&e->services.links, &at, NULL)))
		if (link->state != MR_LINK_IDLE) return;
	e->services.stopped = true;
}

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

static void *run(void *arg)
{
	struct mr_engine *e = arg;
	mr_ending_is_ours();
	mr_number_plain_begin();
	while (!e->services.stopped) {
		bool busy = drain_commands(e);
		judge_waiting(e);
		read_eager(e);
		flush_links(e);
		mr_event_queue_flush(&e->services.dispatch);
		busy |= !mr_list_is_empty(&e->services.dirty) ||
		        !mr_list_is_empty(&e->services.eager);
		e->services.stats.log_dropped = mr_logger_dropped(e->services.bridge->logger);
		mr_stats stats = e->services.stats;
		stats.in_flight = mr_delivery_pool_out(e->services.pool, NULL);
		mr_board_write(&e->services.bridge->board, &stats);
		check_stopped(e);
		if (!e->services.stopped) sleep_once(e, busy || e->clock_token);
		if (e->clock_token) flush_links(e); /* writes heartbeats, too */
		tell_clock(e);
	}
	mr_health_close(&e->checkup);
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
	drain_commands(e);
	flush_links(e);
	begin_stop(e, mr_clock_now() + MR_ENDING_TIME);
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
	mr_timer_init(&e->stop_timer, &e->services.timers, on_stop_timer, e);
	mr_timer_init(&e->resolver_timer, &e->services.timers, on_resolver_timer, e);
	e->wake_io.data = e->linger.data = e;
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
			if (e->services.pool) obey(e, c);
			mr_ring_consume(&e->services.bridge->commands);
		}
	while ((link = mr_map_next(&e->services.links, &at, NULL))) mr_link_free(link);
	mr_map_fini(&e->services.links);
	free_barren(e, 0);
	mr_health_fini(&e->checkup);
	mr_history_fini(&e->history);
	mr_registry_release(e->services.server);
	mr_tls_store_fini(&e->tls);
	mr_resolver_close(e->services.resolver);
	ev_io *io;
	for (at = 0; (io = mr_map_next(&e->resolver_watchers, &at, NULL));) mr_free(io);
	mr_map_fini(&e->resolver_watchers);
	mr_watch_fini(&e->watches);
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
	mr_stall_init(&e->stall, e->services.loop, bridge, &e->services.log);
	init_watchers(e, ending);
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
