/* options: where a Redis is, and how one logs in to it.
 * SPDX-License-Identifier: MIT */
#include "redis/options.h"

#include <string.h>

#include "base/alloc.h"

#define DEFAULT_TIMEOUT 10000
#define DEFAULT_INTERVAL 25000
#define STRINGS 10

static void find_strings(struct mr_redis_options *o, const char **strings[STRINGS])
{
	const char **const all[STRINGS] = {&o->host, &o->path, &o->user, &o->password,
		&o->tls.ca_certs, &o->tls.certfile, &o->tls.keyfile, &o->tls.password,
		&o->tls.server_name, &o->tls.min_version};
	memcpy(strings, all, sizeof all);
}

void mr_redis_options_fini(struct mr_redis_options *o)
{
	const char **strings[STRINGS];
	find_strings(o, strings);
	for (size_t i = 0; i < STRINGS; i++) mr_free((void *)(uintptr_t)*strings[i]);
	*o = (struct mr_redis_options){0};
}

enum mr_status mr_redis_options_copy(struct mr_redis_options *out,
	const struct mr_redis_options *options)
{
	struct mr_redis_options from = *options;
	const char **strings[STRINGS], **copies[STRINGS];
	if (!from.host) from.host = "localhost";
	if (!from.socket_timeout) from.socket_timeout = DEFAULT_TIMEOUT;
	if (!from.health_check_interval) from.health_check_interval = DEFAULT_INTERVAL;
	*out = from;
	find_strings(&from, strings);
	find_strings(out, copies);
	for (size_t i = 0; i < STRINGS; i++) *copies[i] = NULL;
	for (size_t i = 0; i < STRINGS; i++) {
		if (!*strings[i]) continue;
		*copies[i] = mr_strdup_n(*strings[i], strlen(*strings[i]));
		if (*copies[i]) continue;
		mr_redis_options_fini(out);
		return MR_NO_MEMORY;
	}
	return MR_OK;
}
