/* window: the messages of a queue that were fetched from Redis for its receivers.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_WINDOW_H
#define MR_REDIS_WINDOW_H

#include "redis/state.h"

void mr_window_fetch(struct mr_backing *b, struct mr_queue *q, size_t most);
void mr_window_get(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p);
void mr_window_forget(struct mr_backing *b, struct mr_queue *q);
void mr_window_changed(struct mr_redis_store *r, mr_slice key); /* a list has changed */
void mr_window_look_again(struct mr_redis_store *r);            /* all dry ones are asked again */
void mr_window_free_all(struct mr_redis_store *r);

#endif
