/* pool_request: what is asked of a pool and still to be told: waits for a place, and answers of the broker.
 * SPDX-License-Identifier: MIT
 * Host thread only. Each ends in one MR_EV_DONE. A wait is told of by the next poll after it has ended (api/waits). */
#ifndef MR_API_POOL_REQUEST_H
#define MR_API_POOL_REQUEST_H

#include "api/pool_item.h"

struct mr_pool_request {
	struct mr_pool_waiter waiter; /* in the pool's line, then in rt->waits.ended */
	struct mr_pool *pool;         /* NULL: it was closed meanwhile */
	int purpose;
	enum { MR_POOL_WAITING, MR_POOL_CONNECTING, MR_POOL_OPENING, MR_POOL_CLOSING } step;
	uint32_t left; /* CLOSING: so many answers */
};

/* Gives a new pool its line. */
void mr_pool_request_line(struct mr_pool *pool);
enum mr_status mr_pool_request_new(struct mr_pool *pool, uint64_t token, int purpose, int step);
void mr_pool_request_free(mr_runtime *rt, uint64_t token); /* does nothing when there is none */
/* A new one, at the end of the line. */
enum mr_status mr_pool_request_wait(struct mr_pool *pool, uint64_t token, int purpose,
	mr_msec deadline);
/* It has ended, without a wait: told as one that has. */
void mr_pool_request_tell(mr_runtime *rt, struct mr_pool_request *r);
/* Ends the waits whose time is up, in all pools. */
void mr_pool_request_expire(mr_runtime *rt);
/* The pool is closed: all of its requests are told so; those for whom something is being opened when their
 * answer comes. */
void mr_pool_request_abandon(struct mr_pool *pool);

#endif
