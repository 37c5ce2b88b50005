/* pending: the requests of a channel that wait for the broker's answer, and how each ends.
 * SPDX-License-Identifier: MIT
 * Pure. One MR_EV_DONE for each token, never two. */
#ifndef MR_AMQP_PENDING_H
#define MR_AMQP_PENDING_H

#include "amqp/channel.h"

/* Stands in a consumer's number from its request on: its deliveries arrive settled. */
#define MR_CONSUMER_NO_ACK 0x80000000u

struct mr_pending {
	struct mr_node node;
	uint64_t token;   /* 0: its time was up, the host was told; the answer still comes */
	uint32_t expects; /* the method that answers it */
	uint32_t consumer;
	mr_msec deadline;
};

enum mr_status mr_pending_add(struct mr_chan *ch, uint64_t token, uint32_t expects,
	uint32_t consumer, mr_msec deadline);
/* The request that `method` answers; NULL when it answers none. In the order of the requests, but
 * for consume and cancel, whose answers come from the queue's process and may be overtaken. */
struct mr_pending *mr_pending_find(struct mr_chan *ch, uint32_t method);
/* The same, taken from the list. */
struct mr_pending *mr_pending_take(struct mr_chan *ch, uint32_t method);
void mr_pending_free(struct mr_pending *p);
/* Ends all of them with `why`. */
void mr_pending_fail(struct mr_chan *ch, const mr_error *why);
void mr_pending_expire(struct mr_chan *ch, mr_msec now);
/* Tells that it went well; `reply` (may be NULL) is taken. */
void mr_pending_done(struct mr_chan *ch, uint64_t token, mr_reply *reply);

#endif
