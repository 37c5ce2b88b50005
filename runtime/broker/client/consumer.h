/* consumer: who waits at a queue, and who gets the next message.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_CONSUMER_H
#define MR_BROKER_CLIENT_CONSUMER_H

#include "broker/store/queue.h"

struct mr_broker_channel;

struct mr_consumer {
	struct mr_node at_queue, at_channel;
	struct mr_broker_channel *channel;
	struct mr_queue *queue;
	struct mr_broker *broker;
	char *tag;
	int64_t priority;
	uint32_t prefetch; /* 0: no limit */
	uint32_t unacked;  /* of its deliveries; it is freed when it is gone and this is 0 */
	bool no_ack, exclusive;
	bool gone;
};

struct mr_consume {
	mr_slice tag;
	int64_t priority;
	uint32_t prefetch;
	bool no_ack, exclusive;
};

/* Adds a consumer; its deliveries begin with the next mr_vhost_queue_moved. NULL when out of memory. */
struct mr_consumer *mr_consumer_new(struct mr_broker_channel *channel, struct mr_queue *queue,
	const struct mr_consume *how);
/* Takes it from queue and channel. An auto-delete queue whose last it was goes. */
void mr_consumer_end(struct mr_consumer *c);
/* One of its deliveries was settled. */
void mr_consumer_settled(struct mr_consumer *c);
/* Delivers `most` of them, or all, while there are messages and consumers that may have them; what has expired dies. `is_fresh`: the
 * head has just come, and may be had by who waits for it even if it lives for no time. */
void mr_queue_pump(struct mr_queue *q, bool is_fresh, size_t most);

#endif
