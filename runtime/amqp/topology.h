/* topology: what the program has declared, bound and consumed, so that it can be made again.
 * SPDX-License-Identifier: MIT
 * Pure. One for each connection. Records what succeeded, in that order: of the declares of one name the
 * last one, at the place of the first. What the program removed, or what the broker removes with it,
 * is forgotten. Nothing here takes longer because there is more of it, but for walks of all. */
#ifndef MR_AMQP_TOPOLOGY_H
#define MR_AMQP_TOPOLOGY_H

#include "base/bins.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "base/status.h"
#include "base/value.h"

struct mr_place; /* a queue or an exchange that records speak of */

struct mr_record { /* a declare, bind or consume that succeeded */
	struct mr_node node;
	struct mr_bin_node by_id, by_key; /* see records.h */
	struct mr_bin_node by_number;     /* a consumer */
	struct mr_node in_place;          /* a binding into it, a consumer of it */
	struct mr_node in_source;         /* a binding out of it; a consumer in its channel */
	struct mr_place *place, *source;
	uint64_t id;          /* never given again */
	uint16_t channel;     /* it was asked on */
	bool server_named;    /* a queue whose name the broker gave */
	bool cancelled;       /* a consumer that the broker cancelled, to be asked for again */
	uint32_t made_in;     /* the plan that made it again last */
	uint8_t costs;        /* connections in a row that ended with it */
	mr_error *blame;      /* why the last of them did; NULL: none did, or no memory */
	mr_request request;   /* its strings lie behind it; `arguments` is its own */
	char strings[3][256]; /* name, extra, routing key; NUL-terminated */
};

struct mr_channel_record {
	uint16_t number;
	uint32_t epoch;
	bool broken; /* the broker closed it, and it is to come back */
	bool slow;   /* the plan under way has put its steps behind those of others */
	bool probes; /* a consumer failed on it: the queues of others are looked for first */
	bool has_qos, has_global_qos, confirming, transacting;
	uint32_t prefetch, global_prefetch;
	struct mr_node consumers; /* of mr_record, by in_source */
	char last_queue[256];     /* what an empty queue name means */
};

struct mr_topology {
	struct mr_node records; /* of mr_record */
	struct mr_map channels; /* of mr_channel_record, by number */
	struct mr_bins places, ids_of, keys, consumers;
	uint64_t ids;
};

void mr_topology_init(struct mr_topology *t);
void mr_topology_fini(struct mr_topology *t);

/* A channel that is open. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_channel(struct mr_topology *t, uint16_t number, uint32_t epoch);
struct mr_channel_record *mr_topology_channel_of(const struct mr_topology *t, uint16_t number);
/* The program closed it: its consumers go, and queues that live by them. */
void mr_topology_channel_closed(struct mr_topology *t, uint16_t number);

/* A request that succeeded on a channel; `name` is the answer's: the queue's or the consumer's.
 * MR_OK or MR_NO_MEMORY. */
enum mr_status mr_topology_note(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name);
/* The broker cancelled a consumer: it stays, marked. NULL: it is not known. */
struct mr_record *mr_topology_cancelled(struct mr_topology *t, uint32_t consumer);
struct mr_record *mr_topology_consumer(struct mr_topology *t, uint32_t consumer);
struct mr_record *mr_topology_record(const struct mr_topology *t,
	uint64_t id); /* NULL: it has gone */
bool mr_topology_has_consumers(const struct mr_topology *t, uint16_t channel);
/* A queue that the broker named has another name now: bindings and consumers follow. */
void mr_topology_rename(struct mr_topology *t, const char *old, mr_slice name);
/* Takes over what another connection has declared and bound, in its order. */
void mr_topology_inherit(struct mr_topology *t, struct mr_topology *from);
/* The program wants a consumer no more: it goes, and an auto-delete queue with the last one. */
void mr_topology_cancel(struct mr_topology *t, struct mr_record *consumer);
void mr_topology_forget(struct mr_topology *t, struct mr_record *record);
/* In this plan the queue or exchange of a declare comes later than others expect; is a record one of
 * those? */
void mr_topology_await(const struct mr_record *record, uint32_t plan);
bool mr_topology_awaits(const struct mr_record *record, uint32_t plan);
/* The broker refused the record, in these words: those that need the same queue or exchange need not be
 * asked for in this plan. What is missing: "queue" or "exchange", and its name; NULL: nothing. */
void mr_topology_missed(const struct mr_record *record, uint32_t plan, const char *text);
void mr_topology_found(const struct mr_record *record); /* it is there */
const char *mr_topology_missing(const struct mr_record *record, uint32_t plan, const char **name);
/* Walks the records of an operation in order; start with NULL. */
struct mr_record *mr_topology_next(const struct mr_topology *t, int operation,
	const struct mr_record *after);
/* Walks the consumers of a channel, or of a queue; likewise. */
struct mr_record *mr_topology_next_on(const struct mr_topology *t, uint16_t channel,
	const struct mr_record *after);
struct mr_record *mr_topology_next_of(const struct mr_topology *t, mr_slice queue,
	const struct mr_record *after);

#endif
