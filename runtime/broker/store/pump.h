/* pump: messages into a queue, and out of it: to receivers, or dropped when their time or the room is over.
 * SPDX-License-Identifier: MIT
 * Pure. What is dropped waits for mr_dead_letter_bury. */
#ifndef MR_BROKER_STORE_PUMP_H
#define MR_BROKER_STORE_PUMP_H

#include "broker/store/queue.h"

/* Puts a message in and lets the queue deliver. False: it is full and rejected it, or there was no memory. */
bool mr_pump_in(struct mr_queue *q, struct mr_message *m);
/* After anything that may let a queue deliver, expire or overflow. */
void mr_pump(struct mr_queue *q);
void mr_pump_few(struct mr_queue *q, size_t most); /* the same, but few deliveries */
void mr_pump_back(struct mr_queue *q); /* after messages came back: what is too much goes first */

#endif
