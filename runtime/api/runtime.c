/* runtime: starts and ends a runtime, sends commands to its thread and pulls events from it.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

#include "api/event.h"
#include "api/handle.h"
#include "api/pool.h"
#include "api/pool_request.h"
#include "base/alloc.h"
#include "base/log.h"
#include "bridge/ending.h"

#define POLL_MAX 3600000 /* ms of one poll(2); a longer wait takes several */

static uint32_t *open_alive(void)
{
	uint32_t *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) return NULL;
	if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
		munmap(page, 4096);
		return NULL;
	}
	*page = 1;
	return page;
}

int mr_runtime_new(mr_runtime **out)
{
	mr_runtime *rt = mr_calloc(1, sizeof *rt);
	if (!rt) return MR_NO_MEMORY;
	enum mr_status st = MR_NO_MEMORY;
	rt->bridge.io.fd = rt->bridge.host.fd = -1;
	mr_waits_init(&rt->waits);
	rt->alive = open_alive();
	if (rt->alive) st = mr_bridge_open(&rt->bridge, NULL);
	if (st == MR_OK) st = mr_engine_start(&rt->engine, &rt->bridge, NULL);
	if (st == MR_OK) {
		rt->log = (struct mr_log){.sink = mr_logger_host_sink, .owner = rt->bridge.logger};
		mr_runtime_log(rt, MR_LOG_WARN, MR_LOG_LOGFMT);
		*out = rt;
		return MR_OK;
	}
	mr_bridge_close(&rt->bridge);
	if (rt->alive) munmap(rt->alive, 4096);
	mr_free(rt);
	return st;
}

/* Frees the events that will not be pulled any more. */
static void drop_events(mr_runtime *rt)
{
	mr_event *ev;
	size_t size;
	while ((ev = mr_ring_peek(&rt->bridge.events, &size))) {
		if (ev->type == MR_EV_CONNECTION && ev->as.connection.state == MR_CONNECTION_OPEN)
			mr_event_apply(rt, ev);
		mr_event_fini(ev);
		mr_ring_consume(&rt->bridge.events);
	}
}

static void free_connections(mr_runtime *rt)
{
	mr_connection *c;
	size_t at = 0;
	while ((c = mr_map_next(&rt->connections, &at, NULL))) {
		for (size_t i = 0; i < c->channel_slots; i++) mr_free(c->channels[i]);
		mr_free(c->channels);
		mr_table_free(c->server_properties);
		mr_free(c);
	}
	mr_map_fini(&rt->connections);
}

void mr_runtime_free(mr_runtime *rt, double timeout)
{
	if (!rt || mr_handle_is_forked(rt))
		return; /* a child has no I/O thread and does not own the sockets */
	if (mr_ending_has_begun()) return; /* all is closed; the process frees the memory */
	struct mr_command stop = {.type = MR_CMD_STOP,
		.deadline = mr_clock_now() + mr_clock_msec_of(timeout)};
	mr_command_send(rt, &stop);
	mr_wake_signal(&rt->bridge.io);
	/* The thread never waits for the host to read: events without room in the ring wait in its
	 * own backlog. */
	struct mr_writer *writer = mr_engine_join(rt->engine);
	drop_events(rt);
	mr_pool_free_all(rt);
	free_connections(rt);
	mr_map_fini(&rt->watched);
	mr_map_fini(&rt->recovers);
	for (size_t i = 0; i < rt->meter_count; i++) mr_free(rt->meters[i]);
	for (size_t i = 0; i < rt->metric_count; i++) mr_series_drop(rt->metrics[i]);
	mr_writer_stop(writer);
	mr_bridge_close(&rt->bridge);
	munmap(rt->alive, 4096);
	mr_free(rt);
}

/* ---- events ---- */

static int take_pushed(mr_runtime *rt, mr_event *events, int max)
{
	mr_event *ev;
	size_t size;
	int n = 0;
	while (n < max && (ev = mr_ring_peek(&rt->bridge.events, &size))) {
		events[n] = *ev;
		mr_ring_consume(&rt->bridge.events);
		if (events[n].type == MR_EV_DELIVERY || mr_event_apply(rt, &events[n]))
			n++;
		else
			mr_event_fini(&events[n]);
	}
	if (mr_ring_take_starved(&rt->bridge.events)) mr_wake_signal(&rt->bridge.io);
	return n;
}

