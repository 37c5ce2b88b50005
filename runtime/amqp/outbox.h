/* outbox: what a session has to write: bytes of its own and, between them, bodies that stay where
 * they are.
 * SPDX-License-Identifier: MIT
 * Pure. Whatever is not the body of a large publish is put into `bytes`, as into any buffer; what
 * was put there may be cut off again, down to the last body. */
#ifndef MR_AMQP_OUTBOX_H
#define MR_AMQP_OUTBOX_H

#include <sys/uio.h>

#include "base/buffer.h"

struct mr_outbox { /* zeroed is empty and valid */
	struct mr_buffer bytes;
	struct mr_buffer lent; /* struct mr_lent, in the order of writing */
	size_t gaps;           /* bytes that stand before the last of them */
	size_t lent_bytes;     /* of all of them */
	void (*done)(void *owner, void *block, size_t size); /* takes a block; NULL: mr_free does */
	void *owner;
};

/* How much there was at a moment, to go back there. */
struct mr_outbox_mark {
	size_t bytes, lent;
};

void mr_outbox_fini(struct mr_outbox *o); /* frees and empties */
/* As mr_frame_put_content, but the body, which must have a byte, stays in its block. A success takes
 * the block, and is done with it when the last byte of the body has been consumed. */
enum mr_status mr_outbox_put_content(struct mr_outbox *o, uint16_t channel, mr_slice properties,
	mr_slice body, void *block, uint32_t frame_max);
/* Forgets what was put since; nothing may have been consumed since. Blocks are the caller's again. */
void mr_outbox_cut(struct mr_outbox *o, struct mr_outbox_mark to);
/* The first bytes to write, in at most `most` (2 at least) places; returns their number. Valid until
 * the next call with this outbox. */
int mr_outbox_view(const struct mr_outbox *o, struct iovec *to, int most);
void mr_outbox_consume_lent(struct mr_outbox *o, size_t size);
void mr_outbox_trim(struct mr_outbox *o, size_t keep); /* as mr_buffer_trim */

static inline size_t mr_outbox_size(const struct mr_outbox *o)
{
	return mr_buffer_size(&o->bytes) + o->lent_bytes;
}
/* At most the bytes that it has. */
static inline void mr_outbox_consume(struct mr_outbox *o, size_t size)
{
	if (o->lent_bytes)
		mr_outbox_consume_lent(o, size);
	else
		mr_buffer_consume(&o->bytes, size);
}

static inline struct mr_outbox_mark mr_outbox_mark(const struct mr_outbox *o)
{
	return (struct mr_outbox_mark){mr_buffer_size(&o->bytes), mr_buffer_size(&o->lent)};
}

#endif
