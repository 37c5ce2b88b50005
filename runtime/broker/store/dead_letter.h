/* dead_letter: sends messages that expired, were rejected or did not fit to dead letter exchanges.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_DEAD_LETTER_H
#define MR_BROKER_STORE_DEAD_LETTER_H

#include "broker/store/queue.h"

/* Sends the waiting dead letters (mr_queue_drop), and those that this causes, until the turn is
 * over. */
void mr_dead_letter_send(struct mr_store *s);
/* *gives* what becomes of a message that expires in this queue, for one that keeps no messages here. NULL
 * when out of memory. */
struct mr_message *mr_dead_letter_expired(const struct mr_queue *q, const struct mr_message *m);
static inline void mr_dead_letter_bury(struct mr_store *s)
{
	if (s->letter || !mr_list_is_empty(&s->dying)) mr_dead_letter_send(s);
}

#endif
