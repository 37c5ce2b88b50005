/* publish: a client's publishes: assembled from their frames, routed and confirmed.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_PUBLISH_H
#define MR_BROKER_CLIENT_PUBLISH_H

#include "broker/client/channel.h"
#include "codec/client_method.h"
#include "codec/frame.h"

/* basic.publish, and the frames that follow it. */
enum mr_status mr_publish_begin(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
enum mr_status mr_publish_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	mr_error *error);
void mr_publish_abandon(struct mr_broker_channel *ch); /* drops an incomplete publish */
/* confirm.select, and transactions. */
enum mr_status mr_publish_mode(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
/* Drops the publishes of a transaction. False: the turn ended before the last one. */
bool mr_publish_drop_staged(struct mr_broker_channel *ch);

#endif
