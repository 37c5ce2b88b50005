/* runtime: starts and ends a runtime, sends commands to its thread and pulls events from it.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/event.h"
#include "api/handle.h"
#include "api/lead.h"
#include "api/log_events.h"
#include "api/pool.h"
#include "api/pool_request.h"
#include "api/setup.h"
#include "base/alloc.h"
#include "bridge/ending.h"
#include "bridge/pipe.h"

#define LONGEST (MR_NEVER / 4000) /* ms: a longer poll has no limit */

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
	rt->bridge.io.fd = rt->bridge.host.fd = rt->bridge.helm.back.fd = rt->bridge.signals.fd =
		-1;
	mr_busy_poll_init(&rt->busy_poll);
	mr_waits_init(&rt->waits);
	mr_list_init(&rt->server_properties);
	rt->alive = open_alive();
	if (rt->alive) st = mr_bridge_open(&rt->bridge, NULL);
	if (st == MR_OK) st = mr_engine_start(&rt->engine, &rt->bridge, NULL);
	if (st == MR_OK) {
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
		for (size_t i = 0; i < c->channel_slots; i++)
			mr_handle_free_channel(c->channels[i]);
		mr_handle_free_connection(c);
	}
	mr_map_fini(&rt->connections);
}

static void free_streams(mr_runtime *rt)
{
	struct mr_pipe *pipe;
	size_t at = 0;
	while ((pipe = mr_map_next(&rt->streams, &at, NULL))) mr_pipe_drop(pipe);
	mr_map_fini(&rt->streams);
}

void mr_runtime_free(mr_runtime *rt, double timeout)
{
	if (!rt || mr_handle_is_forked(rt))
		return; /* a child has no I/O thread and does not own the sockets */
	if (mr_ending_has_begun()) return; /* all is closed; the process frees the memory */
	struct mr_command stop = {.type = MR_CMD_STOP,
		.deadline = mr_clock_now() + mr_clock_msec_of(timeout)};
	mr_command_send(rt, &stop);
	mr_helm_give_back(&rt->bridge.helm);
	mr_wake_signal(&rt->bridge.io);
	/* The thread never waits for the host to read: events without room in the ring wait in its
	 * own backlog. */
	struct mr_writer *writer = mr_engine_join(rt->engine);
	drop_events(rt);
	mr_pool_free_all(rt);
	free_connections(rt);
	mr_map_fini(&rt->watched);
	mr_map_fini(&rt->recovers);
	mr_setup_free_all(rt);
	free_streams(rt);
	for (size_t i = 0; i < rt->meter_count; i++) mr_free(rt->meters[i]);
	for (size_t i = 0; i < rt->backlog_count; i++) mr_free(rt->backlogs[i]);
	for (size_t i = 0; i < rt->loans_count; i++) mr_free(rt->loans[i]);
	for (size_t i = 0; i < rt->metric_count; i++) mr_series_drop(rt->metrics[i]);
	mr_log_events_write_out(rt);
	mr_writer_stop(writer);
	mr_bridge_close(&rt->bridge);
	munmap(rt->alive, 4096);
	mr_free(rt);
}

