/* sentinel: which Sentinel to ask next, and what its answer means.
 * SPDX-License-Identifier: MIT
 * Pure. In a round each Sentinel is asked once, until one names a master; who has named one is the first to be asked in the
 * next round. After Redis's "Sentinel client spec". */
#ifndef MR_REDIS_SENTINEL_H
#define MR_REDIS_SENTINEL_H

#include "redis/options.h"
#include "redis/wire.h"

#define MR_SENTINEL_HOST_MAX 255 /* bytes */

struct mr_sentinel {
	const struct mr_redis_options *options; /* borrowed: those with Sentinels */
	size_t first;                           /* the one that a round begins with */
	size_t asked;                           /* in this round */
	char host[MR_SENTINEL_HOST_MAX + 1];    /* of the master; "": not known yet */
	uint16_t port;
	bool has_answer; /* one was reached in this round, and has named none */
	mr_error why;    /* the most telling failure of this round */
};

void mr_sentinel_init(struct mr_sentinel *s, const struct mr_redis_options *options);
void mr_sentinel_begin(struct mr_sentinel *s); /* a round */
/* The next one to ask; NULL: each was asked in vain, and `why` says what was wrong. */
const struct mr_redis_host *mr_sentinel_next(struct mr_sentinel *s);
/* Appends the commands for it. */
enum mr_status mr_sentinel_ask(const struct mr_sentinel *s, struct mr_buffer *out);
/* One of the replies. MR_OK: `host` and `port` are the master's; MR_TIMEOUT: more replies are to come; else it is the next one's
 * turn. */
enum mr_status mr_sentinel_take(struct mr_sentinel *s, const redisReply *reply);
/* The one that was asked last was not reached, or has not answered. */
void mr_sentinel_failed(struct mr_sentinel *s, const mr_error *error);
/* What it has named was no master, or not reached: the next round begins with the next one. */
void mr_sentinel_doubt(struct mr_sentinel *s);
/* True if a reply to ROLE is a master's. */
bool mr_sentinel_is_master(const redisReply *role);

#endif
