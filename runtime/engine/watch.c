/* watch: descriptors and a wake-up time that the host asked the I/O thread to mind.
 * SPDX-License-Identifier: MIT */
#include "engine/watch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"

struct watch {
	ev_io io;
	uint64_t token;
	struct mr_watches *all;
};

static void tell(struct mr_watches *w, uint64_t token, int events)
{
	mr_event ev = {.type = MR_EV_FD, .token = token, .detail = (uint16_t)events};
	mr_dispatch_push(w->dispatch, &ev);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	struct watch *watch = io->data;
	struct mr_watches *all = watch->all;
	int events = (revents & EV_READ ? MR_FD_READ : 0) | (revents & EV_WRITE ? MR_FD_WRITE : 0);
	ev_io_stop(loop, io);
	mr_map_take(&all->by_token, watch->token);
	tell(all, watch->token, events);
	mr_free(watch);
}

static void on_alarm(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_watches *w = timer->data;
	mr_event ev = {.type = MR_EV_NONE};
	(void)loop;
	(void)revents;
	mr_dispatch_push(w->dispatch, &ev);
}

void mr_watches_init(struct mr_watches *w, struct mr_timers *timers, struct mr_dispatch *dispatch)
{
	*w = (struct mr_watches){.loop = timers->loop, .dispatch = dispatch};
	mr_timer_init(&w->alarm, timers, on_alarm, w);
}

void mr_watches_fini(struct mr_watches *w)
{
	struct watch *watch;
	size_t at = 0;
	while ((watch = mr_map_next(&w->by_token, &at, NULL))) {
		ev_io_stop(w->loop, &watch->io);
		mr_free(watch);
	}
	mr_map_fini(&w->by_token);
	if (w->loop) mr_timer_stop(&w->alarm);
}

/* libev ends the process's patience, not just ours, with a descriptor that epoll does not take. */
static bool can_be_polled(int fd)
{
	struct stat st;
	return fcntl(fd, F_GETFD) >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
	       !S_ISDIR(st.st_mode);
}

void mr_watch_add(struct mr_watches *w, uint64_t token, int fd, int events)
{
	struct watch *watch = can_be_polled(fd) ? mr_calloc(1, sizeof *watch) : NULL;
	if (!watch || mr_map_put(&w->by_token, token, watch) != MR_OK) {
		mr_free(watch);
		tell(w, token, events);
		return;
	}
	watch->token = token;
	watch->all = w;
	int wanted = (events & MR_FD_READ ? EV_READ : 0) | (events & MR_FD_WRITE ? EV_WRITE : 0);
	ev_io_init(&watch->io, on_ready, fd, wanted);
	watch->io.data = watch;
	ev_io_start(w->loop, &watch->io);
}

void mr_watch_remove(struct mr_watches *w, uint64_t token)
{
	struct watch *watch = mr_map_take(&w->by_token, token);
	if (!watch) return;
	ev_io_stop(w->loop, &watch->io);
	mr_free(watch);
}
