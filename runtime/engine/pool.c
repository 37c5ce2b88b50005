/* pool: who waits for the next free place of a pool, in which order, and how long.
 * SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include "base/alloc.h"

struct waiter {
	struct mr_node node;
	uint64_t token;
	mr_msec deadline;
};

void mr_pool_line_init(struct mr_pool_line *line, mr_pool_tell *tell, void *owner)
{
	*line = (struct mr_pool_line){.earliest = MR_NEVER, .tell = tell, .owner = owner};
	mr_list_init(&line->waiters);
}

void mr_pool_line_fini(struct mr_pool_line *line)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&line->waiters)))
		mr_free(mr_container(node, struct waiter, node));
}

static void end(struct mr_pool_line *line, struct waiter *w, enum mr_status status)
{
	uint64_t token = w->token;
	mr_list_remove(&w->node);
	mr_free(w);
	line->tell(line->owner, token, status);
}

static struct waiter *first(struct mr_pool_line *line)
{
	struct mr_node *node = line->waiters.next;
	return node == &line->waiters ? NULL : mr_container(node, struct waiter, node);
}

void mr_pool_line_wait(struct mr_pool_line *line, uint64_t token, mr_msec deadline)
{
	if (line->places) {
		line->places--;
		line->tell(line->owner, token, MR_OK);
		return;
	}
	struct waiter *w = mr_calloc(1, sizeof *w);
	if (!w) {
		line->tell(line->owner, token, MR_NO_MEMORY);
		return;
	}
	w->token = token;
	w->deadline = deadline;
	mr_list_append(&line->waiters, &w->node);
	line->earliest = mr_earlier(line->earliest, deadline);
}

void mr_pool_line_give(struct mr_pool_line *line)
{
	struct waiter *w = first(line);
	if (w)
		end(line, w, MR_OK);
	else
		line->places++;
}

void mr_pool_line_take_back(struct mr_pool_line *line) { line->places = 0; }

void mr_pool_line_end(struct mr_pool_line *line, enum mr_status status)
{
	struct waiter *w;
	line->places = 0;
	while ((w = first(line))) end(line, w, status);
}

void mr_pool_line_expire(struct mr_pool_line *line, mr_msec now)
{
	struct mr_node *node = line->waiters.next, *next;
	line->earliest = MR_NEVER;
	for (; node != &line->waiters; node = next) {
		struct waiter *w = mr_container(node, struct waiter, node);
		next = node->next;
		if (w->deadline <= now)
			end(line, w, MR_TIMEOUT);
		else
			line->earliest = mr_earlier(line->earliest, w->deadline);
	}
}
