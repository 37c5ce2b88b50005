/* topology: what the program has declared, bound and consumed, so that it can be made again.
 * SPDX-License-Identifier: MIT
 * Pure. One for each connection. Records what succeeded, in that order: of the declares of one name the
 * last one, at the place of the first. What the program removed, or what the broker removes with it,
 * is forgotten. Nothing here takes longer because there is more of it, but for walks of all. */
#ifndef MR_AMQP_TOPOLOGY_H
#define MR_AMQP_TOPOLOGY_H

#include "amqp/records.h"

void mr_topology_init(struct mr_topology *t);
void mr_topology_fini(struct mr_topology *t);

/* A channel that is open. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_channel(struct mr_topology *t, uint16_t number, uint32_t epoch);
/* The program closed it: its consumers go, and queues that live by them. */
void mr_topology_channel_closed(struct mr_topology *t, uint16_t number);

/* A request that succeeded on a channel; `name` is the answer's: the queue's or the consumer's.
 * MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_note(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name);
/* The broker cancelled a consumer: it stays, marked. NULL: it is not known. */
struct mr_record *mr_topology_cancelled(struct mr_topology *t, uint32_t consumer);
bool mr_topology_has_consumers(const struct mr_topology *t, uint16_t channel);
/* A queue that the broker named has another name now: bindings and consumers follow. */
void mr_topology_rename(struct mr_topology *t, const char *old, mr_slice name);
/* Takes over what another connection has declared and bound, in its order. */
void mr_topology_inherit(struct mr_topology *t, struct mr_topology *from);
/* The program wants a consumer no more: it goes, and an auto-delete queue with the last one. */
void mr_topology_cancel(struct mr_topology *t, struct mr_record *consumer);
/* Walks the records of an operation in order; start with NULL. */
struct mr_record *mr_topology_next(const struct mr_topology *t, int operation,
	const struct mr_record *after);
/* Walks the consumers of a channel, or of a queue; likewise. */
struct mr_record *mr_topology_next_on(const struct mr_topology *t, uint16_t channel,
	const struct mr_record *after);
struct mr_record *mr_topology_next_of(const struct mr_topology *t, mr_slice queue,
	const struct mr_record *after);

#endif
