/* delivery: the memory of deliveries: fixed blocks that are recycled and never moved.
 * SPDX-License-Identifier: MIT */
#include "base/delivery.h"

#include <string.h>

#include "base/alloc.h"
#include "base/shelf.h"

#define BLOCK_SIZE 512 /* a 100-byte body with its names fits; eight cache lines */
#define PAGE_BLOCKS 128

struct block {
	mr_delivery delivery; /* first: a delivery is its block */
	struct block *next;   /* in the free list */
	char *heap;           /* the room, if it is not in the block */
	size_t heap_size;
	struct mr_tally *tally; /* NULL: it is not counted */
	bool is_loose;
	char room[];
};

#define ROOM (BLOCK_SIZE - sizeof(struct block))

struct page {
	struct page *next;
	char blocks[PAGE_BLOCKS][BLOCK_SIZE];
};

struct mr_delivery_pool {
	struct page *pages;
	struct block *free;
	size_t out, heap_bytes;
	struct mr_shelf shelf;
};

static void uncount(struct block *block)
{
	if (!block->tally) return;
	mr_tally_remove(block->tally, block->heap_size, block->is_loose);
	block->tally = NULL;
}

void mr_delivery_count(mr_delivery *delivery, struct mr_tally *tally, bool is_loose)
{
	struct block *block = (struct block *)(void *)delivery;
	if (!tally || block->tally) return;
	block->tally = tally;
	block->is_loose = is_loose;
	mr_tally_add(tally, block->heap_size, is_loose);
}

enum mr_status mr_delivery_pool_open(struct mr_delivery_pool **out)
{
	struct mr_delivery_pool *pool = mr_calloc(1, sizeof *pool);
	if (!pool) return MR_NO_MEMORY;
	*out = pool;
	return MR_OK;
}

void mr_delivery_pool_close(struct mr_delivery_pool *pool)
{
	if (!pool) return;
	for (struct page *page = pool->pages, *next; page; page = next) {
		next = page->next;
		for (size_t i = 0; i < PAGE_BLOCKS; i++) {
			struct block *block = (struct block *)(void *)page->blocks[i];
			uncount(block);
			mr_free(block->heap);
		}
		mr_free(page);
	}
	mr_shelf_fini(&pool->shelf);
	mr_free(pool);
}

static bool add_page(struct mr_delivery_pool *pool)
{
	struct page *page = mr_malloc(sizeof *page);
	if (!page) return false;
	page->next = pool->pages;
	pool->pages = page;
	for (size_t i = PAGE_BLOCKS; i-- > 0;) {
		struct block *block = (struct block *)(void *)page->blocks[i];
		memset(block, 0, sizeof *block);
		block->delivery.generation = 1; /* so that a zeroed handle is never valid */
		block->next = pool->free;
		pool->free = block;
	}
	return true;
}

mr_delivery *mr_delivery_take(struct mr_delivery_pool *pool, size_t variable, char **space)
{
	if (!pool->free && !add_page(pool)) return NULL;
	struct block *block = pool->free;
	if (variable > ROOM) {
		block->heap = mr_shelf_take(&pool->shelf, variable);
		if (!block->heap) return NULL;
		block->heap_size = variable;
		pool->heap_bytes += variable;
	}
	pool->free = block->next;
	pool->out++;
	*space = block->heap ? block->heap : block->room;
	return &block->delivery;
}

bool mr_delivery_pool_has(const struct mr_delivery_pool *pool, size_t variable)
{
	return mr_shelf_has(&pool->shelf, variable);
}

bool mr_delivery_pool_is_large(const struct mr_delivery_pool *pool)
{
	return pool->shelf.kept > MR_SHELF_IDLE;
}

void mr_delivery_pool_trim(struct mr_delivery_pool *pool) { mr_shelf_trim(&pool->shelf); }

char *mr_delivery_grow(struct mr_delivery_pool *pool, mr_delivery *delivery, size_t variable)
{
	struct block *block = (struct block *)(void *)delivery;
	char *heap = mr_realloc(block->heap, mr_shelf_size(variable));
	if (!heap) return NULL;
	pool->heap_bytes += variable - block->heap_size;
	block->heap = heap;
	block->heap_size = variable;
	return heap;
}

void mr_delivery_give(struct mr_delivery_pool *pool, mr_delivery *delivery)
{
	struct block *block = (struct block *)(void *)delivery;
	uncount(block);
	if (block->heap) {
		mr_shelf_give(&pool->shelf, block->heap, block->heap_size);
		pool->heap_bytes -= block->heap_size;
		block->heap = NULL;
		block->heap_size = 0;
	}
	/* The generation belongs to the host: a stale handle may be reading it now. */
	memset(delivery, 0, offsetof(mr_delivery, generation));
	memset(&delivery->generation + 1, 0, sizeof *delivery - offsetof(mr_delivery, consumer));
	block->next = pool->free;
	pool->free = block;
	pool->out--;
}

size_t mr_delivery_pool_out(const struct mr_delivery_pool *pool, size_t *bytes)
{
	if (bytes) *bytes = pool->heap_bytes;
	return pool->out;
}
