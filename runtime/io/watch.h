/* watch: descriptors and a wake-up time that the host asked the I/O thread to mind.
 * SPDX-License-Identifier: MIT
 * I/O thread. Never reads from or writes to what it watches. */
#ifndef MR_IO_WATCH_H
#define MR_IO_WATCH_H

#include <ev.h>

#include "base/clock.h"
#include "base/map.h"
#include "io/event_queue.h"
#include "io/timer.h"

struct mr_watches {
	struct ev_loop *loop;
	struct mr_event_queue *dispatch;
	struct mr_map by_token;
	ev_timer sweep;        /* runs while anything is watched */
	struct mr_timer alarm; /* wakes the host by an event; armed by whoever it asks */
	struct mr_timer nudge; /* wakes the host, which knows what for; likewise */
};

void mr_watch_init(struct mr_watches *w, struct mr_timers *timers, struct mr_event_queue *dispatch);
void mr_watch_fini(struct mr_watches *w);
/* Ends in one MR_EV_FD; a descriptor that cannot be watched (a plain file, a closed one) is reported
 * ready at once, and one that is closed meanwhile, or stands for another file, within a quarter of a second:
 * the host's own call will say what is wrong with it. A token in use is the host's mistake, see api. The event's epoch is
 * `serial`: a host that unwatches a token and uses it again tells the two apart by it. */
void mr_watch_add(struct mr_watches *w, uint64_t token, uint32_t serial, int fd, int events);
void mr_watch_remove(struct mr_watches *w, uint64_t token);

#endif