static int take_waits(mr_runtime *rt, mr_event *events, int max)
{
	int n = 0;
	while (n < max && mr_waits_next(&rt->waits, &events[n])) {
		if (mr_event_apply(rt, &events[n]))
			n++;
		else
			mr_event_fini(&events[n]);
	}
	return n;
}

/* Ended waits come first, unless they filled the array the last time: otherwise a host that takes
 * one event at a time might see only waits, if handlers keep passing an item to each other. */
static int take_events(mr_runtime *rt, mr_event *events, int max)
{
	mr_pool_request_expire(rt);
	int n = rt->waits.crowd ? 0 : take_waits(rt, events, max);
	rt->waits.crowd = n && n == max;
	n += take_pushed(rt, events + n, max - n);
	return n + take_waits(rt, events + n, max - n);
}

static bool has_events(mr_runtime *rt)
{
	size_t size;
	return mr_ring_peek(&rt->bridge.events, &size) || !mr_list_is_empty(&rt->waits.ended);
}

/* Waits until the descriptor is readable, or until `until` (by mr_clock_real). Returns false after
 * a signal. */
static bool wait_for_event(mr_runtime *rt, mr_msec until)
{
	struct pollfd pfd = {.fd = rt->bridge.host.fd, .events = POLLIN};
	mr_msec ms = until == MR_NEVER ? -1 : until - mr_clock_real();
	if (until != MR_NEVER && ms < 0) ms = 0;
	atomic_store_explicit(&rt->bridge.host_waits, true, memory_order_relaxed);
	int n = poll(&pfd, 1, ms > POLL_MAX ? POLL_MAX : (int)ms);
	atomic_store_explicit(&rt->bridge.host_waits, false, memory_order_relaxed);
	return n >= 0;
}

/* Clears the descriptor whatever cancel returns: a wake that lost a race with an earlier cancel may
 * write only now, and would leave the descriptor readable without a reason. */
static void awake(mr_runtime *rt)
{
	if (!rt->prepared) return;
	rt->prepared = false;
	rt->unseen = !mr_wake_cancel(&rt->bridge.host) || rt->roused;
	rt->roused = false;
	mr_wake_clear(&rt->bridge.host);
}

static void pumped(mr_runtime *rt)
{
	struct mr_command c = {.type = MR_CMD_PUMPED};
	if (rt->loop_mode) mr_command_send(rt, &c);
	if (rt->unsignalled) mr_command_signal(rt);
}

/* Returns events that arrived before the host prepared to sleep, or during that; without events the
 * host stays prepared. */
static int take_or_prepare(mr_runtime *rt, mr_event *events, int max)
{
	int n = take_events(rt, events, max);
	if (n) return n;
	rt->prepared = true;
	mr_wake_prepare(&rt->bridge.host);
	/* The host has asked for an alarm: a thread that considers the host asleep does not check
	 * for commands by itself. */
	if (rt->unsignalled) mr_command_signal(rt);
	n = take_events(rt, events, max);
	if (n) awake(rt);
	if (max <= 0 && has_events(rt)) mr_handle_rouse_host(rt); /* no other thread does it */
	return n;
}

static int poll_events(mr_runtime *rt, mr_event *events, int max, double timeout)
{
	awake(rt);
	pumped(rt);
	int n = take_or_prepare(rt, events, max);
	if (n || timeout == 0 || max <= 0) return n;
	mr_msec until = timeout < 0 ? MR_NEVER : mr_clock_real() + mr_clock_msec_of(timeout);
	for (;;) {
		bool interrupted = !wait_for_event(rt, until);
		awake(rt);
		n = take_events(rt, events, max);
		/* The host must be able to handle its signal. */
		if (n || interrupted || mr_clock_real() >= until) return n;
		n = take_or_prepare(rt, events, max);
		if (n) return n;
	}
}

