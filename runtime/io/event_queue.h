/* event_queue: hands events to the host, without ever waiting for it.
 * SPDX-License-Identifier: MIT
 * I/O thread. Deliveries may fill a part of the ring; the rest is for what the host asked for. What finds
 * no room is parked in the lane of its link, in order, and lanes have their turns: so a link whose host is
 * slow to take its messages holds back no other. Confirms and returns go before what is parked. How much
 * is parked is bounded by what the host asked for, and by each link's bound (link/io.c). */
#ifndef MR_IO_EVENT_QUEUE_H
#define MR_IO_EVENT_QUEUE_H

#include "base/buffer.h"
#include "base/delivery.h"
#include "base/list.h"
#include "bridge/bridge.h"

struct mr_lane {                 /* zeroed is empty and valid */
	struct mr_node node;     /* in dispatch->waiting while there are events */
	struct mr_buffer parked; /* whole mr_events */
	size_t unsettled;        /* deliveries among them that the broker still counts as ours */
};

struct mr_event_queue {
	struct mr_bridge *bridge;
	struct mr_lane common;  /* of what belongs to no link, and of what goes first */
	struct mr_node waiting; /* lanes of links, in turn */
	bool pushed;            /* since the host was last woken */
	uint64_t dropped;       /* events that memory did not suffice for */
};

void mr_event_queue_init(struct mr_event_queue *d, struct mr_bridge *bridge);
void mr_event_queue_fini(struct mr_event_queue *d);
/* Takes what the event carries. */
void mr_event_queue_push(struct mr_event_queue *d, const mr_event *event);
/* The same, of a link. */
void mr_event_queue_push_from(struct mr_event_queue *d, struct mr_lane *lane,
	const mr_event *event);
/* Moves what it can from the lanes to the ring and wakes the host if there is news. */
void mr_event_queue_flush(struct mr_event_queue *d);
/* Something is parked, and the ring has room for it. False: the host will say when it has. */
bool mr_event_queue_has_room(struct mr_event_queue *d);
/* The channel of that epoch has ended (0: all of the link): the broker has taken back what is parked and
 * was not acked, so that a host that is slow does not get it for nothing. */
void mr_event_queue_forget(struct mr_lane *lane, struct mr_delivery_pool *pool, uint32_t epoch);
/* The link goes: what is parked is told nevertheless. */
void mr_event_queue_close_lane(struct mr_event_queue *d, struct mr_lane *lane);

#endif
