/* settle: acks, nacks, rejects and recover of what a channel was given.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_SETTLE_H
#define MR_BROKER_CLIENT_SETTLE_H

#include "broker/client/channel.h"
#include "codec/client_method.h"

enum mr_status mr_settle_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
/* Settles the tags of ch->chore. False: there are more than the turn has room for. */
bool mr_settle_go_on(struct mr_broker_channel *ch);
/* A transaction is undone: what it settled is unsettled again. */
void mr_settle_unstage(struct mr_broker_channel *ch);

#endif
