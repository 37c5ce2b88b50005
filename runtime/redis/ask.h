/* ask: commands to Redis, and the names of its keys.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_ASK_H
#define MR_REDIS_ASK_H

#include "redis/state.h"

/* Sends a command; `p` (or NULL) is told its integer answer as count. */
void mr_ask_send(struct mr_redis_store *r, const mr_slice *words, int count, struct mr_promise *p);
/* Fills in why it failed: a user without a right ends its channel only. */
void mr_ask_fail(struct mr_promise *p, const mr_error *why);
void mr_ask_load(struct mr_redis_store *r); /* gives Redis the scripts */
/* The same if this answer says that somebody has flushed them. */
void mr_ask_heal(struct mr_redis_store *r, const redisReply *reply);
/* The name of a queue's list of a step, and other names, in room. */
mr_slice mr_ask_list(const struct mr_redis_store *r, mr_slice queue, int step,
	char room[MR_REDIS_KEY_MAX]);
int mr_ask_step(const struct mr_redis_store *r,
	int priority);     /* kombu's: the last that is not above it */
int64_t mr_ask_time(void); /* ms of Unix time */
mr_slice mr_ask_key(const struct mr_redis_store *r, const char *name, mr_slice more,
	char room[MR_REDIS_KEY_MAX]);

#endif
