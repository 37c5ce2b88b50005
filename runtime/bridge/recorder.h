/* recorder: reads the tapes of a runtime's two threads as one list.
 * SPDX-License-Identifier: MIT
 * Any thread may read while both write. */
#ifndef MR_BRIDGE_RECORDER_H
#define MR_BRIDGE_RECORDER_H

#include "base/buffer.h"
#include "bridge/tape.h"
#include "moonrabbit.h"

/* A consumer's number is shown without MR_CONSUMER_*. */
#define MR_RECORDER_CONSUMER 0x1fffffffu
#define MR_RECORDER_WORDS 8    /* of a filter */
#define MR_RECORDER_FILTER 256 /* bytes of it */
#define MR_RECORDER_LOOK 65536 /* events, if all of a large recorder would take too long */

struct mr_recorder {
	struct mr_tape io;   /* written by the I/O thread */
	struct mr_tape host; /* written by the host thread */
};

/* The number of events that runtimes made from now on keep of each thread. Any thread. */
void mr_recorder_set_size(uint32_t events);
enum mr_status mr_recorder_open(struct mr_recorder *r);
void mr_recorder_close(struct mr_recorder *r);

/* What is wrong with a filter, or NULL; `filter` may be NULL. */
const char *mr_recorder_objection(const char *filter);
/* Writes the last events that the filter lets through, the oldest first; returns their number.
 * The filter is without an objection. No more than the newest `look` events are looked at. */
size_t mr_recorder_read(const struct mr_recorder *r, const char *filter, size_t look,
	mr_recorded *out, size_t most);
/* Appends an event as a JSON object, without what it has not. */
enum mr_status mr_recorder_json(struct mr_buffer *out, const mr_recorded *event, const char *queue);

#endif
