/* consumer: a client's consumer: receives from a queue and writes to its channel.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_CONSUMER_H
#define MR_BROKER_CLIENT_CONSUMER_H

#include "broker/client/channel.h"
#include "broker/store/receiver.h"

struct mr_consumer {
	struct mr_receiver receiver; /* first */
	struct mr_node at_channel;
	struct mr_broker_channel *channel;
	struct mr_store *store;
	char *tag;
	uint32_t prefetch; /* 0: no limit */
	uint32_t unacked;  /* its unsettled deliveries; it is freed when it is gone and this is 0 */
	bool no_ack;
	bool gone;
};

struct mr_consume {
	mr_slice tag;
	int64_t priority;
	uint32_t prefetch;
	bool no_ack, exclusive;
};

/* Adds a consumer; its deliveries begin with the next mr_pump. NULL when out of memory. */
struct mr_consumer *mr_consumer_new(struct mr_broker_channel *channel, struct mr_queue *queue,
	const struct mr_consume *how);
/* Removes it from queue and channel. An auto-delete queue is deleted with its last consumer. */
void mr_consumer_end(struct mr_consumer *c);
struct mr_consumer *mr_consumer_find(const struct mr_broker_channel *ch, mr_slice tag);
/* The channel can take more deliveries: serves its consumers. */
void mr_consumer_serve(struct mr_broker_channel *ch);
/* One of its deliveries was settled. */
void mr_consumer_settled(struct mr_consumer *c);

#endif
