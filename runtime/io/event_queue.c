/* event_queue: passes events to the host, without ever waiting for it.
 * SPDX-License-Identifier: MIT */
#include "io/event_queue.h"

#include <string.h>

#include "base/value.h"

/* The bytes of the ring that deliveries may fill: about 1800 of them. That is more than a usual
 * prefetch, because parked events are copied twice. */
#define DELIVERY_SHARE (MR_EVENT_RING / 4)
#define LANE_TURN 64 /* events of one link before the next one's turn */

/* Frees an event that no host will pull. */
static void drop(mr_event *event)
{
	bool is_open =
		event->type == MR_EV_CONNECTION && event->as.connection.state == MR_CONNECTION_OPEN;
	const struct mr_opened *o = is_open ? event->as.connection.with.opened : NULL;
	if (o) mr_table_free(o->server_properties);
	mr_event_fini(event);
}

static mr_event *reserve(struct mr_event_queue *d, const mr_event *event)
{
	size_t share = event->type == MR_EV_DELIVERY ? DELIVERY_SHARE : MR_EVENT_RING;
	return mr_ring_reserve_within(&d->bridge->events, sizeof(mr_event), share);
}

static bool into_ring(struct mr_event_queue *d, const mr_event *event)
{
	mr_event *slot = reserve(d, event);
	if (!slot) return false;
	*slot = *event;
	mr_ring_commit(&d->bridge->events);
	d->pushed = true;
	return true;
}

static bool is_empty(const struct mr_lane *lane) { return mr_buffer_size(&lane->parked) == 0; }

static bool is_unsettled(const mr_event *event)
{
	return event->type == MR_EV_DELIVERY && !(event->as.delivery->flags & MR_DELIVERY_NO_ACK);
}

static mr_event first_of(const struct mr_lane *lane)
{
	mr_event event;
	memcpy(&event, mr_buffer_data(&lane->parked), sizeof event);
	return event;
}

static void park(struct mr_event_queue *d, struct mr_lane *lane, const mr_event *event)
{
	if (mr_buffer_append(&lane->parked, event, sizeof *event) != MR_OK) {
		mr_event lost = *event; /* a waiter ends at its own deadline */
		drop(&lost);
		d->dropped++;
		return;
	}
	lane->unsettled += is_unsettled(event);
	if (lane != &d->common && !lane->node.next) mr_list_append(&d->waiting, &lane->node);
}

void mr_event_queue_push(struct mr_event_queue *d, const mr_event *event)
{
	mr_event_queue_push_from(d, &d->common, event);
}

/* The end of a publish does not depend on deliveries, and a handler may be waiting for it. */
static bool goes_first(const mr_event *event)
{
	return event->type == MR_EV_CONFIRM || event->type == MR_EV_RETURN;
}

void mr_event_queue_push_from(struct mr_event_queue *d, struct mr_lane *lane, const mr_event *event)
{
	if (goes_first(event)) lane = &d->common;
	if (is_empty(&d->common) && is_empty(lane) && into_ring(d, event)) return;
	park(d, lane, event);
}

/* Moves up to `most` events of a lane to the ring; returns the number that had room. */
static size_t drain(struct mr_event_queue *d, struct mr_lane *lane, size_t most)
{
	size_t n = 0;
	for (; n < most && !is_empty(lane); n++) {
		mr_event event = first_of(lane);
		/* The host may free it as soon as it is in the ring. */
		bool was_unsettled = is_unsettled(&event);
		if (!into_ring(d, &event)) break;
		mr_buffer_consume(&lane->parked, sizeof event);
		lane->unsettled -= was_unsettled;
	}
	mr_buffer_trim(&lane->parked, 4096);
	return n;
}

/* Gives each lane a turn; returns true if any event had room. */
static bool drain_lanes(struct mr_event_queue *d)
{
	struct mr_node turn, *node;
	bool any = false;
	mr_list_init(&turn);
	while ((node = mr_list_shift(&d->waiting))) {
		struct mr_lane *lane = mr_container(node, struct mr_lane, node);
		any |= drain(d, lane, LANE_TURN) != 0;
		if (!is_empty(lane)) mr_list_append(&turn, node);
	}
	mr_list_splice(&d->waiting, &turn);
	return any;
}

void mr_event_queue_flush(struct mr_event_queue *d)
{
	drain(d, &d->common, SIZE_MAX);
	while (is_empty(&d->common) && drain_lanes(d)) continue;
	if (!d->pushed) return;
	d->pushed = false;
	mr_wake_signal(&d->bridge->host);
}

static bool fits(struct mr_event_queue *d, const struct mr_lane *lane)
{
	mr_event event = first_of(lane);
	return reserve(d, &event) != NULL;
}

bool mr_event_queue_has_room(struct mr_event_queue *d)
{
	if (!is_empty(&d->common)) return fits(d, &d->common);
	for (struct mr_node *at = d->waiting.next; at != &d->waiting; at = at->next)
		if (fits(d, mr_container(at, struct mr_lane, node))) return true;
	return false;
}

bool mr_event_queue_is_empty(const struct mr_event_queue *d)
{
	return is_empty(&d->common) && mr_list_is_empty(&d->waiting);
}

void mr_event_queue_forget(struct mr_lane *lane, struct mr_delivery_pool *pool, uint32_t epoch)
{
	uint8_t *base = mr_buffer_data(&lane->parked), *end = base + mr_buffer_size(&lane->parked);
	if (!lane->unsettled) return;
	uint8_t *to = base;
	for (uint8_t *at = base; at < end; at += sizeof(mr_event)) {
		mr_event event;
		memcpy(&event, at, sizeof event);
		if (is_unsettled(&event) && (!epoch || event.epoch == epoch)) {
			mr_delivery_give(pool, event.as.delivery);
			lane->unsettled--;
			continue;
		}
		if (to != at) memcpy(to, &event, sizeof event);
		to += sizeof event;
	}
	lane->parked.end -= (size_t)(end - to);
	if (is_empty(lane)) mr_list_remove(&lane->node);
}

void mr_event_queue_close_lane(struct mr_event_queue *d, struct mr_lane *lane)
{
	while (!is_empty(lane)) {
		mr_event event = first_of(lane);
		mr_buffer_consume(&lane->parked, sizeof event);
		park(d, &d->common, &event);
	}
	mr_list_remove(&lane->node);
	mr_buffer_fini(&lane->parked);
}

void mr_event_queue_init(struct mr_event_queue *d, struct mr_bridge *bridge)
{
	*d = (struct mr_event_queue){.bridge = bridge};
	mr_list_init(&d->waiting);
}

void mr_event_queue_fini(struct mr_event_queue *d)
{
	while (!is_empty(&d->common)) {
		mr_event event = first_of(&d->common);
		mr_buffer_consume(&d->common.parked, sizeof event);
		drop(&event);
	}
	mr_buffer_fini(&d->common.parked);
}
