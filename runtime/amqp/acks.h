/* acks: a channel's unsettled deliveries, and the fewest frames that settle them.
 * SPDX-License-Identifier: MIT
 * Pure. A `basic.ack multiple` is sent only when every lower tag of the channel is settled; other
 * tags are acked by one frame each. A tag is settled at most once on the wire. */
#ifndef MR_AMQP_ACKS_H
#define MR_AMQP_ACKS_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/status.h"

/* Writes one settlement frame; `how` is MR_ACK, MR_NACK or MR_REJECT, flags MR_SETTLE_*. */
typedef enum mr_status mr_settle_write(void *owner, uint64_t tag, int how, int flags);

struct mr_acks {         /* zeroed is empty and valid */
	uint8_t *states; /* a ring: the state of tag t is at t & (capacity - 1) */
	size_t capacity;
	uint64_t low,
		next;  /* tags below low are settled or in `sparse`; next was not delivered yet */
	bool is_open;  /* or `next` was delivered without acks: the next tag shows it */
	bool single;   /* tags were skipped: they must not be settled together with others */
	uint64_t gaps; /* how often tags were skipped */
	size_t hidden; /* hidden tags, see mr_acks_hide */
	struct mr_map sparse;     /* long-unsettled tags below the window */
	struct mr_buffer pending; /* tags acked since the last flush, in the order of the acks */
};

void mr_acks_init(struct mr_acks *a);
void mr_acks_fini(struct mr_acks *a);
/* A delivery arrived. Missing tags are skipped and counted in `gaps` (deliveries without acks may
 * or may not use a tag). MR_COMMAND_INVALID: the tag belongs to another delivery; MR_NO_MEMORY. */
enum mr_status mr_acks_delivered(struct mr_acks *a, uint64_t tag, bool no_ack);
/* The host settles a tag. Acks wait for the flush, nacks and rejects are written at once. Tags that
 * are not outstanding are ignored (MR_OK), because they must not reach the wire. MR_NO_MEMORY. */
enum mr_status mr_acks_settle(struct mr_acks *a, uint64_t tag, int how, int flags,
	mr_settle_write *write, void *owner);
enum mr_status mr_acks_flush(struct mr_acks *a, mr_settle_write *write, void *owner);
/* A settle of many tags leaves out hidden tags, and settles the others one by one. Do not flush
 * while a tag is hidden: the flush would treat it as settled. Has no effect on a tag that is not
 * outstanding. */
void mr_acks_hide(struct mr_acks *a, uint64_t tag, bool hidden);
/* basic.recover-ok: earlier deliveries can no longer be settled. */
void mr_acks_forget(struct mr_acks *a);
/* How many acks wait for the flush. */
static inline size_t mr_acks_pending(const struct mr_acks *a)
{
	return mr_buffer_size(&a->pending) / sizeof(uint64_t);
}
size_t mr_acks_outstanding(const struct mr_acks *a); /* walks the window: not for each message */

#endif
