/* streams: consumers of streams are restored where they were, not where they began.
 * SPDX-License-Identifier: MIT
 * Pure. For other queues the broker remembers what was acked; in a stream each consumer says
 * where it begins. So the recorded request of a consumer that has ended gets the offset to go on
 * at. */
#ifndef MR_LINK_STREAMS_H
#define MR_LINK_STREAMS_H

#include "amqp/records.h"
#include "amqp/session_options.h"

/* Changes the recorded request of a consumer. `wall` is the time in seconds since 1970 at
 * which it was started, `age` the ms since then. */
void mr_streams_resume(struct mr_record *record, const struct mr_resume *at, int64_t wall,
	mr_msec age);
/* The queue of a consumer is gone: in a new stream of its name it begins at the first message. */
void mr_streams_restart(struct mr_record *record);

#endif
