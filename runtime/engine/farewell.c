/* farewell: brings all connections to an orderly end for mr_runtime_stop, while the thread goes on.
 * SPDX-License-Identifier: MIT */
#include "engine/farewell.h"

#include <string.h>

#include "base/tally.h"
#include "link/link.h"

static bool is_on(const struct mr_farewell *q)
{
	return mr_buffer_size(&q->tokens) != 0 && !q->services->stopping;
}

/* The host holds none of its deliveries, and will get none. */
static bool has_returned_all(const struct mr_link *link) { return link->io.tally->refs == 1; }

static void close_if_ready(struct mr_farewell *q, struct mr_link *link)
{
	if (link->state == MR_LINK_CONNECTING || link->state == MR_LINK_BACKOFF)
		mr_link_close(link, 0, q->deadline);
	if (link->state != MR_LINK_OPEN) return;
	mr_session_cancel_all(link->session, q->deadline);
	mr_link_io_touch(&link->io);
	if (mr_session_is_at_rest(link->session) && has_returned_all(link))
		mr_link_close(link, 0, q->deadline);
}

/* The time is up. */
static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_farewell *q = timer->data;
	struct mr_link *link;
	size_t at = 0;
	(void)loop;
	(void)revents;
	if (!is_on(q)) return;
	while ((link = mr_map_next(&q->services->links, &at, NULL))) {
		if (link->state == MR_LINK_IDLE || link->state == MR_LINK_PARTING) continue;
		q->is_late = true;
		mr_link_close(link, 0, mr_clock_now());
	}
}

void mr_farewell_init(struct mr_farewell *q, struct mr_services *services)
{
	*q = (struct mr_farewell){.services = services};
	mr_timer_init(&q->timer, &services->timers, on_timer, q);
}

void mr_farewell_fini(struct mr_farewell *q)
{
	mr_timer_stop(&q->timer);
	mr_buffer_fini(&q->tokens);
}

static void tell(struct mr_farewell *q, uint64_t token, enum mr_status status)
{
	mr_event ev = {.type = MR_EV_DONE, .status = (int32_t)status, .as.done.token = token};
	mr_event_queue_push(&q->services->dispatch, &ev);
}

void mr_farewell_begin(struct mr_farewell *q, uint64_t token, mr_msec deadline)
{
	bool is_first = mr_buffer_size(&q->tokens) == 0;
	if (mr_buffer_append(&q->tokens, &token, sizeof token) != MR_OK) {
		tell(q, token, MR_NO_MEMORY);
		return;
	}
	if (is_first) q->is_late = false;
	if (!is_first && deadline >= q->deadline) return;
	q->deadline = deadline;
	mr_timer_arm(&q->timer, deadline);
}

void mr_farewell_go_on(struct mr_farewell *q)
{
	struct mr_link *link;
	size_t at = 0;
	if (!is_on(q)) return;
	while ((link = mr_map_next(&q->services->links, &at, NULL))) close_if_ready(q, link);
}

/* Events of the ends that are still to be passed to the host come before the report. */
static bool has_ended(const struct mr_farewell *q)
{
	const struct mr_link *link;
	size_t at = 0;
	while ((link = mr_map_next(&q->services->links, &at, NULL)))
		if (link->state != MR_LINK_IDLE) return false;
	return mr_event_queue_is_empty(&q->services->dispatch);
}

bool mr_farewell_end(struct mr_farewell *q)
{
	uint64_t token;
	if (!is_on(q) || !has_ended(q)) return false;
	mr_timer_stop(&q->timer);
	while (mr_buffer_size(&q->tokens)) {
		memcpy(&token, mr_buffer_data(&q->tokens), sizeof token);
		mr_buffer_consume(&q->tokens, sizeof token);
		tell(q, token, q->is_late ? MR_TIMEOUT : MR_OK);
	}
	return true;
}
