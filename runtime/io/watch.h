/* watch: watches descriptors and a wake-up time for the host.
 * SPDX-License-Identifier: MIT
 * I/O thread. Never reads from or writes to a watched descriptor. */
#ifndef MR_IO_WATCH_H
#define MR_IO_WATCH_H

#include "base/clock.h"
#include "base/ev.h"
#include "base/map.h"
#include "io/event_queue.h"
#include "io/timer.h"

struct mr_watches {
	struct ev_loop *loop;
	struct mr_event_queue *dispatch;
	struct mr_map by_token;
	ev_timer sweep;        /* runs while a descriptor is watched */
	struct mr_timer alarm; /* wakes the host by an event; armed by MR_CMD_WAKE_AT */
	struct mr_timer nudge; /* wakes the host without an event; armed by MR_CMD_NUDGE_AT */
};

void mr_watch_init(struct mr_watches *w, struct mr_timers *timers, struct mr_event_queue *dispatch);
void mr_watch_fini(struct mr_watches *w);
/* Ends with one MR_EV_FD. A descriptor that cannot be watched (a plain file, a closed one) is
 * reported ready at once; one that is closed while it is watched, or refers to another file, within
 * a quarter of a second: the host's own call then fails. api rejects a token in use. The event's
 * epoch is `serial`: it distinguishes two watches if the host unwatches a token and uses it
 * again. */
void mr_watch_add(struct mr_watches *w, uint64_t token, uint32_t serial, int fd, int events);
void mr_watch_remove(struct mr_watches *w, uint64_t token);

#endif
