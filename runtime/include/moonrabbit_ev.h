/* moonrabbit_ev.h: a runtime in a loop of libev, for hosts that have one. Header only.
 * SPDX-License-Identifier: MIT
 *
 *	static void on_event(mr_runtime *rt, mr_event *event, void *data) { ... }
 *
 *	static mr_ev ev; // until the turn ends that detaches it
 *	mr_ev_attach(&ev, EV_DEFAULT, rt, on_event, NULL);
 *	ev_run(EV_DEFAULT, 0);
 *	mr_ev_detach(&ev);
 *	mr_runtime_free(rt, 5);
 *
 * on_event gets each event, and releases or settles deliveries; mr_event_fini is not its affair. It may
 * call every function but mr_runtime_free and mr_runtime_poll. It may detach; the events of this turn
 * still come then. A turn takes at most MR_EV_BATCH events, so that other watchers get theirs.
 * Build with -lmoonrabbit -lev. The library has a libev of its own, of which the host sees nothing. */
#ifndef MOONRABBIT_EV_H
#define MOONRABBIT_EV_H

#include <ev.h>
#include <moonrabbit.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MR_EV_BATCH 64

typedef void mr_ev_handler(mr_runtime *rt, mr_event *event, void *data);

typedef struct mr_ev {
	ev_io io; /* first */
	struct ev_loop *loop;
	mr_runtime *rt;
	mr_ev_handler *on_event;
	void *data;
} mr_ev;

static inline void mr_ev_on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	mr_ev *a = (mr_ev *)io->data;
	mr_event events[MR_EV_BATCH];
	int n = mr_runtime_poll(a->rt, events, MR_EV_BATCH, 0);
	(void)revents;
	if (n < 0) ev_io_stop(loop, io); /* a forked child: the runtime is its parent's */
	for (int i = 0; i < n; i++) {
		a->on_event(a->rt, &events[i], a->data);
		mr_event_fini(&events[i]);
	}
	/* A poll without events tells the watchdog that the host sleeps from now on. */
	if (n > 0) mr_runtime_poll(a->rt, events, 0, 0);
}

/* MR_FORKED: the runtime belongs to the parent process. */
static inline int mr_ev_attach(mr_ev *a, struct ev_loop *loop, mr_runtime *rt,
	mr_ev_handler *on_event, void *data)
{
	int fd = mr_runtime_fd(rt);
	if (fd < 0) return MR_FORKED;
	a->loop = loop;
	a->rt = rt;
	a->on_event = on_event;
	a->data = data;
	ev_io_init(&a->io, mr_ev_on_readable, fd, EV_READ);
	a->io.data = a;
	ev_io_start(loop, &a->io);
	return MR_OK;
}

static inline void mr_ev_detach(mr_ev *a) { ev_io_stop(a->loop, &a->io); }

#ifdef __cplusplus
}
#endif
#endif
