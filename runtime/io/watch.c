/* watch: watches descriptors and a wake-up time for the host.
 * SPDX-License-Identifier: MIT */
#include "io/watch.h"

#include <sys/stat.h>

#include "base/alloc.h"

#define SWEEP 0.25 /* s between two checks for closed descriptors, while any is watched */

/* The identity of a descriptor's open file. */
struct identity {
	dev_t device;
	ino_t inode;
};

struct watch {
	ev_io io;
	uint64_t token;
	uint32_t serial;
	struct identity file;
	int wanted; /* MR_FD_* */
	struct mr_watches *all;
};

static void tell(struct mr_watches *w, uint64_t token, uint32_t serial, int events)
{
	mr_event ev = {.type = MR_EV_FD};
	ev.as.fd.token = token;
	ev.as.fd.serial = serial;
	ev.as.fd.ready = (uint16_t)events;
	mr_event_queue_push(w->dispatch, &ev);
}

static void stop_idle_sweep(struct mr_watches *w)
{
	if (!w->by_token.count) ev_timer_stop(w->loop, &w->sweep);
}

static void end(struct watch *watch, int events)
{
	struct mr_watches *all = watch->all;
	ev_io_stop(all->loop, &watch->io);
	mr_map_take(&all->by_token, watch->token);
	if (events) tell(all, watch->token, watch->serial, events);
	mr_free(watch);
	stop_idle_sweep(all);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	end(io->data,
		(revents & EV_READ ? MR_FD_READ : 0) | (revents & EV_WRITE ? MR_FD_WRITE : 0));
}

/* libev does not handle descriptors that epoll refuses, such as regular files. */
static bool can_be_polled(int fd, struct identity *file)
{
	struct stat st;
	if (fstat(fd, &st) != 0) return false;
	*file = (struct identity){st.st_dev, st.st_ino};
	return !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* The kernel removes a closed descriptor from epoll without a notice. */
static void on_sweep(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_watches *w = timer->data;
	struct watch *watch;
	struct identity now;
	size_t at = 0;
	(void)loop;
	(void)revents;
	while ((watch = mr_map_next(&w->by_token, &at, NULL))) {
		bool is_there = can_be_polled(watch->io.fd, &now);
		if (is_there && now.device == watch->file.device && now.inode == watch->file.inode)
			continue;
		end(watch, watch->wanted);
	}
}

static void on_alarm(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_watches *w = timer->data;
	mr_event ev = {.type = MR_EV_NONE};
	(void)loop;
	(void)revents;
	mr_event_queue_push(w->dispatch, &ev);
}

/* The host relies on the time that it asked for: this must not run earlier. */
static void on_nudge(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_watches *w = timer->data;
	(void)loop;
	(void)revents;
	if (mr_clock_now() < w->nudge.at)
		mr_timer_arm(&w->nudge, w->nudge.at);
	else
		mr_wake_signal(&w->dispatch->bridge->host);
}

void mr_watch_init(struct mr_watches *w, struct mr_timers *timers, struct mr_event_queue *dispatch)
{
	*w = (struct mr_watches){.loop = timers->loop, .dispatch = dispatch};
	mr_timer_init(&w->alarm, timers, on_alarm, w);
	mr_timer_init(&w->nudge, timers, on_nudge, w);
	ev_init(&w->sweep, on_sweep);
	w->sweep.repeat = SWEEP;
	w->sweep.data = w;
}

void mr_watch_fini(struct mr_watches *w)
{
	struct watch *watch;
	size_t at = 0;
	while ((watch = mr_map_next(&w->by_token, &at, NULL))) {
		ev_io_stop(w->loop, &watch->io);
		mr_free(watch);
	}
	mr_map_fini(&w->by_token);
	if (!w->loop) return;
	mr_timer_stop(&w->alarm);
	mr_timer_stop(&w->nudge);
	ev_timer_stop(w->loop, &w->sweep);
}

void mr_watch_add(struct mr_watches *w, uint64_t token, uint32_t serial, int fd, int events)
{
	struct identity file;
	struct watch *watch = can_be_polled(fd, &file) ? mr_calloc(1, sizeof *watch) : NULL;
	if (!watch || mr_map_put(&w->by_token, token, watch) != MR_OK) {
		mr_free(watch);
		tell(w, token, serial, events);
		return;
	}
	watch->token = token;
	watch->serial = serial;
	watch->file = file;
	watch->wanted = events;
	watch->all = w;
	int wanted = (events & MR_FD_READ ? EV_READ : 0) | (events & MR_FD_WRITE ? EV_WRITE : 0);
	ev_io_init(&watch->io, on_ready, fd, wanted);
	watch->io.data = watch;
	ev_io_start(w->loop, &watch->io);
	if (!ev_is_active(&w->sweep)) ev_timer_again(w->loop, &w->sweep);
}

void mr_watch_remove(struct mr_watches *w, uint64_t token)
{
	struct watch *watch = mr_map_get(&w->by_token, token);
	if (watch) end(watch, 0);
}
