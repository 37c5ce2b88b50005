/* pools: the lines of a runtime's pools, their deadlines, and what the host says to them.
 * SPDX-License-Identifier: MIT */
#include "engine/pools.h"

#include "base/alloc.h"
#include "base/status.h"
#include "engine/pool.h"

struct line {
	struct mr_pool_line queue;
	struct mr_timer timer;
};

static mr_reply *explain(enum mr_status status)
{
	mr_reply *reply = mr_calloc(1, sizeof *reply);
	const char *text = mr_status_text(status);
	if (status == MR_TIMEOUT) text = "none was given back in time";
	if (status == MR_CLOSED) text = "the pool was closed";
	if (reply) mr_error_set(&reply->error, status, MR_SCOPE_POOL, 0, "%s", text);
	return reply;
}

static void tell(void *owner, uint64_t token, enum mr_status status)
{
	struct mr_pools *p = owner;
	mr_event ev = {.type = MR_EV_DONE, .status = status, .token = token};
	if (status != MR_OK) ev.data.reply = explain(status);
	mr_event_queue_push(p->dispatch, &ev);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct line *line = timer->data;
	(void)loop;
	(void)revents;
	mr_pool_line_expire(&line->queue, mr_clock_now());
	mr_timer_arm(&line->timer, line->queue.earliest);
}

void mr_pools_init(struct mr_pools *p, struct mr_timers *timers, struct mr_event_queue *dispatch)
{
	*p = (struct mr_pools){.timers = timers, .dispatch = dispatch};
}

static void free_line(struct line *line)
{
	mr_timer_stop(&line->timer);
	mr_pool_line_fini(&line->queue);
	mr_free(line);
}

void mr_pools_fini(struct mr_pools *p)
{
	struct line *line;
	size_t at = 0;
	while ((line = mr_map_next(&p->lines, &at, NULL))) free_line(line);
	mr_map_fini(&p->lines);
}

/* Without one (no memory) whoever would wait is told so. */
static void make_line(struct mr_pools *p, uint64_t number)
{
	struct line *line = mr_calloc(1, sizeof *line);
	if (!line || mr_map_put(&p->lines, number, line) != MR_OK) {
		mr_free(line);
		return;
	}
	mr_pool_line_init(&line->queue, tell, p);
	mr_timer_init(&line->timer, p->timers, on_timer, line);
}

static void wait_in(struct line *line, const struct mr_command *c)
{
	mr_msec before = line->queue.earliest;
	mr_pool_line_wait(&line->queue, c->token, c->deadline);
	/* A wait that has ended leaves its deadline behind: one look too many, no more. */
	if (line->queue.earliest < before) mr_timer_arm(&line->timer, line->queue.earliest);
}

void mr_pools_command(struct mr_pools *p, const struct mr_command *c)
{
	struct line *line = mr_map_get(&p->lines, c->number);
	if (c->how == MR_POOL_LINE_NEW) {
		make_line(p, c->number);
	} else if (!line) {
		if (c->token) tell(p, c->token, c->how == MR_POOL_LINE_WAIT ? MR_NO_MEMORY : MR_OK);
	} else if (c->how == MR_POOL_LINE_WAIT) {
		wait_in(line, c);
	} else if (c->how == MR_POOL_LINE_GIVE) {
		mr_pool_line_give(&line->queue);
	} else if (c->how == MR_POOL_LINE_TAKE_BACK) {
		mr_pool_line_take_back(&line->queue);
	} else {
		mr_pool_line_end(&line->queue, MR_CLOSED);
		if (c->token) tell(p, c->token, MR_OK);
		if (c->how == MR_POOL_LINE_FREE) free_line(mr_map_take(&p->lines, c->number));
	}
}
