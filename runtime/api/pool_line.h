/* pool_line: the waiting line of a pool: its order, and its deadlines.
 * SPDX-License-Identifier: MIT
 * Pure: takes `now`. The pool counts what is lent; here is only who gets the next free place, and whose time
 * is up. */
#ifndef MR_API_POOL_LINE_H
#define MR_API_POOL_LINE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/status.h"

struct mr_pool_waiter { /* zeroed: it does not wait. Must not move while it does */
	struct mr_node node;
	mr_msec deadline;
	uint64_t token;        /* for those who tell, */
	enum mr_status status; /* likewise */
};

/* How a wait ends: exactly once, MR_OK with a place. The waiter is in no line then. */
typedef void mr_pool_line_tell(void *owner, struct mr_pool_waiter *waiter, enum mr_status status);

struct mr_pool_line {
	struct mr_node node;    /* among other lines */
	struct mr_node waiters; /* the first to come is the first */
	mr_msec earliest;       /* no deadline in the line is earlier */
	mr_pool_line_tell *tell;
	void *owner;
};

void mr_pool_line_init(struct mr_pool_line *line, mr_pool_line_tell *tell, void *owner);
void mr_pool_line_wait(struct mr_pool_line *line, struct mr_pool_waiter *waiter, mr_msec deadline);
/* One place, to the first in line. False: nobody waits, and the place stays the giver's. */
bool mr_pool_line_give(struct mr_pool_line *line);
/* Everybody is told `status`. */
void mr_pool_line_end(struct mr_pool_line *line, enum mr_status status);
/* Ends the waits whose time is up, by MR_TIMEOUT. The next call is due at line->earliest. */
void mr_pool_line_expire(struct mr_pool_line *line, mr_msec now);

#endif
