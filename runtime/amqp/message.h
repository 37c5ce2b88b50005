/* message: handles messages that the broker sends on a channel: deliveries, gets, returns.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_MESSAGE_H
#define MR_AMQP_MESSAGE_H

#include "amqp/channel_state.h"

/* A header or body frame of this channel. A result other than MR_OK ends the channel, or the
 * connection. */
enum mr_status mr_message_frame(struct mr_amqp_channel *ch, const struct mr_frame *frame,
	mr_error *error);

#endif
