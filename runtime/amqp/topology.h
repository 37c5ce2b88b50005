/* topology: records what the program has declared, bound and consumed, for recovery.
 * SPDX-License-Identifier: MIT
 * Pure. One for each connection. Records successful requests, in order; of several declares of one
 * name it keeps the last one, at the place of the first. Objects that the program deletes, and
 * those that the broker deletes with them, are removed. All calls except iterations take constant
 * time. */
#ifndef MR_AMQP_TOPOLOGY_H
#define MR_AMQP_TOPOLOGY_H

#include "amqp/records.h"

void mr_topology_init(struct mr_topology *t);
void mr_topology_fini(struct mr_topology *t);

/* Records an open channel. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_channel(struct mr_topology *t, uint16_t number, uint32_t epoch);
/* The program closed the channel: removes its consumers, and queues that are deleted with them. */
void mr_topology_channel_closed(struct mr_topology *t, uint16_t number);

/* Records a request that succeeded; `name` is from the answer: the queue's name or the consumer's
 * tag. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_note(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name);
/* The broker cancelled a consumer: marks its record. NULL: it is unknown. */
struct mr_record *mr_topology_cancelled(struct mr_topology *t, uint32_t consumer);
bool mr_topology_has_consumers(const struct mr_topology *t, uint16_t channel);
/* A queue that the broker named has a new name: updates its bindings and consumers, too. */
void mr_topology_rename(struct mr_topology *t, const char *old, mr_slice name);
/* Takes over the records of another connection, in order. */
void mr_topology_inherit(struct mr_topology *t, struct mr_topology *from);
/* The program cancelled a consumer: removes it, and an auto-delete queue with its last consumer. */
void mr_topology_cancel(struct mr_topology *t, struct mr_record *consumer);
/* Iterates over the records of an operation in order; start with NULL. */
struct mr_record *mr_topology_next(const struct mr_topology *t, int operation,
	const struct mr_record *after);
/* The same for the consumers of a channel, or of a queue. */
struct mr_record *mr_topology_next_on(const struct mr_topology *t, uint16_t channel,
	const struct mr_record *after);
struct mr_record *mr_topology_next_of(const struct mr_topology *t, mr_slice queue,
	const struct mr_record *after);

#endif
