/* ring: a bounded queue of records of any size between one producer and one consumer thread.
 * SPDX-License-Identifier: MIT */
#include "bridge/ring.h"

#include "base/alloc.h"

#define SKIP UINT32_MAX /* a head with this size: the next record is at the start of the ring */

struct record_head {
	uint32_t size; /* of the payload, or SKIP */
	uint32_t span; /* bytes of this record, with its head */
};

enum mr_status mr_ring_open(struct mr_ring *ring, size_t capacity)
{
	*ring = (struct mr_ring){.capacity = capacity};
	ring->base = mr_malloc(capacity);
	return ring->base ? MR_OK : MR_NO_MEMORY;
}

void mr_ring_close(struct mr_ring *ring)
{
	mr_free(ring->base);
	ring->base = NULL;
}

static struct record_head *head_at(const struct mr_ring *ring, size_t position)
{
	return (struct record_head *)(void *)(ring->base + (position & (ring->capacity - 1)));
}

static bool has_room(struct mr_ring *ring, size_t end, size_t capacity)
{
	if (end - ring->tail_seen <= capacity) return true;
	ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
	if (end - ring->tail_seen <= capacity) return true;
	/* The ring is full. Asks for a notice of room, then checks again, because the consumer may
	 * have made room meanwhile. */
	atomic_store(&ring->starved, true);
	ring->tail_seen = atomic_load(&ring->tail);
	return end - ring->tail_seen <= capacity;
}

void *mr_ring_reserve(struct mr_ring *ring, size_t size)
{
	return mr_ring_reserve_within(ring, size, ring->capacity);
}

void *mr_ring_reserve_within(struct mr_ring *ring, size_t size, size_t capacity)
{
	size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	size_t span = (sizeof(struct record_head) + size + 7) & ~(size_t)7;
	size_t to_end = ring->capacity - (head & (ring->capacity - 1));
	size_t skip = to_end < span ? to_end : 0;

	if (size > mr_ring_record_max(ring) || !has_room(ring, head + skip + span, capacity))
		return NULL;
	if (skip) {
		*head_at(ring, head) = (struct record_head){SKIP, (uint32_t)skip};
		head += skip;
	}
	struct record_head *record = head_at(ring, head);
	*record = (struct record_head){(uint32_t)size, (uint32_t)span};
	ring->reserved = head + span;
	return record + 1;
}

void mr_ring_commit(struct mr_ring *ring)
{
	atomic_store_explicit(&ring->head, ring->reserved, memory_order_release);
}

void *mr_ring_peek(struct mr_ring *ring, size_t *size)
{
	size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	if (tail == ring->head_seen) {
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (tail == ring->head_seen) return NULL;
	}
	struct record_head *record = head_at(ring, tail);
	if (record->size == SKIP) { /* a record always follows a skip: one commit publishes both */
		tail += record->span;
		record = head_at(ring, tail);
	}
	ring->peeked = tail + record->span;
	*size = record->size;
	return record + 1;
}

void mr_ring_consume(struct mr_ring *ring)
{
	atomic_store_explicit(&ring->tail, ring->peeked, memory_order_release);
}

bool mr_ring_is_empty(const struct mr_ring *ring)
{
	return atomic_load_explicit(&ring->tail, memory_order_relaxed) ==
	       atomic_load_explicit(&ring->head, memory_order_acquire);
}

bool mr_ring_take_starved(struct mr_ring *ring)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&ring->starved, memory_order_relaxed) &&
	       atomic_exchange(&ring->starved, false);
}
