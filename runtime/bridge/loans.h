/* loans: how much a pool has lent: the host writes, the I/O thread reads.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. Words are read one by one, so they may differ in age. The
 * host owns them; they outlive the I/O thread. After the end of its pool another pool has them. */
#ifndef MR_BRIDGE_LOANS_H
#define MR_BRIDGE_LOANS_H

#include <stdatomic.h>

#include "base/status.h"

#define MR_LOANS_MAX 256 /* pools beyond are not shown */

struct mr_loans {
	atomic_uint_least32_t limit, active, idle, waiting;
	atomic_int owner; /* 1 + the strategy of its pool; 0: it has none */
};

struct mr_loans *mr_loans_new(void);                   /* host; gives; NULL: out of memory */
bool mr_loans_is_free(const struct mr_loans *t);       /* host: it has no pool */
void mr_loans_begin(struct mr_loans *t, int strategy); /* host: of a new pool */
void mr_loans_end(struct mr_loans *t);                 /* host: its pool has ended */
void mr_loans_write(struct mr_loans *t, const mr_pool_counts *counts); /* host */
/* I/O; false: it has no pool. */
bool mr_loans_read(const struct mr_loans *t, int *strategy, mr_pool_counts *out);

#endif
