/* arena: many small allocations that are freed together.
 * SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdint.h>

#include "base/alloc.h"

#define BLOCK_MAX (64 * 1024)

struct block {
	struct block *next;
	size_t used, size;
	uint64_t bytes[];
};

struct mr_arena {
	struct block *blocks; /* the newest first */
	size_t next_size;
};

static struct block *add_block(struct mr_arena *arena, size_t size)
{
	struct block *block = mr_malloc(sizeof *block + size);
	if (!block) return NULL;
	*block = (struct block){.next = arena->blocks, .size = size};
	arena->blocks = block;
	return block;
}

struct mr_arena *mr_arena_open(size_t first)
{
	struct mr_arena *arena = mr_calloc(1, sizeof *arena);
	if (arena) arena->next_size = first < 64 ? 64 : first;
	return arena;
}

void mr_arena_close(struct mr_arena *arena)
{
	if (!arena) return;
	for (struct block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		mr_free(block);
	}
	mr_free(arena);
}

void *mr_arena_alloc(struct mr_arena *arena, size_t size)
{
	if (size > SIZE_MAX / 2) return NULL;
	size = (size + 7) & ~(size_t)7;
	struct block *block = arena->blocks;
	if (!block || block->size - block->used < size) {
		block = add_block(arena, size > arena->next_size ? size : arena->next_size);
		if (!block) return NULL;
		if (arena->next_size < BLOCK_MAX) arena->next_size *= 2;
	}
	void *p = (char *)block->bytes + block->used;
	block->used += size;
	return p;
}
