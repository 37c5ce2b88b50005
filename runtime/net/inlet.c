/* inlet: reads a stream in large pieces and keeps an incomplete frame until the rest arrives.
 * SPDX-License-Identifier: MIT */
#include "net/inlet.h"

void mr_inlet_fini(struct mr_inlet *in)
{
	mr_buffer_fini(&in->kept);
	in->want = 0;
}

static ssize_t no_memory(mr_error *error)
{
	mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506, "out of memory");
	return -1;
}

/* The current frame fits the shared memory: its kept part is copied there first. */
static ssize_t read_shared(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, void *owner, mr_error *error)
{
	size_t kept = mr_buffer_size(&in->kept);
	uint8_t *start = scratch->base;
	ssize_t n = stream->class->read(stream, start + kept, scratch->capacity - kept, error);
	if (n <= 0) return n;
	if (kept) memcpy(start, mr_buffer_data(&in->kept), kept);
	mr_buffer_consume(&in->kept, kept);
	mr_buffer_trim(&in->kept, 0);
	size_t size = kept + (size_t)n, used = feed(owner, start, size, &in->want);
	if (used < size && mr_buffer_append(&in->kept, start + used, size - used) != MR_OK)
		return no_memory(error);
	return n;
}

static ssize_t read_own(struct mr_inlet *in, struct mr_stream *stream, mr_inlet_feed *feed,
	void *owner, mr_error *error)
{
	size_t kept = mr_buffer_size(&in->kept);
	if (mr_buffer_reserve(&in->kept, in->want > kept ? in->want - kept : 4096) != MR_OK)
		return no_memory(error);
	ssize_t n = stream->class->read(stream, mr_buffer_tail(&in->kept),
		mr_buffer_room(&in->kept), error);
	if (n <= 0) return n;
	in->kept.end += (size_t)n;
	mr_buffer_consume(&in->kept,
		feed(owner, mr_buffer_data(&in->kept), mr_buffer_size(&in->kept), &in->want));
	mr_buffer_trim(&in->kept, 0);
	return n;
}

ssize_t mr_inlet_read(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, void *owner, mr_error *error)
{
	bool fits = in->want <= scratch->capacity && mr_buffer_size(&in->kept) < scratch->capacity;
	return fits ? read_shared(in, stream, scratch, feed, owner, error)
	            : read_own(in, stream, feed, owner, error);
}

void mr_inlet_replay(struct mr_inlet *in, mr_inlet_feed *feed, void *owner)
{
	size_t kept = mr_buffer_size(&in->kept);
	if (!kept) return;
	mr_buffer_consume(&in->kept, feed(owner, mr_buffer_data(&in->kept), kept, &in->want));
	mr_buffer_trim(&in->kept, 0);
}
