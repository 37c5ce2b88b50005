/* pool_request: a pool's pending requests: waits for a place, and requests to the broker.
 * SPDX-License-Identifier: MIT
 * Host thread only. Each ends with one MR_EV_DONE. The next poll after the end of a wait reports it
 * (api/waits). */
#ifndef MR_API_POOL_REQUEST_H
#define MR_API_POOL_REQUEST_H

#include "api/pool_item.h"

struct mr_pool_request {
	struct mr_pool_waiter waiter; /* in the pool's line, then in rt->waits.ended */
	struct mr_pool *pool;         /* NULL: it was closed in the meantime */
	int purpose;
	enum { MR_POOL_WAITING, MR_POOL_CONNECTING, MR_POOL_OPENING, MR_POOL_CLOSING } step;
	uint32_t left; /* CLOSING: the number of pending answers */
};

/* Gives a new pool its line. */
void mr_pool_request_line(struct mr_pool *pool);
enum mr_status mr_pool_request_new(struct mr_pool *pool, uint64_t token, int purpose, int step);
void mr_pool_request_free(mr_runtime *rt, uint64_t token); /* does nothing if there is none */
/* Makes a request that waits at the end of the line. */
enum mr_status mr_pool_request_wait(struct mr_pool *pool, uint64_t token, int purpose,
	mr_msec deadline);
/* Reports the end of a request that did not wait in the line. */
void mr_pool_request_tell(mr_runtime *rt, struct mr_pool_request *r);
/* Ends the waits that have timed out, in all pools. */
void mr_pool_request_expire(mr_runtime *rt);
/* The pool is closed: ends all of its requests; those with a pending open end with its answer. */
void mr_pool_request_abandon(struct mr_pool *pool);

#endif
