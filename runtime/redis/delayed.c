/* delayed: messages that Redis keeps until they are due.
 * SPDX-License-Identifier: MIT */
#include "redis/delayed.h"

#include <inttypes.h>
#include <stdio.h>

#include "redis/ask.h"

#define MOVE_MOST "500" /* of one step of the server */
#define KEY "moonrabbit.delayed"

/* Moves again in `ms`, if that is sooner than planned. */
static void plan(struct mr_redis_store *r, uint64_t ms)
{
	double in = (double)ms / 1000;
	if (ev_is_active(&r->due) && r->due_at <= mr_clock_now() + (mr_msec)ms) return;
	ev_timer_stop(r->loop, &r->due);
	ev_now_update(r->loop);
	ev_timer_set(&r->due, in, 0);
	ev_timer_start(r->loop, &r->due);
	r->due_at = mr_clock_now() + (mr_msec)ms;
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_redis_store *r = timer->data;
	(void)loop;
	(void)revents;
	r->port.turn(r->port.owner);
	mr_delayed_move(r);
}

void mr_delayed_init(struct mr_redis_store *r)
{
	ev_init(&r->due, on_due);
	r->due.data = r;
}

void mr_delayed_fini(struct mr_redis_store *r) { ev_timer_stop(r->loop, &r->due); }

void mr_delayed_put(struct mr_redis_store *r, const struct mr_delayed *d, uint64_t ms,
	struct mr_promise *p)
{
	char room[MR_REDIS_KEY_MAX], time[24], step[16];
	snprintf(time, sizeof time, "%" PRIu64, ms);
	snprintf(step, sizeof step, "%d", d->step);
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_DELAY]),
		mr_slice_str("1"), mr_ask_key(r, KEY, (mr_slice){0}, room), mr_slice_str(time),
		d->exchange, d->key, mr_slice_str(step), d->text};
	mr_ask_send(r, words, sizeof words / sizeof *words, p);
	plan(r, ms + 1);
}

/* The answer: in how many ms the next one is due. */
static void moved(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	if (why || reply->type != REDIS_REPLY_INTEGER || reply->integer < 0) return;
	plan(r, (uint64_t)reply->integer + 1);
}

void mr_delayed_move(struct mr_redis_store *r)
{
	char rooms[3][MR_REDIS_KEY_MAX];
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_MOVE]),
		mr_slice_str("2"), mr_ask_key(r, KEY, (mr_slice){0}, rooms[0]),
		mr_ask_key(r, MR_REDIS_INVALID, (mr_slice){0}, rooms[1]), mr_slice_str(MOVE_MOST),
		mr_slice_str(r->prefix), mr_ask_key(r, "_kombu.binding.", (mr_slice){0}, rooms[2])};
	if (!r->is_up) return; /* the next round tries again */
	mr_redis_link_send(r->link, words, sizeof words / sizeof *words, moved, r, 0);
}
