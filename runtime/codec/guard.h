/* guard: refuses what the codec must not see: sizes, types, channels, table depth.
 * SPDX-License-Identifier: MIT
 * Pure. Stands before every decode (see docs/architecture.md, "Codec facts"). */
#ifndef MR_CODEC_GUARD_H
#define MR_CODEC_GUARD_H

#include "base/slice.h"
#include "base/status.h"

#define MR_FRAME_HEAD 7       /* type, channel, size */
#define MR_FRAME_MIN_MAX 4096 /* AMQP 0-9-1 4.2.3: no peer may insist on less */

enum { MR_FRAME_METHOD = 1, MR_FRAME_HEADER = 2, MR_FRAME_BODY = 3, MR_FRAME_HEARTBEAT = 8 };

struct mr_frame { /* borrows the bytes it was found in */
	uint8_t type;
	uint16_t channel;
	uint32_t size;
	const uint8_t *payload;
};

/* What a content header may have, whatever frame_max is: AMQP cannot split one, and RabbitMQ sends those that
 * dead-lettering made longer than a frame as they are. */
#define MR_HEADER_FRAME_MAX (4u << 20)

struct mr_guard {           /* the limits now in force */
	uint32_t frame_max; /* negotiated; MR_FRAME_MIN_MAX * 32 before tune */
	uint16_t channel_max;
	uint32_t header_max; /* of a header frame, where it is over frame_max */
};

/* Judges the first 7 bytes, before the payload is awaited. MR_OK, or MR_FRAME_ERROR /
 * MR_CHANNEL_ERROR with the reason in `error` (code 501 or 504). */
enum mr_status mr_guard_head(const struct mr_guard *guard, const uint8_t head[MR_FRAME_HEAD],
	mr_error *error);
/* Is it a method that a broker sends to a client? */
bool mr_guard_may_come(uint32_t method);
/* Judges a whole frame: least sizes, class 60 of headers, and the methods a client may receive
 * (MR_COMMAND_INVALID, 503). */
enum mr_status mr_guard_frame(const struct mr_frame *frame, mr_error *error);
/* Walks an encoded table (with its 32-bit length) iteratively: lengths add up, types are known, keys
 * at most 255, depth at most MR_TABLE_DEPTH_MAX. Returns the bytes it takes, 0 when it is refused. */
size_t mr_guard_table(const uint8_t *data, size_t size);

#endif
