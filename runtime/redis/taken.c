/* taken: messages that were taken from Redis: acked, given back, renewed, restored.
 * SPDX-License-Identifier: MIT */
#include "redis/taken.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "redis/ask.h"

#define ACKS_MOST 256   /* of one command */
#define RENEW_MOST 1000 /* of one command */
#define RESTORE_MOST "100"

static void free_taken(struct mr_taken *t)
{
	mr_list_remove(&t->node);
	mr_free(t->list);
	mr_free(t);
}

/* ---- acks ---- */

/* One command for many: HDEL unacked tag..., or ZREM unacked_index tag... */
static void remove_tags(struct mr_redis_store *r, const char *verb, const char *key)
{
	mr_slice words[ACKS_MOST + 2];
	char room[MR_REDIS_KEY_MAX];
	int count = 0;
	words[count++] = mr_slice_str(verb);
	words[count++] = mr_ask_key(r, key, (mr_slice){0}, room);
	const char *at = (const char *)mr_buffer_data(&r->acks);
	for (size_t i = 0; i < r->ack_count; i++) {
		words[count++] = mr_slice_str(at);
		at += strlen(at) + 1;
	}
	mr_ask_send(r, words, count, NULL);
}

void mr_taken_flush(struct mr_redis_store *r)
{
	if (!r->ack_count || !r->is_up) return;
	remove_tags(r, "ZREM", "unacked_index");
	remove_tags(r, "HDEL", "unacked");
	r->ack_count = 0;
	mr_buffer_consume(&r->acks, mr_buffer_size(&r->acks));
}

void mr_taken_done(struct mr_backing *b, struct mr_taken *t)
{
	struct mr_redis_store *r = mr_container(b, struct mr_redis_store, backing);
	/* Without memory it stays recorded, and is delivered again after the visibility timeout. */
	if (mr_buffer_append(&r->acks, t->tag, strlen(t->tag) + 1) == MR_OK) r->ack_count++;
	free_taken(t);
	if (r->ack_count >= ACKS_MOST) mr_taken_flush(r);
}

/* ---- back ---- */

static void send_back(struct mr_redis_store *r, mr_slice list, const char *tag)
{
	char rooms[2][MR_REDIS_KEY_MAX];
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_BACK]),
		mr_slice_str("3"), list, mr_ask_key(r, "unacked", (mr_slice){0}, rooms[0]),
		mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[1]), mr_slice_str(tag)};
	mr_ask_send(r, words, sizeof words / sizeof *words, NULL);
}

void mr_taken_back(struct mr_backing *b, const struct mr_queue *q, struct mr_taken *t)
{
	struct mr_redis_store *r = mr_container(b, struct mr_redis_store, backing);
	char room[MR_REDIS_KEY_MAX];
	mr_slice list = mr_ask_list(r, mr_queue_name(q), t->step, room);
	if (r->is_up) {
		send_back(r, list, t->tag);
		free_taken(t);
		return;
	}
	t->list = mr_strdup_n(list.data, list.size);
	mr_list_remove(&t->node);
	if (t->list)
		mr_list_append(&r->returning, &t->node);
	else
		free_taken(t); /* without memory it comes back after the visibility timeout */
}

void mr_taken_resume(struct mr_redis_store *r)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&r->returning))) {
		struct mr_taken *t = mr_container(node, struct mr_taken, node);
		send_back(r, mr_slice_str(t->list), t->tag);
		free_taken(t);
	}
	while (r->ack_count) mr_taken_flush(r);
}

/* ---- time ---- */

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
		mr_ask_send(r, words, count, NULL);
		count = 4;
	}
}

void mr_taken_restore(struct mr_redis_store *r)
{
	char rooms[3][MR_REDIS_KEY_MAX], seconds[32];
	snprintf(seconds, sizeof seconds, "%lld", (long long)(r->visibility / 1000));
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_RESTORE]),
		mr_slice_str("2"), mr_ask_key(r, "unacked", (mr_slice){0}, rooms[0]),
		mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[1]), mr_slice_str(seconds),
		mr_slice_str(RESTORE_MOST), mr_slice_str(r->prefix),
		mr_ask_key(r, "_kombu.binding.", (mr_slice){0}, rooms[2])};
	mr_ask_send(r, words, sizeof words / sizeof *words, NULL);
}

void mr_taken_free_all(struct mr_redis_store *r)
{
	struct mr_node *lists[] = {&r->taken, &r->returning};
	for (int i = 0; i < 2; i++)
		while (!mr_list_is_empty(lists[i]))
			free_taken(mr_container(lists[i]->next, struct mr_taken, node));
}
