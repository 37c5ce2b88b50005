/* taken: messages that were taken from Redis: acked, given back, renewed, restored.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_TAKEN_H
#define MR_REDIS_TAKEN_H

#include "redis/state.h"

void mr_taken_done(struct mr_backing *b, struct mr_taken *taken);
void mr_taken_leave(struct mr_taken *taken); /* it comes back after the visibility timeout */
void mr_taken_back(struct mr_backing *b, const struct mr_queue *q, struct mr_taken *taken);
/* Sends what goes back, the newest first: so the oldest is the next one. Newer ones that are on their way from Redis are waited for,
 * but not with `now`: before another command to a queue. */
void mr_taken_return(struct mr_redis_store *r, bool now);
void mr_taken_flush(struct mr_redis_store *r);   /* sends the acks, and what goes back */
void mr_taken_resume(struct mr_redis_store *r);  /* sends again what could not go back, and acks */
void mr_taken_name(struct mr_redis_store *r);    /* begins new names: r->taker */
void mr_taken_reclaim(struct mr_redis_store *r); /* what a lost answer had, if one was lost */
void mr_taken_renew(struct mr_redis_store *r);
void mr_taken_restore(struct mr_redis_store *r);
void mr_taken_free_all(struct mr_redis_store *r);

#endif
