/* pump: puts messages into a queue, delivers them to receivers, drops expired and surplus ones.
 * SPDX-License-Identifier: MIT
 * Pure. Dropped messages wait for mr_dead_letter_bury. */
#ifndef MR_BROKER_STORE_PUMP_H
#define MR_BROKER_STORE_PUMP_H

#include "broker/store/queue.h"

/* Puts a message into the queue and lets it deliver. False: the full queue rejected it, or there
 * was no memory. */
bool mr_pump_in(struct mr_queue *q, struct mr_message *m);
/* Call it after any change that may let a queue deliver, expire or overflow. */
void mr_pump(struct mr_queue *q);
void mr_pump_few(struct mr_queue *q, size_t most); /* the same, with at most `most` deliveries */
void mr_pump_back(struct mr_queue *q);             /* after requeues: drops the surplus first */

#endif
