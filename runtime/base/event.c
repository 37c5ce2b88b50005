/* event: frees the data of events.
 * SPDX-License-Identifier: MIT
 * Any thread. */
#include "base/alloc.h"
#include "moonrabbit.h"

_Static_assert(sizeof(mr_event) == 48, "an event fills the ring as before");

static void free_connection(mr_event *event)
{
	if (event->as.connection.state == MR_CONNECTION_RECOVERED)
		mr_table_free(event->as.connection.with.report);
	else
		mr_free(event->as.connection.with.error);
	event->as.connection.with.error = NULL;
}

static void free_health(mr_health *health)
{
	if (health) mr_table_free(health->report);
	mr_free(health);
}

static void free_error(mr_error **error)
{
	mr_free(*error);
	*error = NULL;
}

/* What is freed is NULL afterwards: a second call does nothing. */
void mr_event_fini(mr_event *event)
{
	switch (event->type) {
	case MR_EV_CONNECTION: free_connection(event); break;
	case MR_EV_DONE:
		mr_free(event->as.done.reply);
		event->as.done.reply = NULL;
		break;
	case MR_EV_CHANNEL: free_error(&event->as.channel.error); break;
	case MR_EV_CANCEL: free_error(&event->as.cancel.error); break;
	case MR_EV_BLOCKED: free_error(&event->as.blocked.reason); break;
	case MR_EV_LOG:
		mr_free(event->as.log.line);
		event->as.log.line = NULL;
		break;
	case MR_EV_PAGE:
		mr_table_free(event->as.page.request);
		event->as.page.request = NULL;
		break;
	case MR_EV_HEALTH:
		free_health(event->as.health.health);
		event->as.health.health = NULL;
		break;
	default: /* the host releases deliveries */ break;
	}
}
