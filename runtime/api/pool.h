/* pool: lends connections or channels: who gets one, who waits, who gives back.
 * SPDX-License-Identifier: MIT
 * Host thread only. An acquire that finds a free place is served at once; else it waits in the pool's line
 * (api/pool_line), and a place that comes free is set aside for the first in line until the host's next poll
 * tells of it. */
#ifndef MR_API_POOL_H
#define MR_API_POOL_H

#include "api/handle.h"

/* An MR_EV_DONE: the next step of an acquire. False: the host need not see it. */
bool mr_pool_answer(mr_runtime *rt, mr_event *event);
void mr_pool_free_all(mr_runtime *rt); /* with the runtime */

#endif
