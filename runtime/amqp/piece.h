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

/* As mr_frame_next, but the pieces of a large body frame come one by one, each as a body frame; its
 * head comes before them, with type 0. */
enum mr_status mr_piece_frame(struct mr_piece *p, const struct mr_guard *guard, const uint8_t *data,
	size_t size, struct mr_frame *out, size_t *used, size_t *want, mr_error *error);
/* A piece of `size` bytes, less than are left, that lies at `data` already. */
struct mr_frame mr_piece_placed(struct mr_piece *p, const void *data, size_t size);

#endif