/* Leaves the descriptor readable if there is an event, or so that the next one makes it readable. */
static void watch(mr_runtime *rt)
{
	if (!rt->is_watched || rt->prepared) return;
	rt->prepared = true;
	mr_wake_prepare(&rt->bridge.host);
	if (rt->unsignalled) mr_command_signal(rt); /* as in take_or_prepare */
	if (has_events(rt)) mr_handle_rouse_host(rt);
}

int mr_runtime_fd(mr_runtime *rt)
{
	if (mr_handle_is_forked(rt)) return -1;
	rt->is_watched = true;
	watch(rt);
	return rt->bridge.host.fd;
}

bool mr_runtime_is_forked(const mr_runtime *rt) { return mr_handle_is_forked(rt); }

int mr_runtime_poll(mr_runtime *rt, mr_event *events, int max, double timeout)
{
	if (mr_handle_is_forked(rt)) return -1;
	mr_mark_enter(&rt->bridge.progress);
	int n = poll_events(rt, events, max, timeout);
	watch(rt);
	mr_mark_leave(&rt->bridge.progress, mr_clock_real(), n == 0 && timeout == 0);
	return n;
}

int mr_runtime_wake_at(mr_runtime *rt, double at)
{
	struct mr_command c = {.type = MR_CMD_WAKE_AT,
		.wake_at = at > 0 ? mr_clock_msec_of(at) : MR_NEVER};
	return mr_command_send(rt, &c);
}

int mr_watch_fd(mr_runtime *rt, uint64_t token, int fd, int events)
{
	struct mr_command c = {.type = MR_CMD_WATCH_FD, .token = token, .watch = {.fd = fd}};
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (!token || fd < 0 || !(events & (MR_FD_READ | MR_FD_WRITE))) return MR_BAD_ARGUMENT;
	if (mr_map_get(&rt->watched, token)) return MR_BAD_ARGUMENT;
	if (!++rt->watch_serial) ++rt->watch_serial;
	c.watch.serial = rt->watch_serial;
	if (mr_map_put(&rt->watched, token, (void *)(uintptr_t)c.watch.serial) != MR_OK)
		return MR_NO_MEMORY;
	c.watch.events = events & (MR_FD_READ | MR_FD_WRITE);
	enum mr_status st = mr_command_send(rt, &c);
	if (st != MR_OK) mr_map_take(&rt->watched, token);
	return st;
}

int mr_unwatch_fd(mr_runtime *rt, uint64_t token)
{
	struct mr_command c = {.type = MR_CMD_UNWATCH_FD, .unwatched = token};
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (!mr_map_take(&rt->watched, token)) return MR_OK; /* it has ended already */
	return mr_command_send(rt, &c);
}

int mr_runtime_log(mr_runtime *rt, int level, int format)
{
	struct mr_command c = {.type = MR_CMD_LOG, .log = {level, format, rt->log.worker}};
	if (level < -1 || level > MR_LOG_DEBUG) return MR_BAD_ARGUMENT; /* -1: no log */
	if (format != MR_LOG_LOGFMT && format != MR_LOG_JSON) return MR_BAD_ARGUMENT;
	rt->log.level = level;
	rt->log.format = format;
	mr_logger_configure(rt->bridge.logger, level, format, rt->log.worker);
	return mr_command_send(rt, &c);
}

int mr_runtime_worker(mr_runtime *rt, uint16_t number)
{
	rt->log.worker = number;
	return mr_runtime_log(rt, rt->log.level, rt->log.format);
}

void mr_log_write(mr_runtime *rt, int level, const char *text, size_t size, const mr_table *fields)
{
	mr_log_table(&rt->log, level, mr_slice_of(text, size), fields);
}

void mr_runtime_stats(const mr_runtime *rt, mr_stats *out)
{
	mr_connection *c;
	size_t at = 0;
	mr_board_read(&rt->bridge.board, out);
	out->outbound = 0;
	out->log_dropped = mr_logger_dropped(rt->bridge.logger);
	while ((c = mr_map_next(&rt->connections, &at, NULL)))
		out->outbound += c->published - mr_gauge_gone(c->gauge);
}
