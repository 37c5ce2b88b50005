/* window: the messages of a queue that were fetched from Redis for its receivers.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_WINDOW_H
#define MR_REDIS_WINDOW_H

#include "redis/state.h"

/* What is known of a queue; NULL: out of memory. */
struct mr_window *mr_window_of(struct mr_redis_store *r, struct mr_queue *q);
/* *Gives* the message of an envelope, with what the store notes of it; errors as mr_envelope_read's. */
enum mr_status mr_window_read(struct mr_message **out, struct mr_envelope *seen, mr_slice text);
void mr_window_fetch(struct mr_backing *b, struct mr_queue *q, size_t most);
bool mr_window_is_empty(struct mr_backing *b, const struct mr_queue *q);
void mr_window_get(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p);
void mr_window_forget(struct mr_backing *b, struct mr_queue *q);
void mr_window_changed(struct mr_redis_store *r, mr_slice key); /* a list has changed */
void mr_window_look_again(struct mr_redis_store *r);            /* all dry ones are asked again */
void mr_window_round(struct mr_redis_store
		*r); /* those of which nothing would be heard, and some of the others */
void mr_window_free_all(struct mr_redis_store *r);

#endif
