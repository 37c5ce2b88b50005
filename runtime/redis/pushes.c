/* pushes: what Redis sends on a connection with subscriptions: their confirmations, and messages.
 * SPDX-License-Identifier: MIT */
#include "redis/pushes.h"

#include <string.h>
#include <strings.h>

static const char *const verbs[] = {"subscribe", "psubscribe", "unsubscribe", "punsubscribe"};
#define VERBS (sizeof verbs / sizeof *verbs)

static bool is_text(const redisReply *r, const char *text)
{
	return r->type == REDIS_REPLY_STRING && r->len == strlen(text) &&
	       memcmp(r->str, text, r->len) == 0;
}

size_t mr_pushes_replies(const mr_slice *words, size_t count)
{
	for (size_t i = 0; i < VERBS; i++)
		if (words[0].size == strlen(verbs[i]) &&
			strncasecmp(words[0].data, verbs[i], words[0].size) == 0)
			return count - 1;
	return 1;
}

bool mr_pushes_is_message(const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY) return false;
	return (r->elements == 3 && is_text(r->element[0], "message")) ||
	       (r->elements == 4 && is_text(r->element[0], "pmessage"));
}

bool mr_pushes_confirm(const redisReply *r, long long *subscribed)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 3) return false;
	for (size_t i = 0; i < VERBS; i++)
		if (is_text(r->element[0], verbs[i]) && r->element[2]->type == REDIS_REPLY_INTEGER)
			*subscribed = r->element[2]->integer;
	return true;
}
