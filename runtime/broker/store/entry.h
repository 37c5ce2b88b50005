/* entry: a message's place in a queue.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_ENTRY_H
#define MR_BROKER_STORE_ENTRY_H

#include "broker/store/store.h"

enum mr_death { MR_DEATH_EXPIRED, MR_DEATH_REJECTED, MR_DEATH_MAXLEN };

struct mr_entry {
	struct mr_node node;
	struct mr_message *message;
	uint64_t position;     /* grows in the order of arrival; a requeue keeps it */
	mr_msec expires;       /* MR_NEVER: it does not */
	struct mr_queue *from; /* while it is dying */
	uint8_t level;         /* of priority */
	uint8_t why;           /* while it is dying: enum mr_death */
	bool redelivered;
};

/* Frees an entry that belongs to no queue any more, by and by. */
void mr_entry_discard(struct mr_store *s, struct mr_entry *e);
void mr_entry_sweep(struct mr_store *s); /* those that wait for it, as far as the turn goes */

#endif
