/* backed: what a store with a backing does not do, each with its error.
 * SPDX-License-Identifier: MIT
 * docs/redis.md has the list. Without a backing all of them are MR_OK. */
#ifndef MR_BROKER_CLIENT_BACKED_H
#define MR_BROKER_CLIENT_BACKED_H

#include "broker/client/channel.h"

/* 406: a type or an argument of an exchange. */
enum mr_status mr_backed_check_exchange(const struct mr_broker_channel *ch, mr_slice name,
	mr_slice type, mr_slice arguments, mr_error *error);
/* 406: exchanges are not bound to exchanges. */
enum mr_status mr_backed_check_exchange_binding(const struct mr_broker_channel *ch,
	mr_error *error);
/* 406: an argument of a queue. */
enum mr_status mr_backed_check_queue(const struct mr_broker_channel *ch, mr_slice name,
	mr_slice arguments, mr_error *error);
/* 406: a property of a message, or its exchange. */
enum mr_status mr_backed_check_message(const struct mr_broker_channel *ch,
	const struct mr_message *m, mr_error *error);
/* 406: what an exchange routes to a queue that only delays would stay there. */
enum mr_status mr_backed_check_binding(const struct mr_broker_channel *ch, const struct mr_queue *q,
	mr_error *error);

#endif
