/* taken: messages that were taken from Redis: acked, given back, renewed, restored.
 * SPDX-License-Identifier: MIT */
#include "redis/taken.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "redis/ask.h"

#define ACKS_MOST 256    /* of one command */
#define RENEW_MOST 1000  /* of one command */
#define RESTORE_MOST 100 /* of one step of the server */
#define CLOCKS_DIFFER 60 /* s, of a master and the replica that has become one */

static void free_taken(struct mr_taken *t)
{
	mr_list_remove(&t->node);
	mr_free(t->list);
	mr_free(t);
}

/* ---- acks ---- */

struct batch { /* acks on their way; again after a loss or a refusal, which does no harm */
	struct mr_promise promise; /* first */
	struct mr_redis_store *redis;
	struct mr_buffer tags; /* each with its zero byte */
	size_t count;
};

static void told_acked(struct mr_promise *p)
{
	struct batch *b = mr_container(p, struct batch, promise);
	struct mr_redis_store *r = b->redis;
	/* Without memory they are delivered again after the visibility timeout. */
	if (p->status != MR_OK && mr_buffer_append(&r->acks, mr_buffer_data(&b->tags),
					  mr_buffer_size(&b->tags)) == MR_OK)
		r->ack_count += b->count;
	if (p->status != MR_OK && !p->is_lost) r->acks_wait = true;
	mr_buffer_fini(&b->tags);
	mr_free(b);
}

/* One command for many: HDEL unacked tag..., or ZREM unacked_index tag... */
static void remove_tags(const struct batch *b, const char *verb, const char *key,
	struct mr_promise *p)
{
	mr_slice words[ACKS_MOST + 2];
	char room[MR_REDIS_KEY_MAX];
	int count = 2;
	words[0] = mr_slice_str(verb);
	words[1] = mr_ask_key(b->redis, key, (mr_slice){0}, room);
	const char *at = (const char *)mr_buffer_data(&b->tags);
	for (size_t i = 0; i < b->count; i++, at += strlen(at) + 1)
		words[count++] = mr_slice_str(at);
	mr_ask_send(b->redis, words, count, p);
}

/* The first ACKS_MOST of the acks. False: no memory; they wait for the next flush. */
static bool flush_some(struct mr_redis_store *r)
{
	struct batch *b = mr_calloc(1, sizeof *b);
	if (!b) return false;
	*b = (struct batch){.promise.told = told_acked, .redis = r};
	const char *start = (const char *)mr_buffer_data(&r->acks), *at = start;
	for (; b->count < r->ack_count && b->count < ACKS_MOST; b->count++) at += strlen(at) + 1;
	if (mr_buffer_append(&b->tags, start, (size_t)(at - start)) != MR_OK) {
		mr_free(b);
		return false;
	}
	mr_buffer_consume(&r->acks, (size_t)(at - start));
	r->ack_count -= b->count;
	remove_tags(b, "ZREM", "unacked_index", NULL);
	remove_tags(b, "HDEL", "unacked", &b->promise);
	return true;
}

void mr_taken_flush(struct mr_redis_store *r)
{
	mr_taken_return(r, false);
	while (r->ack_count && r->is_up && !r->acks_wait && flush_some(r)) {}
}

void mr_taken_leave(struct mr_taken *t) { free_taken(t); }

void mr_taken_done(struct mr_backing *b, struct mr_taken *t)
{
	struct mr_redis_store *r = mr_container(b, struct mr_redis_store, backing);
	/* Without memory it stays recorded, and is delivered again after the visibility timeout. */
	if (mr_buffer_append(&r->acks, t->tag, strlen(t->tag) + 1) == MR_OK) r->ack_count++;
	free_taken(t);
	if (r->ack_count >= ACKS_MOST) mr_taken_flush(r);
}

/* ---- back ---- */

static void told_back(struct mr_promise *p)
{
	struct mr_taken *t = mr_container(p, struct mr_taken, promise);
	if (p->status != MR_OK) /* it is lost, or was refused: the next round tries again */
		mr_list_append(&t->redis->returning, &t->node);
	else
		free_taken(t);
}

/* Nobody else has `t`, which is in no list. */
static void send_back(struct mr_redis_store *r, struct mr_taken *t)
{
	char rooms[3][MR_REDIS_KEY_MAX];
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_BACK]),
		mr_slice_str("4"), mr_slice_str(t->list),
		mr_ask_key(r, "unacked", (mr_slice){0}, rooms[0]),
		mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[1]),
		mr_ask_key(r, MR_REDIS_INVALID, (mr_slice){0}, rooms[2]), mr_slice_str(t->tag)};
	t->promise = (struct mr_promise){.told = told_back};
	mr_ask_send(r, words, sizeof words / sizeof *words, &t->promise);
}

static uint64_t number_of(const struct mr_node *node)
{
	return mr_container(node, const struct mr_taken, node)->number;
}

/* In the order of taking. Runs come in order, those of a channel and those that wait for it: so the place is
 * near the last one's. */
static void line_up(struct mr_redis_store *r, struct mr_taken *t)
{
	struct mr_node *all = &r->backs, *at = r->last_back ? r->last_back : all->prev;
	while (at != all && number_of(at) > t->number) at = at->prev;
	while (at->next != all && number_of(at->next) < t->number) at = at->next;
	mr_list_append(at->next, &t->node); /* before the next one */
	r->last_back = &t->node;
}

