/* outbox: what a session has to write.
 * SPDX-License-Identifier: MIT */
#include "amqp/outbox.h"

#include "base/alloc.h"
#include "codec/frame.h"

/* A part of a block, the body of one frame. */
struct mr_lent {
	size_t gap; /* bytes of the buffer between the part before and this one */
	const char *data;
	size_t size;
	void *block; /* of the last part of a body: it goes with it; else NULL */
	size_t block_size;
};

static struct mr_lent *first_of(const struct mr_outbox *o)
{
	return (void *)mr_buffer_data(&o->lent);
}

static struct mr_lent *end_of(const struct mr_outbox *o)
{
	return (void *)mr_buffer_tail(&o->lent);
}

static void let_go(struct mr_outbox *o, struct mr_lent *p)
{
	if (p->block && o->done)
		o->done(o->owner, p->block, p->block_size);
	else
		mr_free(p->block);
}

void mr_outbox_fini(struct mr_outbox *o)
{
	for (struct mr_lent *p = first_of(o); p != end_of(o); p++) let_go(o, p);
	mr_buffer_fini(&o->lent);
	mr_buffer_fini(&o->bytes);
	*o = (struct mr_outbox){0};
}

static void lend(struct mr_outbox *o, mr_slice part, void *block, size_t block_size)
{
	struct mr_lent lent = {mr_buffer_size(&o->bytes) - o->gaps, part.data, part.size, block,
		block_size};
	mr_buffer_append(&o->lent, &lent, sizeof lent);
	o->gaps += lent.gap;
	o->lent_bytes += part.size;
}

enum mr_status mr_outbox_put_content(struct mr_outbox *o, uint16_t channel, mr_slice properties,
	mr_slice body, void *block, uint32_t frame_max)
{
	size_t chunk = frame_max - MR_FRAME_OVERHEAD;
	size_t frames = mr_frame_count(body.size, frame_max);
	/* All memory at once: then nothing fails halfway. */
	if (mr_buffer_reserve(&o->lent, frames * sizeof(struct mr_lent)) != MR_OK)
		return MR_NO_MEMORY;
	if (mr_buffer_reserve(&o->bytes, mr_frame_content_room(properties, frames)) != MR_OK)
		return MR_NO_MEMORY;
	enum mr_status st =
		mr_frame_put_header(&o->bytes, channel, properties, body.size, frame_max);
	if (st != MR_OK) return st;
	for (size_t done = 0, n; done < body.size; done += n) {
		n = body.size - done < chunk ? body.size - done : chunk;
		mr_frame_begin_body(&o->bytes, channel, n);
		lend(o, mr_slice_of(body.data + done, n), done + n == body.size ? block : NULL,
			body.size);
		mr_frame_end_body(&o->bytes);
	}
	return MR_OK;
}

void mr_outbox_cut(struct mr_outbox *o, struct mr_outbox_mark to)
{
	o->bytes.end = o->bytes.start + to.bytes;
	while (mr_buffer_size(&o->lent) > to.lent) {
		const struct mr_lent *last = end_of(o) - 1;
		o->gaps -= last->gap;
		o->lent_bytes -= last->size;
		o->lent.end -= sizeof *last;
	}
}

int mr_outbox_view(const struct mr_outbox *o, struct iovec *to, int most)
{
	uint8_t *at = mr_buffer_data(&o->bytes);
	const struct mr_lent *p = first_of(o), *end = end_of(o);
	int count = 0;
	for (; p != end && count + 2 <= most; p++) {
		if (p->gap) to[count++] = (struct iovec){at, p->gap};
		to[count++] = (struct iovec){(void *)(uintptr_t)p->data, p->size};
		at += p->gap;
	}
	size_t rest = mr_buffer_size(&o->bytes) - o->gaps;
	if (p == end && rest && count < most) to[count++] = (struct iovec){at, rest};
	return count;
}

/* Consumes up to `size` bytes before the end of the first part; returns how many. */
static size_t consume_part(struct mr_outbox *o, size_t size)
{
	struct mr_lent *p = first_of(o);
	size_t own = size < p->gap ? size : p->gap;
	size_t lent = size - own < p->size ? size - own : p->size;
	mr_buffer_consume(&o->bytes, own);
	p->gap -= own;
	o->gaps -= own;
	p->data += lent;
	p->size -= lent;
	o->lent_bytes -= lent;
	if (!p->size) {
		let_go(o, p);
		mr_buffer_consume(&o->lent, sizeof *p);
	}
	return own + lent;
}

void mr_outbox_consume_lent(struct mr_outbox *o, size_t size)
{
	while (size && mr_buffer_size(&o->lent)) size -= consume_part(o, size);
	mr_buffer_consume(&o->bytes, size);
}

void mr_outbox_trim(struct mr_outbox *o, size_t keep)
{
	mr_buffer_trim(&o->bytes, keep);
	mr_buffer_trim(&o->lent, keep);
}
