/* delivery: the memory that deliveries live in: fixed blocks, recycled, never moved.
 * SPDX-License-Identifier: MIT
 * I/O thread takes and gives back; pure memory, no I/O. A block stays mapped until the pool closes,
 * so that a stale handle reads a changed generation, never unmapped memory. */
#ifndef MR_BASE_DELIVERY_H
#define MR_BASE_DELIVERY_H

#include "base/status.h"
#include "base/tally.h"

struct mr_delivery_pool;

enum mr_status mr_delivery_pool_open(struct mr_delivery_pool **out);
void mr_delivery_pool_close(struct mr_delivery_pool *pool); /* frees also what is still out */
/* A delivery with room for `variable` bytes behind it, at *space; all fields zeroed but `generation`.
 * Up to about 400 bytes cost no allocation. NULL when out of memory. */
mr_delivery *mr_delivery_take(struct mr_delivery_pool *pool, size_t variable, char **space);
/* Grows the room of a delivery whose room cost an allocation; moves it, keeps its bytes. The new place, or NULL when
 * out of memory (then the old one stands). */
char *mr_delivery_grow(struct mr_delivery_pool *pool, mr_delivery *delivery, size_t variable);
/* Counts a whole delivery, until it is given back. */
void mr_delivery_count(mr_delivery *delivery, struct mr_tally *tally, bool is_loose);
/* Recycles. The generation is left alone: the host bumps it when it releases. */
void mr_delivery_give(struct mr_delivery_pool *pool, mr_delivery *delivery);
/* Deliveries taken and not given back, and the bytes of heap they hold. */
size_t mr_delivery_pool_out(const struct mr_delivery_pool *pool, size_t *bytes);

#endif