void mr_taken_back(struct mr_backing *b, const struct mr_queue *q, struct mr_taken *t)
{
	struct mr_redis_store *r = mr_container(b, struct mr_redis_store, backing);
	char room[MR_REDIS_KEY_MAX];
	mr_slice list = mr_ask_list(r, mr_queue_name(q), t->step, room);
	mr_list_remove(&t->node);
	t->list = mr_strdup_n(list.data, list.size);
	t->after = r->takes;
	if (t->list)
		line_up(r, t);
	else
		free_taken(t); /* without memory it comes back after the visibility timeout */
}

void mr_taken_return(struct mr_redis_store *r, bool now)
{
	r->last_back = NULL;
	while (!mr_list_is_empty(&r->backs)) {
		struct mr_taken *t = mr_container(r->backs.prev, struct mr_taken, node);
		if (!now && r->is_up && r->answers < t->after) return;
		mr_list_remove(&t->node);
		send_back(r, t); /* told at once that it is lost if Redis is not there */
	}
}

/* Those that are lost again are in the list again: each is sent once. */
void mr_taken_resume(struct mr_redis_store *r)
{
	struct mr_node all, *node;
	r->acks_wait = false;
	mr_list_init(&all);
	mr_list_splice(&all, &r->returning);
	while ((node = mr_list_shift(&all)))
		send_back(r, mr_container(node, struct mr_taken, node));
	mr_taken_flush(r);
}

/* ---- time ---- */

/* What was refused is renewed in the next round, not a quarter of the timeout later. */
static void renewed(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	if (why) r->renewed -= r->visibility / 4;
}

void mr_taken_renew(struct mr_redis_store *r)
{
	mr_slice words[RENEW_MOST + 4];
	char room[MR_REDIS_KEY_MAX];
	int count = 4;
	words[0] = mr_slice_str("EVALSHA");
	words[1] = mr_slice_str(r->sha[MR_SCRIPT_RENEW]);
	words[2] = mr_slice_str("1");
	words[3] = mr_ask_key(r, "unacked_index", (mr_slice){0}, room);
	for (struct mr_node *n = r->taken.next; n != &r->taken; n = n->next) {
		words[count++] = mr_slice_str(mr_container(n, struct mr_taken, node)->tag);
		if (count < RENEW_MOST + 4 && n->next != &r->taken) continue;
		mr_redis_link_send(r->link, words, (size_t)count, renewed, r, 0);
		count = 4;
	}
}

void mr_taken_name(struct mr_redis_store *r)
{
	snprintf(r->taker, sizeof r->taker, "@%016llx%016llx", (unsigned long long)r->tag_high,
		(unsigned long long)r->tag_low++);
}

static void reclaimed(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	if (reply && !why)
		r->doubted[0] = '\0'; /* else again in the next round, or when Redis is back */
}

/* What it still holds of that time is on its way back, too: to restore it sooner does no harm. A second doubt before the
 * first one is over has its messages back after the visibility timeout. */
void mr_taken_reclaim(struct mr_redis_store *r)
{
	char rooms[3][MR_REDIS_KEY_MAX], seconds[32];
	if (r->is_in_doubt) {
		if (!*r->doubted) memcpy(r->doubted, r->taker, sizeof r->taker);
		mr_taken_name(r);
		r->is_in_doubt = false;
	}
	if (!*r->doubted) return;
	snprintf(seconds, sizeof seconds, "%lld",
		(long long)((mr_clock_now() - r->doubtful) / 1000) + CLOCKS_DIFFER);
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_RECLAIM]),
		mr_slice_str("2"), mr_ask_key(r, "unacked", (mr_slice){0}, rooms[0]),
		mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[1]), mr_slice_str(r->doubted),
		mr_slice_str(r->prefix), mr_ask_key(r, "_kombu.binding.", (mr_slice){0}, rooms[2]),
		mr_slice_str(seconds)};
	mr_redis_link_send(r->link, words, sizeof words / sizeof *words, reclaimed, r, 0);
}

/* A dead process may have taken thousands: there are more. */
static void restored(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	if (why || reply->type != REDIS_REPLY_INTEGER || reply->integer < RESTORE_MOST) return;
	mr_taken_restore(r);
}

void mr_taken_restore(struct mr_redis_store *r)
{
	char rooms[3][MR_REDIS_KEY_MAX], seconds[32], most[16];
	snprintf(seconds, sizeof seconds, "%lld", (long long)(r->visibility / 1000));
	snprintf(most, sizeof most, "%d", RESTORE_MOST);
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_RESTORE]),
		mr_slice_str("2"), mr_ask_key(r, "unacked", (mr_slice){0}, rooms[0]),
		mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[1]), mr_slice_str(seconds),
		mr_slice_str(most), mr_slice_str(r->prefix),
		mr_ask_key(r, "_kombu.binding.", (mr_slice){0}, rooms[2])};
	mr_redis_link_send(r->link, words, sizeof words / sizeof *words, restored, r, 0);
}

void mr_taken_free_all(struct mr_redis_store *r)
{
	struct mr_node *lists[] = {&r->taken, &r->backs, &r->returning};
	for (int i = 0; i < 3; i++)
		while (!mr_list_is_empty(lists[i]))
			free_taken(mr_container(lists[i]->next, struct mr_taken, node));
}
