/* deadline: the deadlines of queues: for expiring messages, and for the expiry of the queue.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_DEADLINE_H
#define MR_BROKER_STORE_DEADLINE_H

#include "broker/store/queue.h"

mr_msec mr_deadline_next(const struct mr_store *s); /* of all queues; MR_NEVER */
/* A queue whose deadline has passed, or NULL. */
struct mr_queue *mr_deadline_due(const struct mr_store *s);
/* A queue's next deadline may have changed. */
void mr_deadline_set(struct mr_queue *q);
void mr_deadline_clear(struct mr_queue *q);
/* A client used the queue: x-expires starts again. */
void mr_deadline_renew(struct mr_queue *q);

#endif
