/* pledge: a publish that the store's backing has not confirmed yet.
 * SPDX-License-Identifier: MIT */
#ifndef MR_BROKER_CLIENT_PLEDGE_H
#define MR_BROKER_CLIENT_PLEDGE_H

#include "broker/client/channel.h"

/* Gives a complete message to the backing; takes it. Its confirm, or its return if it is mandatory and
 * reaches no queue, comes with the answer. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_pledge_publish(struct mr_broker_channel *ch, struct mr_message *m,
	bool mandatory);
/* Those that the backing has refused for now are given to it again, in their order. Until then publishers are
 * blocked (mr_broker.refusal). */
void mr_pledge_retry(struct mr_broker *b);
void mr_pledge_lose(struct mr_broker *b);             /* the backing is lost: nobody is told */
void mr_pledge_abandon(struct mr_broker_channel *ch); /* the channel ends */

#endif
