/* options: where a Redis is, and how one logs in to it.
 * SPDX-License-Identifier: MIT */
#include "redis/options.h"

#include <string.h>

#include "base/alloc.h"

#define DEFAULT_TIMEOUT 10000
#define DEFAULT_INTERVAL 25000
#define STRINGS 13

static void find_strings(struct mr_redis_options *o, const char **strings[STRINGS])
{
	const char **const all[STRINGS] = {&o->host, &o->path, &o->user, &o->password,
		&o->tls.ca_certs, &o->tls.certfile, &o->tls.keyfile, &o->tls.password,
		&o->tls.server_name, &o->tls.min_version, &o->service, &o->sentinel_user,
		&o->sentinel_password};
	memcpy(strings, all, sizeof all);
}

void mr_redis_options_fini(struct mr_redis_options *o)
{
	const char **strings[STRINGS];
	find_strings(o, strings);
	for (size_t i = 0; i < STRINGS; i++) mr_free((void *)(uintptr_t)*strings[i]);
	for (size_t i = 0; i < o->sentinel_count; i++)
		mr_free((void *)(uintptr_t)o->sentinels[i].name);
	mr_free((void *)(uintptr_t)o->sentinels);
	*o = (struct mr_redis_options){0};
}

/* False: no memory; what there is is in `out`. */
static bool copy_sentinels(struct mr_redis_options *out, const struct mr_redis_options *from)
{
	struct mr_redis_host *hosts = NULL;
	out->sentinels = NULL;
	out->sentinel_count = 0;
	if (!from->sentinel_count) return true;
	if (!(hosts = mr_calloc(from->sentinel_count, sizeof *hosts))) return false;
	out->sentinels = hosts;
	out->sentinel_count = from->sentinel_count;
	for (size_t i = 0; i < from->sentinel_count; i++) {
		const struct mr_redis_host *host = &from->sentinels[i];
		hosts[i].port = host->port;
		hosts[i].name = mr_strdup_n(host->name, strlen(host->name));
		if (!hosts[i].name) return false;
	}
	return true;
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
	bool has_all = copy_sentinels(out, options);
	for (size_t i = 0; i < STRINGS && has_all; i++) {
		if (!*strings[i]) continue;
		*copies[i] = mr_strdup_n(*strings[i], strlen(*strings[i]));
		has_all = *copies[i] != NULL;
	}
	if (!has_all) mr_redis_options_fini(out);
	return has_all ? MR_OK : MR_NO_MEMORY;
}
