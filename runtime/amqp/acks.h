/* acks: which deliveries of a channel the broker still counts as ours, and the fewest frames that
 * settle them.
 * SPDX-License-Identifier: MIT
 * Pure. One `basic.ack multiple` goes out only when every lower tag of the channel is settled;
 * anything else is acked by its own frame. A tag is settled at most once on the wire. */
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
		next; /* tags below low are settled or in `sparse`; next was not delivered yet */
	bool is_open; /* or `next` was, without acks: the next tag tells */
	bool single; /* tags were passed over: what they stand for must not be settled along with others */
	uint64_t gaps;            /* how often */
	size_t hidden;            /* tags, see mr_acks_hide */
	struct mr_map sparse;     /* long-unsettled tags that fell out of the window */
	struct mr_buffer pending; /* tags acked since the last flush, in order of acking */
};

void mr_acks_init(struct mr_acks *a);
void mr_acks_fini(struct mr_acks *a);
/* A delivery came. Tags that nobody got are passed over, and counted in `gaps` (those of deliveries without
 * acks need not count). MR_COMMAND_INVALID: its tag was another delivery's; MR_NO_MEMORY. */
enum mr_status mr_acks_delivered(struct mr_acks *a, uint64_t tag, bool no_ack);
/* The host settles; acks wait for the flush, nacks and rejects are written at once. Tags that are not
 * outstanding are ignored (MR_OK): they must not reach the wire. MR_NO_MEMORY. */
enum mr_status mr_acks_settle(struct mr_acks *a, uint64_t tag, int how, int flags,
	mr_settle_write *write, void *owner);
enum mr_status mr_acks_flush(struct mr_acks *a, mr_settle_write *write, void *owner);
/* While any tag is hidden, what settles many leaves it out, and settles each of the others alone. No flush
 * meanwhile: it would take it for settled. Of a tag that is not outstanding: nothing changes. */
void mr_acks_hide(struct mr_acks *a, uint64_t tag, bool hidden);
/* basic.recover-ok: nothing delivered so far is ours any more. */
void mr_acks_forget(struct mr_acks *a);
size_t mr_acks_outstanding(const struct mr_acks *a); /* for tests: walks the window */

#endif
