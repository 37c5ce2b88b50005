/* store: shared by all queues and exchanges of a broker: time, work, memory, pending work.
 * SPDX-License-Identifier: MIT */
#include "broker/store/store.h"

#include <stdio.h>

#include "base/alloc.h"

void mr_store_init(struct mr_store *s, uint64_t seed, mr_msec now)
{
	*s = (struct mr_store){.now = now,
		.random = seed | 1,
		.watermark = MR_WATERMARK_DEFAULT,
		.work_end = MR_WORK_UNBOUNDED};
	mr_list_init(&s->dying);
	mr_list_init(&s->put_off);
	mr_list_init(&s->busy);
	mr_list_init(&s->garbage);
	mr_list_init(&s->fresh_ruins);
	mr_list_init(&s->ruins);
}

void mr_store_fini(struct mr_store *s)
{
	mr_route_fini(&s->route);
	mr_free(s->heap);
}

bool mr_store_has_more(const struct mr_store *s)
{
	return !mr_list_is_empty(&s->garbage) || !mr_list_is_empty(&s->busy) ||
	       !mr_list_is_empty(&s->dying) || !mr_list_is_empty(&s->ruins) ||
	       !mr_list_is_empty(&s->fresh_ruins) || s->letter;
}

/* ---- memory ---- */

/* An alarm ends at a tenth below its start, or it would start and end with each message. */
void mr_store_judge(struct mr_store *s, bool afresh)
{
	uint64_t low = s->watermark - s->watermark / 10, now = mr_store_memory(s);
	bool before = s->alarm, holds = before && !afresh;
	s->alarm = s->watermark && now > (holds ? low : s->watermark);
	if (before && !s->alarm) s->relieved = true;
}

void mr_store_shrank(struct mr_store *s, uint64_t bytes)
{
	s->memory -= bytes;
	if (s->alarm) mr_store_watch(s);
}

void mr_store_drop(struct mr_store *s, struct mr_message *m)
{
	mr_store_shrank(s, mr_message_drop(m));
}

/* ---- names ---- */

size_t mr_store_name(struct mr_store *s, char out[64], const char *prefix)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t n = (size_t)snprintf(out, 40, "%s", prefix);
	for (int i = 0; i < 22; i++) {
		s->random ^= s->random << 13; /* xorshift64, Marsaglia 2003 */
		s->random ^= s->random >> 7;
		s->random ^= s->random << 17;
		out[n++] = letters[(s->random >> 20) & 63];
	}
	out[n] = '\0';
	return n;
}
