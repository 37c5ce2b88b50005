/* piece: takes a large body frame in pieces, as its bytes come.
 * SPDX-License-Identifier: MIT
 * Pure. Several body frames mean the same as a long one, so its bytes need not wait for the rest,
 * and can be read into their message. The last byte waits for the end of the frame: no message is
 * whole before its frame is known to be well-formed. */
#ifndef MR_AMQP_PIECE_H
#define MR_AMQP_PIECE_H

#include <stdbool.h>

#include "base/status.h"
#include "codec/frame.h"

#define MR_PIECE_LEAST (16 * 1024) /* bytes of a frame: smaller ones come whole */

struct mr_piece {      /* zeroed: no frame is taken in pieces */
	uint32_t left; /* bytes of the frame's payload that have not been taken */
	uint16_t channel;
};

/* `data` begins with a frame that is not whole. True: it is taken in pieces. Its head (MR_FRAME_HEAD
 * bytes) is used: *out is a body frame of the whole size, without payload. */
bool mr_piece_begin(struct mr_piece *p, const uint8_t *data, size_t size, struct mr_frame *out);
/* The next piece, as a body frame of its own; as mr_frame_next. MR_FRAME_ERROR (501). */
enum mr_status mr_piece_next(struct mr_piece *p, const uint8_t *data, size_t size,
	struct mr_frame *out, size_t *used, size_t *want, mr_error *error);

#endif
