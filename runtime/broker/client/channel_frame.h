/* channel_frame: dispatches the frames of a channel.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_CHANNEL_FRAME_H
#define MR_BROKER_CLIENT_CHANNEL_FRAME_H

#include "broker/client/channel.h"
#include "codec/frame.h"

/* MR_OK, or an error; its scope says whether the channel or the connection ends; *method caused
 * it. */
enum mr_status mr_channel_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *method, mr_error *error);

#endif
