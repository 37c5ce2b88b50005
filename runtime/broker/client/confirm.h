/* confirm: what a publisher is told of its messages: acks, nacks and returns.
 * SPDX-License-Identifier: MIT
 * Pure. Acks wait, so that one is for many. */
#ifndef MR_BROKER_CLIENT_CONFIRM_H
#define MR_BROKER_CLIENT_CONFIRM_H

#include "broker/client/channel.h"

/* Confirms the channel's next publish: an ack if it was taken. */
void mr_confirm_next(struct mr_broker_channel *ch, bool taken);
/* Confirms an earlier one, which the backing has taken or not; sent at the end of the turn. */
void mr_confirm_later(struct mr_broker_channel *ch, uint64_t tag, bool taken);
void mr_confirm_flush(struct mr_broker_channel *ch); /* sends the acks that wait */
void mr_confirm_return(struct mr_broker_channel *ch, const struct mr_message *m); /* basic.return */

#endif
