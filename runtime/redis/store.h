/* store: a Redis server as the backing of a store, in kombu's layout.
 * SPDX-License-Identifier: MIT
 * Broker thread. All commands go through one connection in order; a second one hears which lists have
 * changed. What is taken from a queue is recorded as unacked in the same step (scripts.h). */
#ifndef MR_REDIS_STORE_H
#define MR_REDIS_STORE_H

#include "broker/store/backing.h"
#include "broker/store/store.h"
#include "config/redis_address.h"
#include "redis/link.h"
#include "redis/port.h"

struct mr_redis_store_options {
	struct mr_redis_options link; /* borrowed until mr_redis_store_open returns */
	const char *prefix;           /* global_keyprefix; "" */
	const char *fanout_prefix;    /* "/{db}.": see layout.h */
	bool fanout_patterns;
	mr_msec visibility;            /* visibility_timeout, ms; kombu's default is an hour */
	int steps[MR_REDIS_STEPS_MAX]; /* priority_steps; kombu's default is 0 3 6 9 */
	int step_count;
	enum mr_backing_order order; /* queue_order_strategy */
};

struct mr_redis_store;

/* *gives*; sets store->backing. */
enum mr_status mr_redis_store_open(struct mr_redis_store **out, struct ev_loop *loop,
	struct mr_store *store, const struct mr_redis_store_options *options,
	const struct mr_redis_store_port *port, mr_error *error);
size_t mr_redis_store_unsent(const struct mr_redis_store *r); /* bytes */
bool mr_redis_store_is_busy(const struct mr_redis_store *r);  /* Redis has something to answer */
/* Tries to reach Redis at once, if it only waits for the time of its next try. */
void mr_redis_store_hurry(struct mr_redis_store *r);
/* Sends the acks that wait, and writes: before the loop sleeps. */
void mr_redis_store_flush(struct mr_redis_store *r);
/* Writes what waits, as far as the sockets take it at once; NULL is allowed. The store may hold no
 * fetched message any more. */
void mr_redis_store_close(struct mr_redis_store *r);

#endif
