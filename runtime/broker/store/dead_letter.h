/* dead_letter: sends messages that expired, were rejected or did not fit to dead letter exchanges.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_DEAD_LETTER_H
#define MR_BROKER_STORE_DEAD_LETTER_H

#include "broker/store/queue.h"

struct mr_exchange;
struct mr_promise;

/* Sends the waiting dead letters (mr_queue_drop), and those that this causes, until the turn is
 * over. */
void mr_dead_letter_send(struct mr_store *s);
/* With a backing a queue with x-message-ttl and x-dead-letter-exchange keeps nothing. */
static inline bool mr_dead_letter_delays(const struct mr_queue *q)
{
	return q->limits.ttl >= 0 && q->limits.dead_exchange.data;
}
/* The queue that a message is published to only to expire there and go to its dead-letter exchange, by the
 * default exchange. NULL: it is published as usual. */
struct mr_queue *mr_dead_letter_delay(const struct mr_vhost *v, const struct mr_message *m);
/* Gives a message to the backing: to keep it in `ms` from now, or, for a queue that delays, what becomes of it
 * there when it is due. `x` NULL: no queue gets it. `p` may be NULL. */
void mr_dead_letter_keep(struct mr_vhost *v, const struct mr_exchange *x,
	const struct mr_message *m, uint64_t ms, struct mr_promise *p);
/* Gives the backing what it has refused for now once more. Until it takes them, no more is fetched for
 * their queues. */
void mr_dead_letter_retry(struct mr_store *s);
/* They go back to their queues: the backing was lost, or its process ends. */
void mr_dead_letter_lose(struct mr_store *s);
static inline void mr_dead_letter_bury(struct mr_store *s)
{
	if (s->letter || !mr_list_is_empty(&s->dying)) mr_dead_letter_send(s);
}

#endif
