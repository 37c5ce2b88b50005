/* waits: the waits for places of all pools: which have ended, and the next deadline.
 * SPDX-License-Identifier: MIT */
#include "api/waits.h"

#include "base/alloc.h"

void mr_waits_init(struct mr_waits *waits)
{
	*waits = (struct mr_waits){.earliest = MR_NEVER, .alarm = MR_NEVER};
	mr_list_init(&waits->lines);
	mr_list_init(&waits->ended);
}

void mr_waits_begin(struct mr_waits *waits, struct mr_pool_line *line,
	struct mr_pool_waiter *waiter, mr_msec deadline)
{
	waits->earliest = mr_earlier(waits->earliest, deadline);
	mr_pool_line_wait(line, waiter, deadline);
}

void mr_waits_end(struct mr_waits *waits, struct mr_pool_waiter *waiter, enum mr_status status)
{
	waiter->status = status;
	mr_list_append(&waits->ended, &waiter->node);
}

void mr_waits_expire(struct mr_waits *waits, mr_msec now)
{
	if (now < waits->earliest) return;
	if (now >= waits->alarm) waits->alarm = MR_NEVER; /* it has fired */
	waits->earliest = MR_NEVER;
	for (struct mr_node *n = waits->lines.next; n != &waits->lines; n = n->next) {
		struct mr_pool_line *line = mr_container(n, struct mr_pool_line, node);
		mr_pool_line_expire(line, now);
		waits->earliest = mr_earlier(waits->earliest, line->earliest);
	}
}

static mr_reply *explain(enum mr_status status)
{
	mr_reply *reply = mr_calloc(1, sizeof *reply);
	const char *text = mr_status_text(status);
	if (status == MR_TIMEOUT) text = "none was given back in time";
	if (status == MR_CLOSED) text = "the pool was closed";
	if (reply) mr_error_set(&reply->error, status, MR_SCOPE_POOL, 0, "%s", text);
	return reply;
}

bool mr_waits_next(struct mr_waits *waits, mr_event *event)
{
	struct mr_node *node = mr_list_shift(&waits->ended);
	if (!node) return false;
	const struct mr_pool_waiter *w = mr_container(node, struct mr_pool_waiter, node);
	*event = (mr_event){.type = MR_EV_DONE, .status = w->status, .as.done.token = w->token};
	if (w->status != MR_OK) event->as.done.reply = explain(w->status);
	return true;
}
