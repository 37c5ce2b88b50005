/* event: frees the data of events.
 * SPDX-License-Identifier: MIT
 * Any thread. */
#include "base/alloc.h"
#include "moonrabbit.h"

void mr_event_fini(mr_event *event)
{
	switch (event->type) {
	case MR_EV_CONNECTION:
		if (event->detail == MR_CONNECTION_RECOVERED) {
			mr_table_free(event->data.table);
			event->data.any = NULL;
		}
		mr_free(event->data.any);
		event->data.any = NULL;
		break;
	case MR_EV_DONE:
	case MR_EV_CHANNEL:
	case MR_EV_CANCEL:
	case MR_EV_BLOCKED:
		mr_free(event->data.any);
		event->data.any = NULL;
		break;
	case MR_EV_PAGE:
		mr_table_free(event->data.table);
		event->data.any = NULL;
		break;
	case MR_EV_HEALTH:
		if (event->data.health) mr_table_free(event->data.health->report);
		mr_free(event->data.any);
		event->data.any = NULL;
		break;
	default: /* the host releases deliveries */ break;
	}
}
