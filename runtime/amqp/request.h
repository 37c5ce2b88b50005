/* request: how a host's request reads as an AMQP method, and what the broker's methods mean for a
 * channel.
 * SPDX-License-Identifier: MIT
 * Pure; the other half of channel.c. */
#ifndef MR_AMQP_REQUEST_H
#define MR_AMQP_REQUEST_H

#include "amqp/channel.h"

/* Fills `method` (borrowing the request's strings) and returns the id of the method that answers it,
 * 0 for an operation that is unknown. */
uint32_t mr_request_method(const mr_request *request, struct mr_method *method);
/* What its answer carries: the consumer's tag, the queue's name as the broker has it (in `name`). Empty: the
 * broker picks it, or the answer carries nothing. */
mr_slice mr_request_key(const mr_request *request, char name[256]);
/* A whole message of deliver or get-ok: takes `delivery` and tells it. */
/* Counts and reports a message whose body was over the limit and so not kept. */
void mr_inbound_too_large(struct mr_amqp_channel *ch, mr_slice queue, const char *fate);
enum mr_status mr_inbound_delivery(struct mr_amqp_channel *ch, mr_delivery *delivery,
	mr_error *error);

#endif
