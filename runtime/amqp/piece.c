/* piece: see piece.h.
 * SPDX-License-Identifier: MIT */
#include "amqp/piece.h"

#include "codec/read.h"

/* `data` begins with a frame that is not whole. True: it is taken in pieces. */
static bool begin(struct mr_piece *p, const uint8_t *data, size_t size)
{
	if (size < MR_FRAME_HEAD || data[0] != MR_FRAME_BODY) return false;
	uint32_t payload = mr_get32(data + 3);
	if (payload < MR_PIECE_LEAST) return false;
	p->left = payload;
	p->channel = mr_get16(data + 1);
	return true;
}

struct mr_frame mr_piece_placed(struct mr_piece *p, const void *data, size_t size)
{
	p->left -= (uint32_t)size;
	return (struct mr_frame){.type = MR_FRAME_BODY,
		.channel = p->channel,
		.size = (uint32_t)size,
		.payload = data};
}

static enum mr_status next(struct mr_piece *p, const uint8_t *data, size_t size,
	struct mr_frame *out, size_t *used, size_t *want, mr_error *error)
{
	size_t left = p->left;
	*used = 0;
	*want = left + 1;
	if (size > left && data[left] != MR_FRAME_END) return mr_frame_unended(error);
	size_t n = size > left ? left : size < left ? size : left - 1;
	if (!n) return MR_OK;
	*out = mr_piece_placed(p, data, n);
	*used = n + (size > left);
	*want = (size_t)p->left + 1;
	return MR_OK;
}

enum mr_status mr_piece_frame(struct mr_piece *p, const struct mr_guard *guard, const uint8_t *data,
	size_t size, struct mr_frame *out, size_t *used, size_t *want, mr_error *error)
{
	if (p->left) return next(p, data, size, out, used, want, error);
	enum mr_status st = mr_frame_next(guard, data, size, out, used, want, error);
	if (st != MR_OK || *used || !begin(p, data, size)) return st;
	*out = (struct mr_frame){0};
	*used = MR_FRAME_HEAD;
	return MR_OK;
}
