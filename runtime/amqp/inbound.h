/* inbound: what the broker's methods mean for a channel.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_INBOUND_H
#define MR_AMQP_INBOUND_H

#include "amqp/channel_state.h"

/* What is returned beside MR_OK is the end of the channel, or of the connection. */
enum mr_status mr_inbound_method(struct mr_amqp_channel *ch, const struct mr_method *method,
	mr_error *error);

#endif
