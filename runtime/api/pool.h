/* pool: lends connections or channels to one borrower at a time.
 * SPDX-License-Identifier: MIT
 * Host thread only. An acquire that finds a free place is served at once; else it waits in the
 * pool's line (api/pool_line). A place that becomes free is reserved for the first acquire in the
 * line until the host's next poll reports it. */
#ifndef MR_API_POOL_H
#define MR_API_POOL_H

#include "api/handle.h"

/* An MR_EV_DONE: continues an acquire. False: the host does not get the event. */
bool mr_pool_answer(mr_runtime *rt, mr_event *event);
void mr_pool_end_waits(mr_runtime *rt); /* waiting acquires of all pools end with MR_CLOSED */
void mr_pool_free_all(mr_runtime *rt);  /* with the runtime */

#endif
