/* spread: a message on its way into more queues than a turn has room for.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_SPREAD_H
#define MR_BROKER_STORE_SPREAD_H

#include "broker/store/vhost.h"

struct mr_spread {
	struct mr_message *message;
	size_t at, count;
	bool taken; /* no queue has rejected it so far */
	struct mr_queue *queues[];
};

/* *gives* what is left of a routing from its `at`th queue on. NULL when out of memory. */
struct mr_spread *mr_spread_new(struct mr_broker *b, struct mr_message *m, size_t at, bool taken);
/* False: there is more than the turn has room for. */
bool mr_spread_go_on(struct mr_broker *b, struct mr_spread *spread);
/* Frees it; returns whether all took it. */
bool mr_spread_end(struct mr_broker *b, struct mr_spread **spread);

#endif
