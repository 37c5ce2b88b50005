/* seek: makes a connected stream to a Redis whose address is given, or is asked of Sentinels first.
 * SPDX-License-Identifier: MIT
 * One thread, which runs the loop. Never blocks. */
#ifndef MR_REDIS_SEEK_H
#define MR_REDIS_SEEK_H

#include "redis/reach.h"
#include "redis/sentinel.h"

struct mr_seek {
	struct ev_loop *loop;
	const struct mr_redis_options *options;
	mr_reached *done;
	void *owner;
	struct mr_reach_to to; /* where `reach` goes now */
	struct mr_reach reach;
	struct mr_sentinel sentinel;
	bool asks; /* it goes to a Sentinel */
	/* The connection to a Sentinel, while it is asked. */
	struct mr_stream *stream;
	struct mr_redis_wire wire;
	struct mr_buffer out;
	ev_io io;
	ev_timer timer; /* the end of patience; or, without a stream, the next one's turn */
};

/* `options` (filled in by mr_redis_options_copy) must outlive it. */
void mr_seek_init(struct mr_seek *s, struct ev_loop *loop, const struct mr_redis_options *options,
	mr_reached *done, void *owner);
/* Calls `done` later, or within this call. */
void mr_seek_start(struct mr_seek *s);
void mr_seek_cancel(struct mr_seek *s);
/* The last stream that was given led to no master: other Sentinels go first in the next start. */
void mr_seek_doubt(struct mr_seek *s);
/* From the next start on it asks nobody, but goes where `leader` was led to. True: that is another place than before. */
bool mr_seek_follow(struct mr_seek *s, const struct mr_seek *leader);
void mr_seek_fini(struct mr_seek *s); /* no stream that it gave may be open */

#endif
