/* inlet: reads a stream in large pieces and keeps an incomplete frame until the rest arrives.
 * SPDX-License-Identifier: MIT */
#include "net/inlet.h"

#define AHEAD 4096 /* bytes read with the rest of a large body; room for the next one's header */

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

/* Feeds the bytes, and keeps those that are not used. False: out of memory. */
static bool pass(struct mr_inlet *in, const uint8_t *data, size_t size, mr_inlet_feed *feed,
	void *owner)
{
	size_t used = feed(owner, data, size, &in->want);
	return used == size || mr_buffer_append(&in->kept, data + used, size - used) == MR_OK;
}

/* Bytes for one read. What follows a large body may be the beginning of another one, of which little is
 * to be copied. */
static size_t room_of(const struct mr_inlet *in, size_t kept, const struct mr_buffer *scratch)
{
	size_t room = scratch->capacity - kept;
	return in->is_large && kept < AHEAD && room > AHEAD ? AHEAD : room;
}

/* The current frame fits the shared memory: its kept part is copied there first. */
static ssize_t read_shared(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, void *owner, mr_error *error)
{
	size_t kept = mr_buffer_size(&in->kept);
	size_t room = room_of(in, kept, scratch);
	uint8_t *start = scratch->base;
	ssize_t n = stream->class->read(stream, start + kept, room, error);
	if (n <= 0) return n;
	if ((size_t)n >= AHEAD) in->is_large = false;
	in->is_full = (size_t)n == room || (size_t)n >= scratch->capacity / 2;
	if (kept) memcpy(start, mr_buffer_data(&in->kept), kept);
	mr_buffer_consume(&in->kept, kept);
	mr_buffer_trim(&in->kept, 0);
	return pass(in, start, kept + (size_t)n, feed, owner) ? n : no_memory(error);
}

/* The rest of a large body, and a little more: what follows is the beginning of the next one, which
 * is not to be copied either. */
static ssize_t read_placed(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, void *owner, struct iovec place, mr_error *error)
{
	struct iovec to[2] = {place, {scratch->base, AHEAD}};
	ssize_t n = stream->class->readv
	                    ? stream->class->readv(stream, to, 2, error)
	                    : stream->class->read(stream, place.iov_base, place.iov_len, error);
	if (n <= 0) return n;
	in->is_large = true;
	size_t size = (size_t)n < place.iov_len ? (size_t)n : place.iov_len;
	in->is_full = (size_t)n == place.iov_len + (stream->class->readv ? AHEAD : 0);
	bool is_kept = pass(in, place.iov_base, size, feed, owner);
	if (is_kept && (size_t)n > size)
		is_kept = pass(in, scratch->base, (size_t)n - size, feed, owner);
	return is_kept ? n : no_memory(error);
}

static ssize_t read_own(struct mr_inlet *in, struct mr_stream *stream, mr_inlet_feed *feed,
	void *owner, mr_error *error)
{
	size_t kept = mr_buffer_size(&in->kept);
	if (mr_buffer_reserve(&in->kept, in->want > kept ? in->want - kept : 4096) != MR_OK)
		return no_memory(error);
	size_t room = mr_buffer_room(&in->kept);
	ssize_t n = stream->class->read(stream, mr_buffer_tail(&in->kept), room, error);
	if (n <= 0) return n;
	in->is_full = (size_t)n == room;
	in->kept.end += (size_t)n;
	mr_buffer_consume(&in->kept,
		feed(owner, mr_buffer_data(&in->kept), mr_buffer_size(&in->kept), &in->want));
	mr_buffer_trim(&in->kept, 0);
	return n;
}

ssize_t mr_inlet_read(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, mr_inlet_place *place, void *owner, mr_error *error)
{
	struct iovec to = {0};
	if (place && !mr_buffer_size(&in->kept)) to.iov_base = place(owner, &to.iov_len);
	if (to.iov_base) return read_placed(in, stream, scratch, feed, owner, to, error);
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
