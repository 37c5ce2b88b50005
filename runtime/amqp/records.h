/* records: the records of a topology, and their indexes.
 * SPDX-License-Identifier: MIT
 * Pure; a part of topology. A place is a queue or an exchange by name, whether or not the program
 * declared it; it lists its bindings and consumers. It is freed with the last record that refers to
 * it. */
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
	struct mr_bin_node by_id, by_key; /* in indexes */
	struct mr_bin_node by_number;     /* in an index: a consumer */
	struct mr_node in_place;          /* a binding into a place, a consumer of a queue */
	struct mr_node in_source;         /* a binding out of a place; a consumer of a channel */
	struct mr_place *place, *source;
	uint64_t id;          /* never reused */
	uint16_t channel;     /* the channel of the request */
	bool server_named;    /* a queue that the broker named */
	bool cancelled;       /* a consumer that the broker cancelled and recovery must restore */
	bool is_counted;      /* a consumer that the broker's answers to a declare count */
	uint32_t made_in;     /* the last plan that restored it */
	uint8_t costs;        /* consecutive connections that ended because of it */
	bool is_suspect;      /* it, or another one requested at the same time, ended one */
	mr_error *blame;      /* why the last of them ended; NULL: none did, or no memory */
	mr_request request;   /* its strings are in `strings`; it owns `arguments` */
	char strings[3][256]; /* name, extra, routing key; NUL-terminated */
};

struct mr_channel_record {
	uint16_t number;
	uint32_t epoch;
	bool broken; /* the broker closed it, and recovery must restore it */
	/* The plan in which a consumer of it failed: the queues of the others are probed first. */
	uint32_t probes_in;
	bool has_qos, has_global_qos, confirming, transacting;
	uint32_t prefetch, global_prefetch;
	struct mr_node consumers; /* of mr_record, by in_source */
	char last_queue[256];     /* the meaning of an empty queue name */
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
	struct mr_node into;        /* bindings with this destination */
	struct mr_node out_of;      /* bindings with this source (an exchange) */
	struct mr_node consumers;   /* of a queue */
	bool is_queue;
	uint32_t awaited_in; /* the plan that has yet to declare it */
	uint32_t missing_in; /* the plan in which the broker reported that it does not exist */
	char name[];         /* NUL-terminated */
};

/* Appends a record. `extra` is a binding's source, or a consumer's tag. MR_NO_MEMORY. */
enum mr_status mr_record_add(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name, mr_slice extra);
/* Replaces the recorded declare by this one. MR_NO_MEMORY: nothing changed. */
enum mr_status mr_record_replace(struct mr_record *record, uint16_t channel,
	const mr_request *request);
/* Renames the record's object; false: no memory, and the record was freed. */
bool mr_record_rename(struct mr_topology *t, struct mr_record *record, mr_slice name);
/* Takes over a record from another topology; false: it exists here already, and was freed. */
bool mr_record_adopt(struct mr_topology *t, struct mr_record *record);
/* Removes a record from all indexes and from `records`. */
void mr_record_unlist(struct mr_topology *t, struct mr_record *record);

struct mr_place *mr_record_find_place(const struct mr_topology *t, bool is_queue, mr_slice name);
/* The binding with this operation, destination, source, key and arguments. */
struct mr_record *mr_record_binding(const struct mr_topology *t, int operation, mr_slice name,
	const mr_request *request);
struct mr_record *mr_record_tagged(const struct mr_topology *t, uint16_t channel, mr_slice tag);

struct mr_channel_record *mr_record_of_channel(const struct mr_topology *t, uint16_t number);
struct mr_record *mr_record_of_consumer(struct mr_topology *t, uint32_t consumer);
struct mr_record *mr_record_by_id(const struct mr_topology *t,
	uint64_t id); /* NULL: it was removed */
void mr_record_forget(struct mr_topology *t, struct mr_record *record);
/* Notes that this plan has yet to declare the queue or exchange of a record (0: it has done so);
 * returns whether a record, other than a declare, needs one that is awaited. */
void mr_record_await(const struct mr_record *record, uint32_t plan);
bool mr_record_awaits(const struct mr_record *record, uint32_t plan);
/* The broker refused the record with this text: records that need the same missing queue or
 * exchange need not be requested in this plan. mr_record_missing: "queue" or "exchange", and its
 * name; NULL: nothing is missing since that plan. */
void mr_record_missed(const struct mr_record *record, uint32_t plan, const char *text);
void mr_record_found(const struct mr_record *record); /* its object exists */
const char *mr_record_missing(const struct mr_record *record, uint32_t since, const char **name);

#endif
