/* inlet: reads a stream in large pieces and keeps the start of a frame whose rest has not come.
 * SPDX-License-Identifier: MIT
 * The thread of its stream. Small frames are parsed where they land, in memory that all connections of
 * a thread share; a frame longer than that gathers in memory of its own. */
#ifndef MR_NET_INLET_H
#define MR_NET_INLET_H

#include "base/buffer.h"
#include "net/stream.h"

struct mr_inlet { /* zeroed is empty and valid */
	struct mr_buffer kept;
	size_t want; /* how many bytes the frame under way has in all, as far as known */
};

/* Takes whole frames off `data`; returns the bytes used; *want as above. */
typedef size_t mr_inlet_feed(void *owner, const uint8_t *data, size_t size, size_t *want);

/* One read. Returns what the stream's read returned; -1 also with MR_NO_MEMORY. */
ssize_t mr_inlet_read(struct mr_inlet *in, struct mr_stream *stream, struct mr_buffer *scratch,
	mr_inlet_feed *feed, void *owner, mr_error *error);
/* Feeds again what was kept, for an owner that had stopped taking frames. */
void mr_inlet_replay(struct mr_inlet *in, mr_inlet_feed *feed, void *owner);
void mr_inlet_fini(struct mr_inlet *in);

#endif
