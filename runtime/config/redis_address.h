/* redis_address: parses the URLs of a Redis, as kombu writes them.
 * SPDX-License-Identifier: MIT
 * Pure.
 *
 *   redis://[user:password@]host[:port][/db][?option=value&...]      rediss:// is the same by TLS
 *   redis+socket:///path[?virtual_host=db&...]                       a Unix socket; user:password@ may stand before the path
 *   sentinel://[user:password@]host[:port][,host[:port]...][/db]?service_name=NAME
 *       who asks these Sentinels for the master NAME; the password is the master's. Behind a `;` may stand more such URLs
 *       (kombu's list) and options. TLS is the option ssl=true. */
#ifndef MR_CONFIG_REDIS_ADDRESS_H
#define MR_CONFIG_REDIS_ADDRESS_H

#include <stdint.h>

#include "base/clock.h"
#include "base/slice.h"
#include "base/status.h"

#define MR_REDIS_STEPS_MAX 10 /* of priority_steps */

/* queue_order_strategy: in turn, by name, in the order of consuming. */
enum mr_redis_order { MR_REDIS_ROUND_ROBIN, MR_REDIS_SORTED, MR_REDIS_PRIORITY };

struct mr_redis_host {
	const char *name;
	uint16_t port;
};

struct mr_redis_address { /* strings are owned, NUL-terminated and percent-decoded; NULL: not given */
	char *host;       /* NULL with a path, and with Sentinels */
	uint16_t port;
	char *path; /* of a Unix socket */
	bool use_tls;
	bool sentinel_tls; /* to the Sentinels: sentinel_ssl, or else as to the master */
	char *user, *password;
	int64_t db;
	struct mr_redis_host *sentinels;
	size_t sentinel_count;
	char *service; /* service_name, or kombu's master_name; set if there are Sentinels */
	char *sentinel_user, *sentinel_password;
	/* The options, by kombu's names and with its defaults. */
	mr_msec visibility_timeout;             /* 3600 s */
	char *global_keyprefix;                 /* "" */
	int priority_steps[MR_REDIS_STEPS_MAX]; /* ascending; 0, 3, 6, 9 */
	size_t priority_step_count;
	mr_msec socket_timeout;        /* 0: not given */
	mr_msec health_check_interval; /* 25 s */
	char *ca_certs;                /* ssl_ca_certs: a PEM file */
	char *fanout_prefix;           /* "/{db}."; "" for none */
	bool fanout_patterns;          /* true */
	enum mr_redis_order order;     /* round_robin */
};

/* True for text that begins with one of the schemes. */
bool mr_redis_address_is(mr_slice url);
/* MR_BAD_URI with the mistake in `error`, MR_BAD_OPTION for an option in the query, MR_NO_MEMORY. No text has a password.
 * `out` is filled on MR_OK only. */
enum mr_status mr_redis_address_parse(struct mr_redis_address *out, mr_slice url, mr_error *error);
void mr_redis_address_fini(struct mr_redis_address *a); /* zeroed is allowed */

#endif
