/* method: AMQP methods as one common struct, encoded and decoded by rabbitmq-c's codec.
 * SPDX-License-Identifier: MIT
 * Pure. The only users of rabbitmq-c are method.c, table.c and properties.c. */
#ifndef MR_CODEC_METHOD_H
#define MR_CODEC_METHOD_H

#include "base/buffer.h"
#include "codec/guard.h"
#include "codec/method_id.h"

struct mr_method { /* method_id.h lists the fields that each method uses; the others are zero */
	uint32_t id;
	uint32_t flags;
	uint64_t tag;
	uint32_t count;
	uint32_t consumers;
	uint32_t failing; /* in a close: the MR_METHOD(class, method) that caused it, or 0 */
	uint16_t code;
	uint16_t channel_max;
	uint16_t heartbeat;
	mr_slice name, other, key, text;
	mr_table *table; /* borrowed when encoding; *given* when a start is decoded */
};

struct mr_codec; /* the decoder's scratch memory; one per connection, never shared */
enum mr_status mr_codec_open(struct mr_codec **out);
void mr_codec_close(struct mr_codec *codec);
/* Decodes a method frame that the guard has accepted. Strings are borrowed from the frame.
 * MR_FRAME_ERROR (code 502): the codec refuses it; MR_PROTOCOL_MISMATCH: a start of another version
 * than 0-9; MR_NO_MEMORY. */
enum mr_status mr_method_decode(struct mr_codec *codec, const struct mr_frame *frame,
	struct mr_method *out, mr_error *error);
/* Appends one method frame. MR_BAD_ARGUMENT: a string over 255 bytes, a table that cannot be
 * encoded, or a frame over frame_max; then nothing was appended. MR_NO_MEMORY. */
enum mr_status mr_method_put(struct mr_buffer *out, uint16_t channel,
	const struct mr_method *method, uint32_t frame_max, mr_error *error);
const char *mr_method_name(uint32_t id); /* "queue.declare"; "unknown" for an unknown id */

#endif
