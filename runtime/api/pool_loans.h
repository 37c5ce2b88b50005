/* pool_loans: finds a place where a new pool shows its counts to the I/O thread.
 * SPDX-License-Identifier: MIT
 * Host thread only. */
#ifndef MR_API_POOL_LOANS_H
#define MR_API_POOL_LOANS_H

#include "api/handle.h"

/* One of a pool that has ended, or a new one. NULL: there are too many, or there is no memory. */
struct mr_loans *mr_pool_loans_begin(mr_runtime *rt, int strategy);

#endif