int mr_runtime_stop(mr_runtime *rt, uint64_t token, double timeout)
{
	struct mr_command c = {.type = MR_CMD_FAREWELL,
		.token = token,
		.deadline = mr_clock_now() + mr_clock_msec_of(timeout > 0 ? timeout : 0)};
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (!mr_is_token(token)) return MR_BAD_ARGUMENT;
	enum mr_status st = mr_health_stopping(rt);
	if (st == MR_OK) st = mr_command_send(rt, &c);
	if (st != MR_OK) return st;
	mr_pool_end_waits(rt);
	mr_command_signal(rt);
	return MR_OK;
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
 * one event at a time might see only waits, if handlers keep passing an item to each other. Log lines
 * come last, unless there was no place for them the last time. */
static int take_events(mr_runtime *rt, mr_event *events, int max)
{
	mr_pool_request_expire(rt);
	int logged = rt->log_crowd ? mr_log_events_take(rt, events, max > 4 ? max / 4 : max) : 0;
	rt->log_crowd = false;
	events += logged;
	max -= logged;
	int n = rt->waits.crowd ? 0 : take_waits(rt, events, max);
	rt->waits.crowd = n && n == max;
	n += take_pushed(rt, events + n, max - n);
	n += take_waits(rt, events + n, max - n);
	rt->log_crowd = n && n == max && mr_log_events_wait(rt);
	return logged + n + mr_log_events_take(rt, events + n, max - n);
}

static bool has_events(mr_runtime *rt)
{
	size_t size;
	return mr_ring_peek(&rt->bridge.events, &size) || !mr_list_is_empty(&rt->waits.ended) ||
	       mr_log_events_wait(rt);
}

/* Waits until the descriptor is readable, or until `until` (by mr_clock_real_us). Returns false after
 * a signal. */
static bool wait_for_event(mr_runtime *rt, int64_t until)
{
	struct pollfd pfd = {.fd = rt->bridge.host.fd, .events = POLLIN};
	int64_t us = until == MR_NEVER ? 0 : until - mr_clock_real_us();
	if (us < 0) us = 0;
	struct timespec left = {us / 1000000, us % 1000000 * 1000};
	atomic_store(&rt->bridge.host_waits, true);
	/* Pairs with hand_over: either the I/O thread sees the wait, or this sees that it has let go. */
	if (mr_helm_is_here(&rt->bridge.helm)) left = (struct timespec){0}, until = 0;
	int n = ppoll(&pfd, 1, until == MR_NEVER ? NULL : &left,
		mr_signals_mask(&rt->bridge.signals));
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

/* Runs the loop itself as long as it has the helm, until there are events or the poll is over. False:
 * it has not, or no longer. */
static bool lead(mr_runtime *rt, mr_event *events, int max, int64_t until, int *n)
{
	rt->look.left = 0; /* what a wait before has left of it */
	while (mr_lead_begin(rt, until)) {
		uint64_t began = mr_clock_us();
		bool interrupted = mr_lead_turn(rt);
		*n = take_events(rt, events, max);
		mr_lead_end(rt, began, *n);
		if (*n || interrupted || mr_clock_real_us() >= until) return true;
	}
	return false;
}

static int64_t end_of(double timeout)
{
	mr_msec ms = mr_clock_msec_of(timeout);
	return timeout < 0 || ms > LONGEST ? MR_NEVER : mr_clock_real_us() + ms * 1000;
}

static int poll_events(mr_runtime *rt, mr_event *events, int max, double timeout)
{
	int n;
	awake(rt);
	pumped(rt);
	if (timeout == 0 || max <= 0) {
		rt->sent = 0;
		return take_or_prepare(rt, events, max);
	}
	n = take_events(rt, events, max);
	if (n) {
		mr_lead_at_once(rt);
		return n;
	}
	int64_t until = end_of(timeout);
	if (lead(rt, events, max, until, &n)) return n;
	n = take_or_prepare(rt, events, max);
	if (n) return n;
	for (;;) {
		uint64_t began = mr_clock_us();
		mr_lead_expect(rt);
		bool interrupted = !wait_for_event(rt, until);
		awake(rt);
		n = take_events(rt, events, max);
		mr_lead_judge(rt, began, n);
		/* The host must be able to handle its signal. */
		if (n || interrupted || mr_clock_real_us() >= until) return n;
		if (lead(rt, events, max, until, &n)) return n;
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
	mr_helm_give_back(&rt->bridge.helm);
	watch(rt);
	return rt->bridge.host.fd;
}

bool mr_runtime_is_forked(const mr_runtime *rt) { return mr_handle_is_forked(rt); }

/* Two threads, or a signal handler and what it has interrupted. The log's ring is the host thread's,
 * so this is written as it is; write(2) may be called anywhere. */
static int refuse_poll(mr_runtime *rt)
{
	static const char line[] =
		"level=error msg=\"poll within a poll\" text=\"a runtime belongs to one thread, "
		"and signal handlers must not poll: this poll takes nothing\"\n";
	if (!atomic_exchange(&rt->poll_refused, true)) {
		ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
		(void)n;
	}
	return 0;
}

int mr_runtime_poll(mr_runtime *rt, mr_event *events, int max, double timeout)
{
	if (mr_handle_is_forked(rt)) return -1;
	if (atomic_exchange_explicit(&rt->polling, true, memory_order_acquire))
		return refuse_poll(rt);
	mr_mark_enter(&rt->bridge.progress);
	int n = poll_events(rt, events, max, timeout);
	mr_signals_let(&rt->bridge.signals);
	watch(rt);
	mr_mark_leave(&rt->bridge.progress, mr_clock_real(), n == 0 && timeout == 0);
	atomic_store_explicit(&rt->polling, false, memory_order_release);
	return n;
}

int mr_runtime_wake_at(mr_runtime *rt, double at)
{
	struct mr_command c = {.type = MR_CMD_WAKE_AT,
		.wake_at = at > 0 ? mr_clock_msec_of(at) : MR_NEVER};
	return mr_command_send(rt, &c);
}

int mr_runtime_wake_socket(mr_runtime *rt, const char *path, mr_error *error)
{
	struct mr_command c = {.type = MR_CMD_WAKE_SOCKET};
	if (mr_handle_is_forked(rt))
		return mr_error_set(error, MR_FORKED, MR_SCOPE_NONE, 0, "the process is a fork");
	if (rt->bridge.wake_socket)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"the runtime has a wake socket: %s", rt->bridge.wake_socket->local.path);
	enum mr_status st = mr_wake_socket_open(&c.wake_socket, path, error);
	if (st != MR_OK) return st;
	st = mr_command_send(rt, &c);
	if (st != MR_OK) {
		mr_wake_socket_free(c.wake_socket);
		return mr_error_set(error, st, MR_SCOPE_NONE, 0, "%s", mr_status_text(st));
	}
	rt->bridge.wake_socket = c.wake_socket;
	atomic_store_explicit(&rt->bridge.host.mirror, c.wake_socket->out, memory_order_release);
	mr_runtime_fd(rt);
	mr_command_signal(rt);
	return MR_OK;
}

const char *mr_runtime_wake_path(const mr_runtime *rt)
{
	if (mr_handle_is_forked(rt) || !rt->bridge.wake_socket) return NULL;
	return rt->bridge.wake_socket->local.path;
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

void mr_runtime_stats(const mr_runtime *rt, mr_stats *out)
{
	mr_connection *c;
	size_t at = 0;
	mr_board_read(&rt->bridge.board, out);
	out->outbound = 0;
	out->log_dropped =
		mr_logger_dropped(rt->bridge.logger) + mr_log_queue_dropped(&rt->bridge.log_queue);
	while ((c = mr_map_next(&rt->connections, &at, NULL)))
		out->outbound += c->published - mr_gauge_gone(c->gauge);
}
