/* arena: many small allocations that are freed together.
 * SPDX-License-Identifier: MIT
 * Any thread; blocks double up to 64 KiB. */
#ifndef MR_BASE_ARENA_H
#define MR_BASE_ARENA_H

#include <stddef.h>

struct mr_arena;
struct mr_arena *mr_arena_open(size_t first); /* gives; NULL when out of memory */
void mr_arena_close(struct mr_arena *arena);  /* NULL is allowed */
void *mr_arena_alloc(struct mr_arena *arena,
	size_t size); /* aligned to 8; NULL when out of memory */

#endif
