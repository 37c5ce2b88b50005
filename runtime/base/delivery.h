/* delivery: the memory of deliveries: fixed blocks that are recycled and never moved.
 * SPDX-License-Identifier: MIT
 * The I/O thread takes blocks and gives them back; no I/O. A block stays mapped until the pool
 * closes, so that a stale handle reads a changed generation, never unmapped memory. */
#ifndef MR_BASE_DELIVERY_H
#define MR_BASE_DELIVERY_H

#include "base/status.h"
#include "base/tally.h"

struct mr_delivery_pool;

enum mr_status mr_delivery_pool_open(struct mr_delivery_pool **out);
void mr_delivery_pool_close(struct mr_delivery_pool *pool); /* also frees deliveries in use */
/* A delivery with room for `variable` bytes at *space; all fields except `generation` are zero. Up
 * to about 400 bytes need no allocation. NULL when out of memory. */
mr_delivery *mr_delivery_take(struct mr_delivery_pool *pool, size_t variable, char **space);
/* Is there memory for one of this size that costs nothing new? */
bool mr_delivery_pool_has(const struct mr_delivery_pool *pool, size_t variable);
/* Has it memory that large deliveries have left? Trimming frees what no delivery has needed since
 * the last trim. */
bool mr_delivery_pool_is_large(const struct mr_delivery_pool *pool);
void mr_delivery_pool_trim(struct mr_delivery_pool *pool);
/* Grows the allocated room of a delivery; moves it and keeps its bytes. Returns the new room, or
 * NULL when out of memory (then the old room stays valid). */
char *mr_delivery_grow(struct mr_delivery_pool *pool, mr_delivery *delivery, size_t variable);
/* Counts a complete delivery until it is given back. */
void mr_delivery_count(mr_delivery *delivery, struct mr_tally *tally, bool is_loose);
/* Recycles a delivery. Does not change the generation: the host increments it when it releases. */
void mr_delivery_give(struct mr_delivery_pool *pool, mr_delivery *delivery);
/* The number of deliveries in use, and the bytes of heap that they occupy. */
size_t mr_delivery_pool_out(const struct mr_delivery_pool *pool, size_t *bytes);

#endif
