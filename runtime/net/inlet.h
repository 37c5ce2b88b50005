/* inlet: reads a stream in large pieces and keeps an incomplete frame until the rest arrives.
 * SPDX-License-Identifier: MIT
 * The thread of its stream. Small frames are parsed in place, in memory that all connections of a
 * thread share; a longer frame is collected in separate memory, or where its owner says. */
#ifndef MR_NET_INLET_H
#define MR_NET_INLET_H

#include "base/buffer.h"
#include "net/stream.h"

struct mr_inlet { /* zeroed is empty and valid */
	struct mr_buffer kept;
	size_t want; /* the total size of the incomplete frame, as far as it is known */
	bool is_large; /* no more than the beginning of another message came since the last large body */
	bool is_full; /* the last read got so much that there may be more */
};

/* Processes the complete frames of `data`; returns the bytes used; *want as above. */
typedef size_t mr_inlet_feed(void *owner, const uint8_t *data, size_t size, size_t *want);

/* Where the next *size bytes belong: they are read there, and fed from there. NULL: anywhere. */
typedef char *mr_inlet_place(void *owner, size_t *size);

/* One read. `place` may be NULL. Returns the result of the stream's read; -1 also for MR_NO_MEMORY. */
ssize_t mr_inlet_read(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, mr_inlet_place *place, void *owner, mr_error *error);
/* Feeds the kept bytes again, for an owner that had stopped processing frames. */
void mr_inlet_replay(struct mr_inlet *in, mr_inlet_feed *feed, void *owner);
void mr_inlet_fini(struct mr_inlet *in);

#endif
