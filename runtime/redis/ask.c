/* ask: commands to Redis, and the names of its keys.
 * SPDX-License-Identifier: MIT */
#include "redis/ask.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Adds to a key; what does not fit is left out: prefixes and names are short enough (redis_address). */
static void add(mr_slice *key, char room[MR_REDIS_KEY_MAX], const char *data, size_t size)
{
	if (size > MR_REDIS_KEY_MAX - key->size) size = MR_REDIS_KEY_MAX - key->size;
	if (size) memcpy(room + key->size, data, size);
	key->size += size;
}

mr_slice mr_ask_list(const struct mr_redis_store *r, mr_slice queue, int step,
	char room[MR_REDIS_KEY_MAX])
{
	char suffix[16] = "";
	mr_slice key = mr_ask_key(r, "", queue, room);
	if (r->steps[step])
		snprintf(suffix, sizeof suffix, MR_LAYOUT_SEPARATOR "%d", r->steps[step]);
	add(&key, room, suffix, strlen(suffix));
	return key;
}

int mr_ask_step(const struct mr_redis_store *r, int priority)
{
	int step = 0;
	while (step + 1 < r->step_count && r->steps[step + 1] <= priority) step++;
	return step;
}

mr_slice mr_ask_key(const struct mr_redis_store *r, const char *name, mr_slice more,
	char room[MR_REDIS_KEY_MAX])
{
	mr_slice key = mr_slice_of(room, 0);
	add(&key, room, r->prefix, strlen(r->prefix));
	add(&key, room, name, strlen(name));
	add(&key, room, more.data, more.size);
	return key;
}

int64_t mr_ask_time(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* OOM, MISCONF, NOREPLICAS and their like; READONLY, LOADING, MASTERDOWN; BUSY, and NOSCRIPT. */
static bool passes(enum mr_status kind)
{
	return kind == MR_RESOURCE_ERROR || kind == MR_CONNECTION_FORCED ||
	       kind == MR_RESOURCE_LOCKED || kind == MR_NOT_FOUND;
}

/* A client whose request is refused for the server's state is closed with 320, and comes again by its own rules; the
 * others go on. */
static int code_of(enum mr_status kind)
{
	if (kind == MR_ACCESS_REFUSED) return 403;
	return kind == MR_CONNECTION_FORCED ? 320 : 406;
}

void mr_ask_fail(struct mr_promise *p, const mr_error *why)
{
	p->status = why->kind;
	p->error = *why;
	p->error.code = code_of(why->kind);
	p->is_for_now = passes(why->kind);
}

static void take_answer(struct mr_promise *p, const redisReply *reply, const mr_error *why)
{
	if (!reply) {
		mr_backing_lose(p);
		return;
	}
	if (why) {
		mr_ask_fail(p, why);
	} else if (reply->type == REDIS_REPLY_INTEGER) {
		p->count = (size_t)reply->integer;
	}
	p->told(p);
}

void mr_ask_load(struct mr_redis_store *r)
{
	for (int i = 0; i < MR_SCRIPT_MAX; i++) {
		mr_slice words[] = {mr_slice_str("SCRIPT"), mr_slice_str("LOAD"),
			mr_slice_str(mr_scripts_text((enum mr_redis_script)i))};
		mr_redis_link_send(r->link, words, 3, NULL, NULL, 0);
	}
}

/* The command has failed; the next one finds them. */
void mr_ask_heal(struct mr_redis_store *r, const redisReply *reply)
{
	bool is_gone = reply && reply->type == REDIS_REPLY_ERROR &&
	               strncmp(reply->str, "NOSCRIPT", 8) == 0;
	if (is_gone) mr_ask_load(r);
}

static void answered(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = (void *)(uintptr_t)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	if (context) take_answer(context, reply, why);
}

void mr_ask_send(struct mr_redis_store *r, const mr_slice *words, int count, struct mr_promise *p)
{
	if (!r->is_up) {
		mr_backing_lose(p);
		return;
	}
	enum mr_status status = mr_redis_link_send(r->link, words, (size_t)count, answered, p,
		(uint64_t)(uintptr_t)r);
	if (status == MR_CLOSED) /* it was just lost */
		mr_backing_lose(p);
	else if (status != MR_OK)
		mr_backing_refuse(p, 506, "out of memory");
}
