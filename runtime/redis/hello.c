/* hello: asks a Redis that was reached who it is.
 * SPDX-License-Identifier: MIT */
#include "redis/hello.h"

#include <stdio.h>
#include <string.h>

#include "redis/fanout.h"

static void take(char *out, size_t size, const redisReply *value)
{
	if (value->type == REDIS_REPLY_STRING)
		snprintf(out, size, "%.*s", (int)value->len, value->str);
}

/* Names and values in turn. Before Redis 6 there is no such command: then nothing is known. */
static void answered(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	if (!reply) return; /* it was lost at once */
	r->port.turn(r->port.owner);
	size_t count = !why && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
	for (size_t i = 0; i + 1 < count; i += 2) {
		const redisReply *name = reply->element[i], *value = reply->element[i + 1];
		if (name->type != REDIS_REPLY_STRING) continue;
		if (strcmp(name->str, "version") == 0) take(r->version, sizeof r->version, value);
		if (strcmp(name->str, "role") == 0) take(r->role, sizeof r->role, value);
	}
	r->is_met = true;
	mr_fanout_tell(r);
}

void mr_hello_send(struct mr_redis_store *r)
{
	const mr_slice words[] = {mr_slice_str("HELLO")};
	*r->version = *r->role = '\0';
	r->is_met = mr_redis_link_send(r->link, words, 1, answered, r, 0) != MR_OK;
}
