/* dispatch: hands events to the host, in order, without ever waiting for it.
 * SPDX-License-Identifier: MIT */
#include "engine/dispatch.h"

#include <string.h>

#include "base/value.h"

/* One that no host will pull. */
static void drop(mr_event *event)
{
	struct mr_opened *o = event->data.any;
	if (event->type == MR_EV_CONNECTION && event->detail == MR_CONNECTION_OPEN && o)
		mr_table_free(o->server_properties);
	mr_event_fini(event);
}

static bool into_ring(struct mr_dispatch *d, const mr_event *event)
{
	mr_event *slot = mr_ring_reserve(&d->bridge->events, sizeof *slot);
	if (!slot) return false;
	*slot = *event;
	mr_ring_commit(&d->bridge->events);
	d->pushed = true;
	return true;
}

void mr_dispatch_push(struct mr_dispatch *d, const mr_event *event)
{
	if (!mr_dispatch_is_full(d) && into_ring(d, event)) return;
	if (mr_buffer_append(&d->backlog, event, sizeof *event) == MR_OK) return;
	mr_event lost = *event; /* a waiter will run into its own deadline */
	drop(&lost);
	d->dropped++;
}

void mr_dispatch_flush(struct mr_dispatch *d)
{
	while (mr_buffer_size(&d->backlog)) {
		mr_event event;
		memcpy(&event, mr_buffer_data(&d->backlog), sizeof event);
		if (!into_ring(d, &event)) break;
		mr_buffer_consume(&d->backlog, sizeof event);
	}
	mr_buffer_trim(&d->backlog, 4096);
	if (!d->pushed) return;
	d->pushed = false;
	mr_wake_signal(&d->bridge->host);
}

bool mr_dispatch_is_full(const struct mr_dispatch *d) { return mr_buffer_size(&d->backlog) != 0; }

bool mr_dispatch_has_room(struct mr_dispatch *d)
{
	return mr_dispatch_is_full(d) && mr_ring_reserve(&d->bridge->events, sizeof(mr_event));
}

void mr_dispatch_fini(struct mr_dispatch *d)
{
	mr_event event;
	while (mr_buffer_size(&d->backlog) >= sizeof event) {
		memcpy(&event, mr_buffer_data(&d->backlog), sizeof event);
		mr_buffer_consume(&d->backlog, sizeof event);
		drop(&event);
	}
	mr_buffer_fini(&d->backlog);
}
