/* records: the records of a topology, and the ways to find them.
 * SPDX-License-Identifier: MIT
 * Pure; a part of topology. A place is a queue or an exchange by name, whether or not the program declared
 * it: bindings and consumers hang on theirs. It goes with the last record that speaks of it. */
#ifndef MR_AMQP_RECORDS_H
#define MR_AMQP_RECORDS_H

#include "base/bins.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "base/status.h"
#include "base/value.h"

struct mr_record { /* a declare, bind or consume that succeeded */
	struct mr_node node;
	struct mr_bin_node by_id, by_key; /* ways to find it */
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
	bool broken;      /* the broker closed it, and it is to come back */
	uint32_t slow_in; /* the plan that has put its steps behind those of others */
	uint32_t
		probes_in; /* the plan in which a consumer failed on it: the queues of others are looked
	                       for first */
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

enum { MR_RECORD_NAME, MR_RECORD_EXTRA, MR_RECORD_KEY };

struct mr_place {
	struct mr_bin_node by_name;
	struct mr_record *declared; /* NULL: not by this program */
	struct mr_node into;        /* bindings whose destination it is */
	struct mr_node out_of;      /* bindings whose source it is: of exchanges */
	struct mr_node consumers;   /* of queues */
	bool is_queue;
	uint32_t awaited_in; /* the plan in which it comes late */
	uint32_t missing_in; /* the plan in which the broker said that there is none */
	char name[];         /* NUL-terminated */
};

/* Adds a record at the end. Of bindings `extra` is the source; of consumers the tag. MR_NO_MEMORY. */
enum mr_status mr_record_add(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name, mr_slice extra);
/* The declare of before becomes this one. MR_NO_MEMORY: it stays as it was. */
enum mr_status mr_record_replace(struct mr_record *record, uint16_t channel,
	const mr_request *request);
/* Another name for what it speaks of; false: no memory, and the record has gone. */
bool mr_record_rename(struct mr_topology *t, struct mr_record *record, mr_slice name);
/* Takes a record over from another topology; false: it is known here already, and was freed. */
bool mr_record_adopt(struct mr_topology *t, struct mr_record *record);
/* Out of every way to find it, and no more in `records`. */
void mr_record_unlist(struct mr_topology *t, struct mr_record *record);

struct mr_place *mr_record_find_place(const struct mr_topology *t, bool is_queue, mr_slice name);
/* The binding of this operation, destination, source, key and arguments. */
struct mr_record *mr_record_binding(const struct mr_topology *t, int operation, mr_slice name,
	const mr_request *request);
struct mr_record *mr_record_tagged(const struct mr_topology *t, uint16_t channel, mr_slice tag);

struct mr_channel_record *mr_record_of_channel(const struct mr_topology *t, uint16_t number);
struct mr_record *mr_record_of_consumer(struct mr_topology *t, uint32_t consumer);
struct mr_record *mr_record_by_id(const struct mr_topology *t, uint64_t id); /* NULL: it has gone */
void mr_record_forget(struct mr_topology *t, struct mr_record *record);
/* In this plan the queue or exchange of a declare comes later than others expect; is a record one of
 * those? */
void mr_record_await(const struct mr_record *record, uint32_t plan);
bool mr_record_awaits(const struct mr_record *record, uint32_t plan);
/* The broker refused the record, in these words: those that need the same queue or exchange need not be
 * asked for in this plan. What is missing: "queue" or "exchange", and its name; NULL: nothing. */
void mr_record_missed(const struct mr_record *record, uint32_t plan, const char *text);
void mr_record_found(const struct mr_record *record); /* it is there */
const char *mr_record_missing(const struct mr_record *record, uint32_t plan, const char **name);

#endif
