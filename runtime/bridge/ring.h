/* ring: a bounded queue of records of any size between one producer and one consumer thread.
 * SPDX-License-Identifier: MIT
 * Each function says its side. Records are contiguous and 8-byte aligned; what does not fit before
 * the end of the ring goes to its start. Owns no pointer that a record holds. */
#ifndef MR_BRIDGE_RING_H
#define MR_BRIDGE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct mr_ring {
	atomic_size_t head; /* producer: bytes ever written */
	size_t reserved;    /* producer: where the reserved record ends */
	size_t tail_seen;   /* producer's last look at tail */
	char apart_1[64];   /* the two sides write to cache lines of their own */
	atomic_size_t tail; /* consumer: bytes ever read */
	size_t head_seen;   /* consumer's last look at head */
	size_t peeked;      /* consumer: where the peeked record ends */
	char apart_2[64];
	atomic_bool starved; /* producer found it full and wants to hear of room */
	uint8_t *base;
	size_t capacity; /* a power of two */
};

/* Either side, before the other starts and after it has ended. */
enum mr_status mr_ring_open(struct mr_ring *ring, size_t capacity);
void mr_ring_close(struct mr_ring *ring);

/* The largest record that always fits into an empty ring. */
static inline size_t mr_ring_record_max(const struct mr_ring *ring) { return ring->capacity / 4; }
/* Producer: room for a record, or NULL when the ring is full (then `starved` is set). */
void *mr_ring_reserve(struct mr_ring *ring, size_t size);
/* The same, as if the ring were smaller: what one kind of record may fill of it. */
void *mr_ring_reserve_within(struct mr_ring *ring, size_t size, size_t capacity);
/* Producer: shows the reserved record to the consumer. */
void mr_ring_commit(struct mr_ring *ring);
/* Consumer: the oldest record and its size, or NULL; stays until mr_ring_consume. */
void *mr_ring_peek(struct mr_ring *ring, size_t *size);
void mr_ring_consume(struct mr_ring *ring);
/* Consumer: true once after a reserve had failed: the producer wants to be woken. */
bool mr_ring_take_starved(struct mr_ring *ring);

#endif
