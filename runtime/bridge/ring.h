/* ring: a bounded queue of records of any size between one producer and one consumer thread.
 * SPDX-License-Identifier: MIT
 * Each comment names the side. Records are contiguous and 8-byte aligned; a record that does not
 * fit before the end of the ring is put at its start. The ring owns no memory that a record points
 * to. */
#ifndef MR_BRIDGE_RING_H
#define MR_BRIDGE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct mr_ring {
	atomic_size_t head; /* producer: total bytes written */
	size_t reserved;    /* producer: the end of the reserved record */
	size_t tail_seen;   /* producer: the value of tail when it was last read */
	char apart_1[64];   /* each side writes to its own cache line */
	atomic_size_t tail; /* consumer: total bytes read */
	size_t head_seen;   /* consumer: the value of head when it was last read */
	size_t peeked;      /* consumer: the end of the peeked record */
	char apart_2[64];
	atomic_bool starved; /* the producer found the ring full and waits for room */
	uint8_t *base;
	size_t capacity; /* a power of two */
};

/* Either side, before the other starts and after it has ended. */
enum mr_status mr_ring_open(struct mr_ring *ring, size_t capacity);
void mr_ring_close(struct mr_ring *ring);

/* The largest record that always fits into an empty ring. */
static inline size_t mr_ring_record_max(const struct mr_ring *ring) { return ring->capacity / 4; }
/* Producer: room for a record, or NULL if the ring is full (then `starved` is set). */
void *mr_ring_reserve(struct mr_ring *ring, size_t size);
/* The same, as if the ring had only this capacity: limits the share of one kind of record. */
void *mr_ring_reserve_within(struct mr_ring *ring, size_t size, size_t capacity);
/* Producer: makes the reserved record visible to the consumer. */
void mr_ring_commit(struct mr_ring *ring);
/* Consumer: the oldest record and its size, or NULL; valid until mr_ring_consume. */
void *mr_ring_peek(struct mr_ring *ring, size_t *size);
void mr_ring_consume(struct mr_ring *ring);
bool mr_ring_is_empty(const struct mr_ring *ring); /* consumer */
/* Consumer: true once after a failed reserve: wake the producer. */
bool mr_ring_take_starved(struct mr_ring *ring);

#endif
