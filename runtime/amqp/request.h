/* request: a host's requests to a channel, and their translation into AMQP methods.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_AMQP_REQUEST_H
#define MR_AMQP_REQUEST_H

#include "base/clock.h"
#include "codec/method.h"

struct mr_publish {
	mr_slice exchange, routing_key, properties, body;
	uint64_t number; /* 0 outside confirm mode */
	int flags;       /* MR_MANDATORY */
	uint32_t epoch;
	mr_msec deadline;
	void *block; /* that the body lies in, and that may be kept until it is written; or NULL */
};

/* Fills `method` (borrowing the request's strings) and returns the id of the method that answers
 * it, 0 for an unknown operation. */
uint32_t mr_request_method(const mr_request *request, struct mr_method *method);
/* The key of its answer: the consumer's tag, or the queue's name as the broker stores it (in
 * `name`). Empty: the broker chooses it, or the answer has no key. */
mr_slice mr_request_key(const mr_request *request, char name[256]);

#endif
