/* guard: refuses input that the codec cannot handle: sizes, types, channels, table depth.
 * SPDX-License-Identifier: MIT
 * Pure. Called before every decode (see docs/architecture.md, "Codec facts"). */
#ifndef MR_CODEC_GUARD_H
#define MR_CODEC_GUARD_H

#include "base/slice.h"
#include "base/status.h"

#define MR_FRAME_HEAD 7       /* type, channel, size */
#define MR_FRAME_MIN_MAX 4096 /* AMQP 0-9-1 4.2.3: no peer may insist on less */

enum { MR_FRAME_METHOD = 1, MR_FRAME_HEADER = 2, MR_FRAME_BODY = 3, MR_FRAME_HEARTBEAT = 8 };

struct mr_frame { /* borrows the received bytes */
	uint8_t type;
	uint16_t channel;
	uint32_t size;
	const uint8_t *payload;
};

/* The maximum size of a content header, whatever frame_max is: AMQP cannot split a header, and
 * RabbitMQ sends headers that dead-lettering made longer than a frame. */
#define MR_HEADER_FRAME_MAX (4u << 20)

struct mr_guard {           /* the current limits */
	uint32_t frame_max; /* negotiated; MR_FRAME_MIN_MAX * 32 before tune */
	uint16_t channel_max;
	uint32_t header_max; /* of a header frame, if it is over frame_max */
};

/* Checks the first 7 bytes, before the payload arrives. MR_OK, or MR_FRAME_ERROR / MR_CHANNEL_ERROR
 * with the reason in `error` (code 501 or 504). */
enum mr_status mr_guard_head(const struct mr_guard *guard, const uint8_t head[MR_FRAME_HEAD],
	mr_error *error);
/* True for a method that a broker sends to a client. */
bool mr_guard_may_come(uint32_t method);
/* Checks a complete frame: minimum sizes, class 60 of headers, and that a client may receive the
 * method (MR_COMMAND_INVALID, 503). */
enum mr_status mr_guard_frame(const struct mr_frame *frame, mr_error *error);
/* Checks an encoded table (with its 32-bit length) without recursion: lengths add up, types are
 * known, keys have at most 255 bytes, depth is at most MR_TABLE_DEPTH_MAX. Returns its size, 0 if
 * refused. */
size_t mr_guard_table(const uint8_t *data, size_t size);

#endif
