/* pool: who waits for the next free place of a pool, in which order, and how long.
 * SPDX-License-Identifier: MIT
 * Pure: takes `now`. The host counts what is lent and keeps what is free (api/pool): it gives places here only
 * while somebody waits, so that who finds one free crosses no thread. Here is decided who is next, and when it
 * is too late: one thread for both, so that no place goes to somebody who has just given up. */
#ifndef MR_ENGINE_POOL_H
#define MR_ENGINE_POOL_H

#include "base/clock.h"
#include "base/list.h"
#include "base/status.h"

/* How a wait ends: exactly once, MR_OK with a place. */
typedef void mr_pool_tell(void *owner, uint64_t token, enum mr_status status);

struct mr_pool_line {
	struct mr_node waiters; /* the first to come is the first */
	uint32_t places;        /* given by the host while nobody was left to take them */
	mr_msec earliest;       /* no deadline in the line is earlier */
	mr_pool_tell *tell;
	void *owner;
};

void mr_pool_line_init(struct mr_pool_line *line, mr_pool_tell *tell, void *owner);
void mr_pool_line_fini(struct mr_pool_line *line); /* tells nobody */
/* Ends at once when there is a place. MR_NO_MEMORY: this one was told so. */
void mr_pool_line_wait(struct mr_pool_line *line, uint64_t token, mr_msec deadline);
/* One place more: to the first in line, or to the next who comes. */
void mr_pool_line_give(struct mr_pool_line *line);
/* What nobody took is the host's again. */
void mr_pool_line_take_back(struct mr_pool_line *line);
/* Everybody is told `status`; no place is left. */
void mr_pool_line_end(struct mr_pool_line *line, enum mr_status status);
/* Ends the waits whose time is up, by MR_TIMEOUT. The next call is due at line->earliest. */
void mr_pool_line_expire(struct mr_pool_line *line, mr_msec now);

#endif
