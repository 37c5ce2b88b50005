/* dead_letter: what becomes of a message that expired, was rejected or did not fit.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_DEAD_LETTER_H
#define MR_BROKER_STORE_DEAD_LETTER_H

#include "broker/store/vhost.h"

enum mr_death { MR_DEATH_EXPIRED, MR_DEATH_REJECTED, MR_DEATH_MAXLEN };

/* Takes an entry that was taken from its queue: dead-letters its message where the queue says so, else
 * drops it. While a message is being routed the letter waits for mr_dead_letter_bury. */
void mr_dead_letter_die(struct mr_queue *q, struct mr_entry *e, enum mr_death why);
/* The same for a message that a full queue rejected (reject-publish-dlx). */
void mr_dead_letter_die_unborn(struct mr_queue *q, struct mr_message *m);
/* Sends the dead letters that wait, and those that this makes. */
void mr_dead_letter_bury(struct mr_broker *b);

#endif
