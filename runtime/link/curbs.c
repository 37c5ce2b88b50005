/* curbs: decides of which queues a link's consumers may be curbed (amqp/curb.h).
 * SPDX-License-Identifier: MIT */
#include "link/curbs.h"

#include "base/hash.h"

#define MOST 4096 /* maximum number of queues; then the oldest are dropped */

static const uint64_t *known(const struct mr_link *link, size_t *count)
{
	*count = mr_buffer_size(&link->singles) / sizeof(uint64_t);
	return (const uint64_t *)(const void *)mr_buffer_data(&link->singles);
}

/* Its index; the number of all: not found. */
static size_t find(const struct mr_link *link, uint64_t hash)
{
	size_t count, at = 0;
	const uint64_t *list = known(link, &count);
	while (at < count && list[at] != hash) at++;
	return at;
}

static void forget(struct mr_link *link, uint64_t hash)
{
	size_t at = find(link, hash) * sizeof hash, size = mr_buffer_size(&link->singles);
	if (at == size) return;
	uint8_t *data = mr_buffer_data(&link->singles);
	memmove(data + at, data + at + sizeof hash, size - at - sizeof hash);
	link->singles.end -= sizeof hash;
}

/* Without memory no consumer is curbed any more, as after a refusal. */
static void learn(struct mr_link *link, uint64_t hash)
{
	forget(link, hash);
	if (mr_buffer_size(&link->singles) >= MOST * sizeof hash)
		mr_buffer_consume(&link->singles, sizeof hash);
	if (mr_buffer_append(&link->singles, &hash, sizeof hash) != MR_OK)
		link->curbs_refused = true;
}

/* A queue that is declared without it is a new queue: the broker refuses a declare that differs. */
static void declared(void *owner, mr_slice queue, bool is_single_active)
{
	if (is_single_active)
		learn(owner, mr_hash(0, queue));
	else
		forget(owner, mr_hash(0, queue));
}

static bool may_curb(void *owner, mr_slice queue)
{
	const struct mr_link *link = owner;
	size_t count;
	known(link, &count);
	return !link->curbs_refused && find(link, mr_hash(0, queue)) == count;
}

void mr_curbs_hear(struct mr_link *link)
{
	link->options.declared = declared;
	link->options.may_curb = may_curb;
}

void mr_curbs_inherit(struct mr_link *link, const struct mr_link *from)
{
	size_t count;
	const uint64_t *list = known(from, &count);
	for (size_t i = 0; i < count; i++) learn(link, list[i]);
}
