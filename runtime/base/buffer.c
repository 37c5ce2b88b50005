/* buffer: bytes that grow at the end and are consumed at the front.
 * SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include "base/alloc.h"

void mr_buffer_fini(struct mr_buffer *b)
{
	mr_free(b->base);
	*b = (struct mr_buffer){0};
}

static void compact(struct mr_buffer *b)
{
	if (!b->start) return;
	memmove(b->base, b->base + b->start, b->end - b->start);
	b->end -= b->start;
	b->start = 0;
}

enum mr_status mr_buffer_reserve(struct mr_buffer *b, size_t more)
{
	if (mr_buffer_room(b) >= more) return MR_OK;
	size_t size = mr_buffer_size(b);
	if (more > SIZE_MAX / 2 - size) return MR_NO_MEMORY;
	/* Moving the bytes is cheap if few are left; otherwise growing costs less in the long
	 * run. */
	if (b->capacity - size >= more && size <= b->capacity / 2) {
		compact(b);
		return MR_OK;
	}
	size_t capacity = b->capacity ? b->capacity : 256;
	while (capacity < size + more) capacity *= 2;
	compact(b);
	uint8_t *base = mr_realloc(b->base, capacity);
	if (!base) return MR_NO_MEMORY;
	b->base = base;
	b->capacity = capacity;
	return MR_OK;
}

enum mr_status mr_buffer_append(struct mr_buffer *b, const void *data, size_t size)
{
	if (!size) return MR_OK;
	if (mr_buffer_reserve(b, size) != MR_OK) return MR_NO_MEMORY;
	memcpy(b->base + b->end, data, size);
	b->end += size;
	return MR_OK;
}

void mr_buffer_consume(struct mr_buffer *b, size_t size)
{
	b->start += size < mr_buffer_size(b) ? size : mr_buffer_size(b);
	if (b->start == b->end) b->start = b->end = 0;
}

void mr_buffer_trim(struct mr_buffer *b, size_t keep)
{
	if (mr_buffer_size(b) == 0 && b->capacity > keep) mr_buffer_fini(b);
}
