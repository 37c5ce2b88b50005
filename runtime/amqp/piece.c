/* piece: see piece.h.
 * SPDX-License-Identifier: MIT */
#include "amqp/piece.h"

#include "codec/read.h"

bool mr_piece_begin(struct mr_piece *p, const uint8_t *data, size_t size, struct mr_frame *out)
{
	if (size < MR_FRAME_HEAD || data[0] != MR_FRAME_BODY) return false;
	uint32_t payload = mr_get32(data + 3);
	if (payload < MR_PIECE_LEAST) return false;
	p->left = payload;
	p->channel = mr_get16(data + 1);
	*out = (struct mr_frame){.type = MR_FRAME_BODY, .channel = p->channel, .size = payload};
	return true;
}

enum mr_status mr_piece_next(struct mr_piece *p, const uint8_t *data, size_t size,
	struct mr_frame *out, size_t *used, size_t *want, mr_error *error)
{
	size_t left = p->left;
	*used = 0;
	*want = 2; /* the last byte and the end; before that each byte helps */
	if (size > left && data[left] != MR_FRAME_END) return mr_frame_unended(error);
	size_t n = size > left ? left : size < left ? size : left - 1;
	if (!n) return MR_OK;
	p->left -= (uint32_t)n;
	*out = (struct mr_frame){.type = MR_FRAME_BODY,
		.channel = p->channel,
		.size = (uint32_t)n,
		.payload = data};
	*used = n + (size > left);
	return MR_OK;
}
