/* options: where a Redis is, and how one logs in to it.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_REDIS_OPTIONS_H
#define MR_REDIS_OPTIONS_H

#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "config/redis_address.h"
#include "net/tls_options.h"

struct mr_redis_options {
	const char *host; /* NULL: localhost */
	uint16_t port;
	const char *path; /* of a Unix socket, instead of host and port; NULL: TCP */
	/* With Sentinels neither host nor path is given: they know where the master `service` is. */
	const struct mr_redis_host *sentinels;
	size_t sentinel_count;
	const char *service;
	const char *sentinel_user, *sentinel_password; /* NULL: none */
	bool follows; /* it asks no Sentinel, but is told by mr_redis_link_follow where to go */
	bool use_tls, sentinel_tls; /* to the Redis; to the Sentinels */
	struct mr_tls_options tls;  /* of both */
	const char *user,
		*password; /* NULL: none; a password without a user is the default user's */
	int64_t db;
	mr_msec socket_timeout;        /* 0: 10 s */
	mr_msec health_check_interval; /* an idle connection is asked that often; 0: 25 s, as kombu's */
};

/* A copy that owns its strings, with the defaults filled in. MR_NO_MEMORY: there is nothing to free. */
enum mr_status mr_redis_options_copy(struct mr_redis_options *out,
	const struct mr_redis_options *options);
void mr_redis_options_fini(struct mr_redis_options *o); /* of a copy; zeroed is allowed */

#endif
