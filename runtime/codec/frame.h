/* frame: finds frames in received bytes, in place, and writes all frames except methods.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_CODEC_FRAME_H
#define MR_CODEC_FRAME_H

#include "base/buffer.h"
#include "codec/guard.h"

#define MR_FRAME_END 0xCE
#define MR_FRAME_OVERHEAD 8 /* MR_FRAME_HEAD and the end octet */

/* Finds the first frame of `data`. MR_OK and *used > 0: `out` borrows it; MR_OK and *used == 0:
 * more bytes are needed, at least *want in total; else the guard's error, or MR_FRAME_ERROR if the
 * end octet is wrong. */
enum mr_status mr_frame_next(const struct mr_guard *guard, const uint8_t *data, size_t size,
	struct mr_frame *out, size_t *used, size_t *want, mr_error *error);
enum mr_status mr_frame_unended(mr_error *error); /* the error of a frame without its last byte */
/* Checks the first bytes from a peer. MR_OK: may be AMQP (or too few bytes to decide);
 * MR_PROTOCOL_MISMATCH: `error` names the protocol: another AMQP version ("AMQP" header, with the
 * version), TLS, HTTP, SSH, text. */
enum mr_status mr_frame_sniff(const uint8_t *data, size_t size, mr_error *error);
/* Appends a content header frame and as many body frames as frame_max requires. `properties` are
 * the encoded property flags and fields. An empty body has no body frame. MR_BAD_ARGUMENT: the
 * properties do not fit into one frame; MR_NO_MEMORY. On failure nothing is appended. */
enum mr_status mr_frame_put_content(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	mr_slice body, uint32_t frame_max);
/* The same, for a broker: properties over frame_max are sent in one frame nevertheless. */
enum mr_status mr_frame_put_letter(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	mr_slice body, uint32_t frame_max);
/* Its parts, for a body that is not copied: the header frame, as above, then the head and the end of
 * each body frame, for which there must be room: all of them need mr_frame_content_room. */
size_t mr_frame_content_room(mr_slice properties, size_t frames);
size_t mr_frame_count(size_t body, uint32_t frame_max); /* frames of a body */
enum mr_status mr_frame_put_header(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	uint64_t body_size, uint32_t frame_max);
void mr_frame_begin_body(struct mr_buffer *out, uint16_t channel, size_t size);
void mr_frame_end_body(struct mr_buffer *out);
enum mr_status mr_frame_put_heartbeat(struct mr_buffer *out);
enum mr_status mr_frame_put_protocol_header(struct mr_buffer *out);

#endif
