/* channel_requests: the host's requests and publishes on an open channel.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_CHANNEL_REQUESTS_H
#define MR_AMQP_CHANNEL_REQUESTS_H

#include "amqp/channel_state.h"
#include "amqp/request.h"

void mr_amqp_channel_request(struct mr_amqp_channel *ch, uint64_t token, const mr_request *request,
	mr_msec deadline);
/* A success takes the publish's block. */
enum mr_status mr_amqp_channel_publish(struct mr_amqp_channel *ch, const struct mr_publish *publish,
	mr_error *error);

#endif
