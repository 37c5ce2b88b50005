/* event: what an event carries, freed.
 * SPDX-License-Identifier: MIT
 * Any thread. */
#include "base/alloc.h"
#include "moonrabbit.h"

void mr_event_fini(mr_event *event)
{
	switch (event->type) {
	case MR_EV_DONE:
	case MR_EV_CHANNEL:
	case MR_EV_CONNECTION:
	case MR_EV_BLOCKED:
		mr_free(event->data.any);
		event->data.any = NULL;
		break;
	default: /* deliveries are the host's to release */ break;
	}
}
