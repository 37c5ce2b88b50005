/* pool_request: a pool's pending requests: waits for a place, and requests to the broker.
 * SPDX-License-Identifier: MIT */
#include "api/pool_request.h"

#include "base/alloc.h"

/* Ends a wait; the next poll reports it. A host with its own loop may have prepared to sleep before
 * it gave the place back, so it is woken. */
static void tell(mr_runtime *rt, struct mr_pool_waiter *waiter, enum mr_status status)
{
	mr_waits_end(&rt->waits, waiter, status);
	if (rt->prepared) mr_handle_rouse_host(rt);
}

static void wait_ended(void *owner, struct mr_pool_waiter *waiter, enum mr_status status)
{
	struct mr_pool *pool = owner;
	tell(pool->rt, waiter, status);
}

void mr_pool_request_line(struct mr_pool *pool)
{
	mr_pool_line_init(&pool->line, wait_ended, pool);
	mr_list_append(&pool->rt->waits.lines, &pool->line.node);
}

enum mr_status mr_pool_request_new(struct mr_pool *pool, uint64_t token, int purpose, int step)
{
	struct mr_pool_request *r = mr_calloc(1, sizeof *r);
	if (!r || mr_map_put(&pool->rt->requests, token, r) != MR_OK) {
		mr_free(r);
		return MR_NO_MEMORY;
	}
	r->pool = pool;
	r->waiter.token = token;
	r->purpose = purpose;
	r->step = step;
	return MR_OK;
}

void mr_pool_request_free(mr_runtime *rt, uint64_t token)
{
	mr_free(mr_map_take(&rt->requests, token));
}

static enum mr_status set_alarm(mr_runtime *rt)
{
	struct mr_waits *waits = &rt->waits;
	struct mr_command c = {.type = MR_CMD_NUDGE_AT, .wake_at = waits->earliest};
	if (!mr_waits_want_alarm(waits)) return MR_OK;
	enum mr_status st = mr_command_send(rt, &c);
	if (st == MR_OK) waits->alarm = waits->earliest;
	return st;
}

void mr_pool_request_expire(mr_runtime *rt)
{
	if (rt->waits.earliest == MR_NEVER) return;
	mr_waits_expire(&rt->waits, mr_clock_now());
	set_alarm(rt);
}

enum mr_status mr_pool_request_wait(struct mr_pool *pool, uint64_t token, int purpose,
	mr_msec deadline)
{
	mr_runtime *rt = pool->rt;
	enum mr_status st = mr_pool_request_new(pool, token, purpose, MR_POOL_WAITING);
	if (st != MR_OK) return st;
	struct mr_pool_request *r = mr_map_get(&rt->requests, token);
	mr_waits_begin(&rt->waits, &pool->line, &r->waiter, deadline);
	st = set_alarm(rt);
	if (st == MR_OK) return MR_OK;
	mr_list_remove(&r->waiter.node);
	mr_pool_request_free(rt, token);
	return st;
}

void mr_pool_request_tell(mr_runtime *rt, struct mr_pool_request *r)
{
	tell(rt, &r->waiter, MR_OK);
}

void mr_pool_request_abandon(struct mr_pool *pool)
{
	struct mr_pool_request *r;
	size_t at = 0;
	mr_pool_line_end(&pool->line, MR_CLOSED);
	while ((r = mr_map_next(&pool->rt->requests, &at, NULL)))
		if (r->pool == pool) r->pool = NULL;
}
