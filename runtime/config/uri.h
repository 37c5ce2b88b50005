/* uri: parses amqp, amqps and memory URLs, and the form of those of a Redis and of Sentinels.
 * SPDX-License-Identifier: MIT
 * Pure. Several hosts are separated by commas; `;` separates whole URLs (kombu's failover list)
 * whose scheme, user, vhost and query must agree with the first. */
#ifndef MR_CONFIG_URI_H
#define MR_CONFIG_URI_H

#include "base/slice.h"
#include "base/status.h"

struct mr_uri_host {
	char *name;    /* without brackets for IPv6 */
	uint16_t port; /* or the scheme's default */
};
struct mr_uri_pair {
	char *key, *value; /* percent-decoded */
};
struct mr_uri {       /* strings are NUL-terminated and percent-decoded; NULL: not given */
	char *scheme; /* "amqp", "amqps" or "memory" */
	char *user, *password;
	struct mr_uri_host *hosts;
	size_t host_count;
	char *vhost; /* "/" for amqp://host, amqp://host/ and amqp://host/%2f (CONTRACT T17) */
	struct mr_uri_pair *query;
	size_t query_count;
};

/* MR_BAD_URI with the mistake and its place in `error` (scope config; the text never contains the
 * password), MR_NO_MEMORY. Refuses leading and trailing blanks, control characters, ports outside
 * 1..65535, bad escapes, unclosed brackets, NULs and unknown schemes (suggests the most
 * similar). */
enum mr_status mr_uri_parse(struct mr_uri *out, const char *text, size_t size, mr_error *error);
/* The same for redis, rediss and redis+socket, without lists of URLs; `vhost` is what stands behind the host, with the
 * slash before the path of a socket; its host is "" then, if none is given. */
enum mr_status mr_uri_parse_redis(struct mr_uri *out, const char *text, size_t size,
	mr_error *error);
/* The same for sentinel, with several hosts, and behind a `;` further URLs (which add hosts) or options, in any order. */
enum mr_status mr_uri_parse_sentinel(struct mr_uri *out, const char *text, size_t size,
	mr_error *error);
void mr_uri_fini(struct mr_uri *uri);
/* The URL with every password replaced by ***, for output; also for URLs that do not parse. Always
 * NUL-terminated; returns the full length. */
size_t mr_uri_redact(char *out, size_t capacity, const char *text, size_t size);

#endif
