/* event_queue: passes events to the host, without ever waiting for it.
 * SPDX-License-Identifier: MIT
 * I/O thread. Deliveries may fill only a part of the ring; the rest is for answers to the host.
 * Events for which there is no room are parked in the lane of their link, in order, and lanes take
 * turns, so that the messages of one link do not delay other links. Confirms and returns overtake
 * parked events. The number of parked events is limited by the host's requests, and by each link's
 * bound (link/io.c). */
#ifndef MR_IO_EVENT_QUEUE_H
#define MR_IO_EVENT_QUEUE_H

#include "base/buffer.h"
#include "base/delivery.h"
#include "base/list.h"
#include "bridge/bridge.h"

struct mr_lane {                 /* zeroed is empty and valid */
	struct mr_node node;     /* in dispatch->waiting while there are events */
	struct mr_buffer parked; /* whole mr_events */
	size_t unsettled;        /* parked deliveries that need a settle */
};

struct mr_event_queue {
	struct mr_bridge *bridge;
	struct mr_lane common;  /* for events without a link, and for those that go first */
	struct mr_node waiting; /* lanes of links, in the order of their turns */
	bool pushed;            /* since the host was last woken */
	uint64_t dropped;       /* events that were lost because memory ran out */
};

void mr_event_queue_init(struct mr_event_queue *d, struct mr_bridge *bridge);
void mr_event_queue_fini(struct mr_event_queue *d);
/* Takes the event's data. */
void mr_event_queue_push(struct mr_event_queue *d, const mr_event *event);
/* The same, for an event of a link. */
void mr_event_queue_push_from(struct mr_event_queue *d, struct mr_lane *lane,
	const mr_event *event);
/* Moves events from the lanes to the ring as far as possible, and wakes the host if there are new
 * ones. */
void mr_event_queue_flush(struct mr_event_queue *d);
/* True if events are parked and the ring has room. False: the host will signal when there is
 * room. */
bool mr_event_queue_has_room(struct mr_event_queue *d);
/* True if no event is parked: the host can pull all. */
bool mr_event_queue_is_empty(const struct mr_event_queue *d);
/* The channel of this epoch has ended (0: all channels of the link): drops parked deliveries that
 * need a settle, because the broker has taken them back. */
void mr_event_queue_forget(struct mr_lane *lane, struct mr_delivery_pool *pool, uint32_t epoch);
/* The link is freed: its parked events are still passed to the host. */
void mr_event_queue_close_lane(struct mr_event_queue *d, struct mr_lane *lane);

#endif
