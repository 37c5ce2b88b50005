/* declare: the methods that declare, bind and delete exchanges and queues.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_DECLARE_H
#define MR_BROKER_CLIENT_DECLARE_H

#include "broker/client/channel.h"
#include "codec/client_method.h"

enum mr_status mr_declare_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);

#endif
