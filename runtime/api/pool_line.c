/* pool_line: the waiting line of a pool: its order and its deadlines.
 * SPDX-License-Identifier: MIT */
#include "api/pool_line.h"

static struct mr_pool_waiter *waiter_at(struct mr_node *node)
{
	return mr_container(node, struct mr_pool_waiter, node);
}

void mr_pool_line_init(struct mr_pool_line *line, mr_pool_line_tell *tell, void *owner)
{
	*line = (struct mr_pool_line){.earliest = MR_NEVER, .tell = tell, .owner = owner};
	mr_list_init(&line->waiters);
}

void mr_pool_line_wait(struct mr_pool_line *line, struct mr_pool_waiter *waiter, mr_msec deadline)
{
	waiter->deadline = deadline;
	mr_list_append(&line->waiters, &waiter->node);
	line->earliest = mr_earlier(line->earliest, deadline);
}

bool mr_pool_line_give(struct mr_pool_line *line)
{
	struct mr_node *node = mr_list_shift(&line->waiters);
	if (!node) return false;
	line->tell(line->owner, waiter_at(node), MR_OK);
	return true;
}

void mr_pool_line_end(struct mr_pool_line *line, enum mr_status status)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&line->waiters)))
		line->tell(line->owner, waiter_at(node), status);
}

void mr_pool_line_expire(struct mr_pool_line *line, mr_msec now)
{
	struct mr_node *node = line->waiters.next, *next;
	line->earliest = MR_NEVER;
	for (; node != &line->waiters; node = next) {
		struct mr_pool_waiter *waiter = waiter_at(node);
		next = node->next;
		if (waiter->deadline > now) {
			line->earliest = mr_earlier(line->earliest, waiter->deadline);
			continue;
		}
		mr_list_remove(node);
		line->tell(line->owner, waiter, MR_TIMEOUT);
	}
}
