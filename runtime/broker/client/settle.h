/* settle: acks, nacks, rejects and recover of a channel's deliveries.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_SETTLE_H
#define MR_BROKER_CLIENT_SETTLE_H

#include "broker/client/channel.h"
#include "codec/client_method.h"

enum mr_status mr_settle_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
/* Settles the tags of ch->chore. False: the turn ended before the last one. */
bool mr_settle_go_on(struct mr_broker_channel *ch);
/* A transaction is rolled back: undoes its settles. */
void mr_settle_unstage(struct mr_broker_channel *ch);

#endif
