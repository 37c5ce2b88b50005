/* dispatch: hands events to the host, in order, without ever waiting for it.
 * SPDX-License-Identifier: MIT
 * I/O thread. When the ring is full, events queue here and the links stop reading until the host has
 * caught up; what queues meanwhile is bounded by what had been read. */
#ifndef MR_ENGINE_DISPATCH_H
#define MR_ENGINE_DISPATCH_H

#include "base/buffer.h"
#include "bridge/bridge.h"

struct mr_dispatch {
	struct mr_bridge *bridge;
	struct mr_buffer backlog; /* whole mr_events */
	bool pushed;              /* since the host was last woken */
	uint64_t dropped;         /* events that memory did not suffice for */
};

/* Takes what the event carries. */
void mr_dispatch_push(struct mr_dispatch *d, const mr_event *event);
/* Moves what it can from the backlog to the ring and wakes the host if there is news. */
void mr_dispatch_flush(struct mr_dispatch *d);
bool mr_dispatch_is_full(const struct mr_dispatch *d);
/* Something waits in the backlog, and the ring has room for it. False: the host will say when it has. */
bool mr_dispatch_has_room(struct mr_dispatch *d);
void mr_dispatch_fini(struct mr_dispatch *d);

#endif
