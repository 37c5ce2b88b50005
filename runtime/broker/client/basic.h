/* basic: consuming, getting, prefetch.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_BASIC_H
#define MR_BROKER_CLIENT_BASIC_H

#include "broker/client/channel.h"
#include "codec/client_method.h"

enum mr_status mr_basic_qos(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
enum mr_status mr_basic_consume(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);
enum mr_status mr_basic_cancel(struct mr_broker_channel *ch, const struct mr_client_method *m);
enum mr_status mr_basic_get(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error);

#endif
