/* inbound: handles the broker's methods for a channel.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_INBOUND_H
#define MR_AMQP_INBOUND_H

#include "amqp/channel_state.h"

/* A result other than MR_OK ends the channel, or the connection. */
enum mr_status mr_inbound_method(struct mr_amqp_channel *ch, const struct mr_method *method,
	mr_error *error);

#endif
