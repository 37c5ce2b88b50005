/* buffer: bytes that grow at the end and are consumed at the front.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. Doubles its space; a failure leaves the content unchanged. */
#ifndef MR_BASE_BUFFER_H
#define MR_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"
#include "base/status.h"

struct mr_buffer { /* zeroed is empty and valid */
	uint8_t *base;
	size_t start, end, capacity; /* the bytes are base[start .. end) */
};

void mr_buffer_fini(struct mr_buffer *b); /* frees and empties; `b` may be empty */
/* Makes room for `more` bytes behind the end; compacts before it grows. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_buffer_reserve(struct mr_buffer *b, size_t more);
enum mr_status mr_buffer_append(struct mr_buffer *b, const void *data, size_t size);
void mr_buffer_consume(struct mr_buffer *b, size_t size); /* at most the bytes that it has */
/* Frees the space of an empty buffer if it is larger than `keep`. */
void mr_buffer_trim(struct mr_buffer *b, size_t keep);

static inline size_t mr_buffer_size(const struct mr_buffer *b) { return b->end - b->start; }
/* NULL for a buffer that was never used: adding an offset to NULL, even 0, is undefined. */
static inline uint8_t *mr_buffer_data(const struct mr_buffer *b)
{
	return b->base ? b->base + b->start : NULL;
}
static inline size_t mr_buffer_room(const struct mr_buffer *b) { return b->capacity - b->end; }
static inline uint8_t *mr_buffer_tail(const struct mr_buffer *b)
{
	return b->base ? b->base + b->end : NULL;
}

#endif
