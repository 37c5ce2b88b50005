/* there: methods whose answer the store's backing gives.
 * SPDX-License-Identifier: MIT
 * Each has the channel wait for it. MR_OK or MR_NO_MEMORY. */
#ifndef MR_BROKER_CLIENT_THERE_H
#define MR_BROKER_CLIENT_THERE_H

#include "broker/client/await.h"
#include "codec/client_method.h"

/* A binding of a queue is made, or removed. */
enum mr_status mr_there_bind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	const struct mr_exchange *source, struct mr_queue *q, mr_slice key, bool made);
/* Answers with `ok` and the number of messages. */
enum mr_status mr_there_count(struct mr_broker_channel *ch, const struct mr_method *ok,
	struct mr_queue *q);
/* Removes a queue's messages, and with `whole` all of it. `answer` 0: none is sent. */
enum mr_status mr_there_purge(struct mr_broker_channel *ch, const struct mr_client_method *m,
	struct mr_queue *q, uint32_t answer, bool whole);
/* `heard` finds the message in the queue, if there was one. */
enum mr_status mr_there_get(struct mr_broker_channel *ch, struct mr_queue *q, bool no_ack,
	void (*heard)(struct mr_broker_channel *ch, struct mr_await *a));

#endif
