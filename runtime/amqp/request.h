/* request: what a host asks of a channel, and how that reads as an AMQP method.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_AMQP_REQUEST_H
#define MR_AMQP_REQUEST_H

#include "base/clock.h"
#include "codec/method.h"

struct mr_publish {
	mr_slice exchange, routing_key, properties, body;
	uint64_t number; /* of confirm mode, 0 outside */
	int flags;       /* MR_MANDATORY */
	uint32_t epoch;
	mr_msec deadline;
};

/* Fills `method` (borrowing the request's strings) and returns the id of the method that answers it,
 * 0 for an operation that is unknown. */
uint32_t mr_request_method(const mr_request *request, struct mr_method *method);
/* What its answer carries: the consumer's tag, the queue's name as the broker has it (in `name`). Empty: the
 * broker picks it, or the answer carries nothing. */
mr_slice mr_request_key(const mr_request *request, char name[256]);

#endif
