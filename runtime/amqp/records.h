/* records: the records of a topology, and the ways to find them.
 * SPDX-License-Identifier: MIT
 * Pure; a part of topology. A place is a queue or an exchange by name, whether or not the program declared
 * it: bindings and consumers hang on theirs. It goes with the last record that speaks of it. */
#ifndef MR_AMQP_RECORDS_H
#define MR_AMQP_RECORDS_H

#include "amqp/topology.h"

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

struct mr_place *mr_place_find(const struct mr_topology *t, bool is_queue, mr_slice name);
/* The binding of this operation, destination, source, key and arguments. */
struct mr_record *mr_record_binding(const struct mr_topology *t, int operation, mr_slice name,
	const mr_request *request);
struct mr_record *mr_record_tagged(const struct mr_topology *t, uint16_t channel, mr_slice tag);

#endif
