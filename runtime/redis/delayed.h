/* delayed: messages that Redis keeps until they are due.
 * SPDX-License-Identifier: MIT
 * In a sorted set of ours, "moonrabbit.delayed": kombu sees them when they have been moved to their queues. */
#ifndef MR_REDIS_DELAYED_H
#define MR_REDIS_DELAYED_H

#include "redis/state.h"

struct mr_delayed { /* where a message goes when it is due; `text` is its envelope */
	mr_slice exchange, key, text;
	int step; /* of its priority; -1: `exchange` is a channel, to which it is published */
};

void mr_delayed_init(struct mr_redis_store *r);
void mr_delayed_fini(struct mr_redis_store *r);
void mr_delayed_put(struct mr_redis_store *r, const struct mr_delayed *d, uint64_t ms,
	struct mr_promise *p);
void mr_delayed_move(struct mr_redis_store *r); /* moves those that are due */

#endif
