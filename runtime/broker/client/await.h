/* await: a channel that waits for an answer of the store's backing before its client is read on.
 * SPDX-License-Identifier: MIT
 * Without a backing nothing waits. */
#ifndef MR_BROKER_CLIENT_AWAIT_H
#define MR_BROKER_CLIENT_AWAIT_H

#include "broker/client/channel.h"
#include "broker/store/backing.h"
#include "codec/method.h"

struct mr_await {
	struct mr_promise promise;         /* first: pass it to the backing, last of all */
	struct mr_broker_channel *channel; /* NULL: it has ended */
	uint32_t failing;                  /* the method that a refusal names */
	struct mr_method answer; /* its count is the promise's and `here`; id 0: none is sent */
	/* Instead of sending the answer, if set: for an answer that needs more than a count. It may refuse by
	 * the promise's status and error. */
	void (*heard)(struct mr_broker_channel *ch, struct mr_await *a);
	struct mr_queue *queue; /* pinned while it waits; or NULL */
	bool no_ack;            /* of a get */
	size_t here;            /* messages of the queue that the backing does not know */
	char name[256];
};

/* *gives* it to the backing that tells the promise; NULL when out of memory. `q` may be NULL. */
struct mr_await *mr_await_begin(struct mr_broker_channel *ch, uint32_t failing, struct mr_queue *q);
void mr_await_abandon(struct mr_broker_channel *ch); /* the channel ends */

#endif
