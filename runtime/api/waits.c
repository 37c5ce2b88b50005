/* waits: for places of pools: which have ended, and when the next one's time is up.
 * SPDX-License-Identifier: MIT */
#include "api/waits.h"

#include "api/pool.h"
#include "base/alloc.h"

void mr_waits_init(struct mr_waits *waits)
{
	*waits = (struct mr_waits){.earliest = MR_NEVER, .alarm = MR_NEVER};
	mr_list_init(&waits->ended);
}

/* One alarm for all: it moves only to an earlier time. When it rings, the next poll sets it again. */
static enum mr_status set_alarm(mr_runtime *rt)
{
	struct mr_waits *waits = &rt->waits;
	struct mr_command c = {.type = MR_CMD_NUDGE_AT, .deadline = waits->earliest};
	if (waits->earliest >= waits->alarm) return MR_OK;
	enum mr_status st = mr_command_send(rt, &c);
	if (st == MR_OK) waits->alarm = waits->earliest;
	return st;
}

enum mr_status mr_waits_begin(struct mr_pool_request *r, mr_msec deadline)
{
	struct mr_pool *pool = r->pool;
	struct mr_waits *waits = &pool->rt->waits;
	waits->earliest = mr_earlier(waits->earliest, deadline);
	enum mr_status st = set_alarm(pool->rt);
	if (st != MR_OK) return st;
	mr_pool_line_wait(&pool->line, &r->waiter, deadline);
	return MR_OK;
}

void mr_waits_end(mr_runtime *rt, struct mr_pool_request *r, enum mr_status status)
{
	r->status = status;
	mr_list_append(&rt->waits.ended, &r->waiter.node);
	/* A host with a loop of its own may have made ready to sleep before it gave a place back. */
	if (rt->prepared) mr_wake_signal(&rt->bridge.host);
}

void mr_waits_expire(mr_runtime *rt)
{
	struct mr_waits *waits = &rt->waits;
	struct mr_pool *pool;
	size_t at = 0;
	if (waits->earliest == MR_NEVER) return;
	mr_msec now = mr_clock_now();
	if (now < waits->earliest) return;
	if (now >= waits->alarm) waits->alarm = MR_NEVER; /* it has rung */
	waits->earliest = MR_NEVER;
	while ((pool = mr_map_next(&rt->pools, &at, NULL))) {
		mr_pool_line_expire(&pool->line, now);
		waits->earliest = mr_earlier(waits->earliest, pool->line.earliest);
	}
	set_alarm(rt);
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

bool mr_waits_next(mr_runtime *rt, mr_event *event)
{
	struct mr_node *node = mr_list_shift(&rt->waits.ended);
	if (!node) return false;
	const struct mr_pool_request *r = mr_container(node, struct mr_pool_request, waiter.node);
	*event = (mr_event){.type = MR_EV_DONE, .status = r->status, .token = r->token};
	if (r->status != MR_OK) event->data.reply = explain(r->status);
	return true;
}
