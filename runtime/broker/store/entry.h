/* entry: a message's place in a queue.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_ENTRY_H
#define MR_BROKER_STORE_ENTRY_H

#include "broker/store/store.h"

struct mr_taken;

enum mr_death { MR_DEATH_EXPIRED, MR_DEATH_REJECTED, MR_DEATH_MAXLEN, MR_DEATH_DELIVERIES };

struct mr_entry {
	struct mr_node node;
	struct mr_message *message;
	uint64_t position;     /* grows in the order of arrival; a requeue keeps it */
	mr_msec expires;       /* MR_NEVER: it does not */
	struct mr_queue *from; /* set while it waits to be dead-lettered */
	uint8_t level;         /* of priority */
	uint8_t why;           /* enum mr_death, set like `from` */
	bool redelivered;
	uint32_t returns; /* how often it came back unsettled; counted where there is a limit */
	struct mr_taken *taken; /* of a message of a backing; NULL: of this store */
};

/* Frees an entry that belongs to no queue any more, at once or in a later turn. */
void mr_entry_discard(struct mr_store *s, struct mr_entry *e);
void mr_entry_sweep(struct mr_store *s); /* frees waiting entries until the turn is over */

#endif
