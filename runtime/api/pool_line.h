/* pool_line: the waiting line of a pool: its order and its deadlines.
 * SPDX-License-Identifier: MIT
 * Pure: the caller passes `now`. The pool counts the loans; the line only decides who gets the next
 * free place, and which waits have timed out. */
#ifndef MR_API_POOL_LINE_H
#define MR_API_POOL_LINE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/status.h"

struct mr_pool_waiter { /* zeroed: it does not wait. It must not move while it waits */
	struct mr_node node;
	mr_msec deadline;
	uint64_t token;        /* for the report, */
	enum mr_status status; /* also for the report */
};

/* Called exactly once at the end of a wait; MR_OK: it got a place. The waiter is in no line
 * then. */
typedef void mr_pool_line_tell(void *owner, struct mr_pool_waiter *waiter, enum mr_status status);

struct mr_pool_line {
	struct mr_node node;    /* among other lines */
	struct mr_node waiters; /* in the order of arrival */
	mr_msec earliest;       /* no deadline in the line is earlier */
	mr_pool_line_tell *tell;
	void *owner;
};

void mr_pool_line_init(struct mr_pool_line *line, mr_pool_line_tell *tell, void *owner);
void mr_pool_line_wait(struct mr_pool_line *line, struct mr_pool_waiter *waiter, mr_msec deadline);
/* Gives one place to the first waiter. False: there is no waiter, and the caller keeps the
 * place. */
bool mr_pool_line_give(struct mr_pool_line *line);
/* Ends all waits with `status`. */
void mr_pool_line_end(struct mr_pool_line *line, enum mr_status status);
/* Ends the waits that have timed out with MR_TIMEOUT. The next call is due at line->earliest. */
void mr_pool_line_expire(struct mr_pool_line *line, mr_msec now);

#endif
