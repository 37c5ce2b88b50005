/* channel_frame: the frames that come on a channel, and whose methods they are.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_CHANNEL_FRAME_H
#define MR_BROKER_CLIENT_CHANNEL_FRAME_H

#include "broker/client/channel.h"
#include "codec/frame.h"

/* MR_OK, or an error whose scope says what ends; *method is what it is about. */
enum mr_status mr_channel_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *method, mr_error *error);

#endif
