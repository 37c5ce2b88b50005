/* message: what becomes of a message that the broker sends on a channel: delivered, got, or returned.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_MESSAGE_H
#define MR_AMQP_MESSAGE_H

#include "amqp/channel_state.h"

/* A header or body frame of this channel. What is returned beside MR_OK is the end of the channel, or of the
 * connection. */
enum mr_status mr_message_frame(struct mr_amqp_channel *ch, const struct mr_frame *frame,
	mr_error *error);

#endif
