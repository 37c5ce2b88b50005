/* hot: the methods of the message path by hand; all others go through rabbitmq-c.
 * SPDX-License-Identifier: MIT
 * Pure; private to method.c and its tests. Why, with figures: docs/decisions/0002. */
#ifndef MR_AMQP_HOT_H
#define MR_AMQP_HOT_H

#include "amqp/method.h"

/* Decodes basic.deliver and basic.ack. False: another method, or a malformed one; *out is untouched
 * and the codec has its say. */
bool mr_hot_decode(const struct mr_frame *frame, struct mr_method *out);
/* Appends basic.publish or basic.ack. MR_OK, MR_NO_MEMORY, or MR_BAD_ARGUMENT: another method or one
 * that does not fit; nothing was appended and the codec has its say. */
enum mr_status mr_hot_put(struct mr_buffer *out, uint16_t channel, const struct mr_method *method,
	uint32_t frame_max);

/* The same by rabbitmq-c, for every method: in method.c. Tests hold both against each other. */
enum mr_status mr_codec_decode(struct mr_codec *codec, const struct mr_frame *frame,
	struct mr_method *out, mr_error *error);
enum mr_status mr_codec_put(struct mr_buffer *out, uint16_t channel, const struct mr_method *method,
	uint32_t frame_max, mr_error *error);

#endif
