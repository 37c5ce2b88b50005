/* loans: how much a pool has lent: the host writes, the I/O thread reads.
 * SPDX-License-Identifier: MIT */
#include "bridge/loans.h"

#include "base/alloc.h"

static void put(atomic_uint_least32_t *word, uint32_t n)
{
	atomic_store_explicit(word, n, memory_order_relaxed);
}

static uint32_t get(const atomic_uint_least32_t *word)
{
	return (uint32_t)atomic_load_explicit(word, memory_order_relaxed);
}

struct mr_loans *mr_loans_new(void) { return mr_calloc(1, sizeof(struct mr_loans)); }

bool mr_loans_is_free(const struct mr_loans *t)
{
	return atomic_load_explicit(&t->owner, memory_order_relaxed) == 0;
}

void mr_loans_begin(struct mr_loans *t, int strategy)
{
	mr_loans_write(t, &(mr_pool_counts){0});
	atomic_store_explicit(&t->owner, 1 + strategy, memory_order_relaxed);
}

void mr_loans_end(struct mr_loans *t) { atomic_store_explicit(&t->owner, 0, memory_order_relaxed); }

void mr_loans_write(struct mr_loans *t, const mr_pool_counts *counts)
{
	put(&t->limit, counts->limit);
	put(&t->active, counts->active);
	put(&t->idle, counts->idle);
	put(&t->waiting, counts->waiting);
}

bool mr_loans_read(const struct mr_loans *t, int *strategy, mr_pool_counts *out)
{
	int owner = atomic_load_explicit(&t->owner, memory_order_relaxed);
	*strategy = owner - 1;
	*out = (mr_pool_counts){get(&t->limit), get(&t->active), get(&t->idle), get(&t->waiting)};
	return owner != 0;
}
