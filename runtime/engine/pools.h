/* pools: the lines of a runtime's pools, their deadlines, and what the host says to them.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_ENGINE_POOLS_H
#define MR_ENGINE_POOLS_H

#include "base/map.h"
#include "bridge/command.h"
#include "io/event_queue.h"
#include "io/timer.h"

struct mr_pools {
	struct mr_timers *timers;
	struct mr_event_queue *dispatch;
	struct mr_map lines; /* by pool number */
};

void mr_pools_init(struct mr_pools *p, struct mr_timers *timers, struct mr_event_queue *dispatch);
void mr_pools_fini(struct mr_pools *p);                                /* also of zeroed ones */
void mr_pools_command(struct mr_pools *p, const struct mr_command *c); /* an MR_CMD_POOL */

#endif
