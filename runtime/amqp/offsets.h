/* offsets: where a stream's consumer goes on after a loss: its deliveries that are not acked.
 * SPDX-License-Identifier: MIT
 * Pure. A stream keeps its messages, and each has an offset. A consumer that is started again gets
 * what was not acked first, so it begins at the lowest offset without ack. */
#ifndef MR_AMQP_OFFSETS_H
#define MR_AMQP_OFFSETS_H

#include "base/map.h"
#include "base/slice.h"
#include "base/status.h"

struct mr_offsets {        /* zeroed is empty and valid */
	struct mr_map out; /* not acked, by tag: an offset, as a pointer (offset + 1) */
	uint64_t next;     /* the one after the highest delivered; 0: none was delivered */
};

void mr_offsets_fini(struct mr_offsets *o);
/* MR_OK or MR_NO_MEMORY. */
enum mr_status mr_offsets_delivered(struct mr_offsets *o, uint64_t tag, uint64_t offset);
/* The host acked this delivery; with `multiple` also all with lower tags. */
void mr_offsets_acked(struct mr_offsets *o, uint64_t tag, bool multiple);
/* The offset to go on at; false: nothing was delivered. */
bool mr_offsets_resume(const struct mr_offsets *o, uint64_t *offset);

/* Finds the offset in the encoded properties of a message: the header x-stream-offset. */
bool mr_offsets_read(mr_slice properties, uint64_t *offset);

#endif
