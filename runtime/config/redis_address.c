/* redis_address: parses the URLs of a Redis, as kombu writes them.
 * SPDX-License-Identifier: MIT */
#include "config/redis_address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/number.h"
#include "config/uri.h"

#define PREFIX_MAX 255         /* bytes: as a name of AMQP */
#define SECONDS_MAX 31536000.0 /* a year */
#define DEFAULT_PREFIX "/{db}."

static const char *const schemes[] = {"redis://", "rediss://", "redis+socket://", "sentinel://"};
static const char *const options[] = {"visibility_timeout", "global_keyprefix", "priority_steps",
	"socket_timeout", "health_check_interval", "ssl_ca_certs", "fanout_prefix",
	"fanout_patterns", "queue_order_strategy", "max_connections", "virtual_host"};
static const char *const of_sentinels[] = {"service_name", "master_name", "sentinel_username",
	"sentinel_password", "ssl", "sentinel_ssl"};
#define OF_SENTINELS (sizeof of_sentinels / sizeof *of_sentinels)
#define KNOWN                                                                                      \
	"visibility_timeout, global_keyprefix, priority_steps, socket_timeout, "                   \
	"health_check_interval, ssl_ca_certs, fanout_prefix, fanout_patterns, queue_order_strategy, max_connections"

static enum mr_status bad(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_BAD_URI, MR_SCOPE_CONFIG, 0, "bad URL: %s", what);
}

static enum mr_status bad_option(mr_error *error, const char *name, const char *what)
{
	return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0, "option \"%s\" must be %s",
		name, what);
}

static bool starts(mr_slice url, const char *scheme)
{
	size_t size = strlen(scheme);
	return url.size >= size && strncasecmp(url.data, scheme, size) == 0;
}

bool mr_redis_address_is(mr_slice url)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (starts(url, schemes[i])) return true;
	return false;
}

void mr_redis_address_fini(struct mr_redis_address *a)
{
	mr_free(a->host);
	mr_free(a->path);
	mr_free(a->user);
	mr_free(a->password);
	mr_free(a->global_keyprefix);
	mr_free(a->ca_certs);
	for (size_t i = 0; i < a->sentinel_count; i++)
		mr_free((void *)(uintptr_t)a->sentinels[i].name);
	mr_free(a->sentinels);
	mr_free(a->service);
	mr_free(a->sentinel_user);
	mr_free(a->sentinel_password);
	mr_free(a->fanout_prefix);
	*a = (struct mr_redis_address){0};
}

/* ---- values ---- */

static bool read_whole(const char *text, int64_t least, int64_t most, int64_t *out)
{
	char *end;
	if (*text < '0' || *text > '9') return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return !errno && !*end && *out >= least && *out <= most;
}

static enum mr_status take_seconds(mr_msec *out, const char *name, const char *text,
	mr_error *error)
{
	char *end;
	double value = mr_number_read(text, &end);
	if (end == text || *end || !(value > 0 && value <= SECONDS_MAX))
		return bad_option(error, name, "a number of seconds above 0");
	*out = mr_clock_msec_of(value);
	return MR_OK;
}

static enum mr_status take_text(char **out, const char *text)
{
	mr_free(*out);
	*out = mr_strdup_n(text, strlen(text));
	return *out ? MR_OK : MR_NO_MEMORY;
}

static enum mr_status take_prefix(struct mr_redis_address *a, const char *name, const char *text,
	mr_error *error)
{
	if (strlen(text) <= PREFIX_MAX) return take_text(&a->global_keyprefix, text);
	return bad_option(error, name, "a text of at most 255 bytes");
}

/* "true" and "false", as in Python, too; and 1 and 0. */
static bool read_bool(const char *text, bool *out)
{
	*out = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
	return *out || strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* As in kombu: true is its own prefix, false none, and other text is the prefix. */
static enum mr_status take_fanout_prefix(struct mr_redis_address *a, const char *text,
	mr_error *error)
{
	bool is_on;
	size_t size = strlen(text);
	if (read_bool(text, &is_on))
		return take_text(&a->fanout_prefix, is_on ? DEFAULT_PREFIX : "");
	if (*text == '/' && text[size - 1] == '.') return take_text(&a->fanout_prefix, text);
	return bad_option(error, "fanout_prefix",
		"true, false, or text with a leading slash and a trailing dot, as in /{db}.");
}

static enum mr_status take_steps(struct mr_redis_address *a, const char *text, mr_error *error)
{
	static const char what[] =
		"up to 10 ascending numbers from 0 to 255, the first one 0, as in 0,3,6,9";
	long last = -1;
	a->priority_step_count = 0;
	while (true) {
		char *end;
		long step = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;
		/* What is restored goes to the list of 0, kombu's too. */
		if (step <= last || step > 255 || (last < 0 && step) ||
			a->priority_step_count == MR_REDIS_STEPS_MAX)
			return bad_option(error, "priority_steps", what);
		a->priority_steps[a->priority_step_count++] = (int)step;
		last = step;
		if (!*end) return MR_OK;
		if (*end != ',') return bad_option(error, "priority_steps", what);
		text = end + 1;
	}
}

static enum mr_status take_order(struct mr_redis_address *a, const char *text, mr_error *error)
{
	static const char *const names[] = {"round_robin", "sorted", "priority"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		a->order = (enum mr_redis_order)i;
		if (strcmp(text, names[i]) == 0) return MR_OK;
	}
	return bad_option(error, "queue_order_strategy", "round_robin, sorted or priority");
}

/* A bound that is kept: there are two connections, never more. */
static enum mr_status check_connections(const char *text, mr_error *error)
{
	int64_t most;
	if (read_whole(text, 2, INT32_MAX, &most)) return MR_OK;
	return bad_option(error, "max_connections",
		"a number from 2 on: one connection is for commands, and one hears of changes");
}

static enum mr_status take_db(struct mr_redis_address *a, const char *text, mr_error *error)
{
	if (!*text || read_whole(text, 0, INT32_MAX, &a->db)) return MR_OK;
	return bad(error,
		a->path ? "virtual_host must be the number of a database, as in "
			  "?virtual_host=1"
			: "what stands behind the host must be the number of a database, as in /1");
}

/* ---- the query ---- */

static enum mr_status unknown(const char *name, mr_error *error)
{
	for (size_t i = 0; i < OF_SENTINELS; i++)
		if (strcmp(name, of_sentinels[i]) == 0)
			return bad_option(error, name, "left out: it is for sentinel:// only");
	const char *nearest =
		mr_error_nearest(name, strlen(name), options, sizeof options / sizeof *options - 1);
	if (!nearest) nearest = mr_error_nearest(name, strlen(name), of_sentinels, OF_SENTINELS);
	return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
		"unknown option \"%.60s\" in the URL%s%s%s; known are " KNOWN, name,
		nearest ? ": did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static enum mr_status take_option(struct mr_redis_address *a, const char *name, const char *text,
	mr_error *error)
{
	size_t i = 0, count = sizeof options / sizeof *options;
	while (i < count && strcmp(name, options[i]) != 0) i++;
	switch (i) {
	case 0: return take_seconds(&a->visibility_timeout, name, text, error);
	case 1: return take_prefix(a, name, text, error);
	case 2: return take_steps(a, text, error);
	case 3: return take_seconds(&a->socket_timeout, name, text, error);
	case 4: return take_seconds(&a->health_check_interval, name, text, error);
	case 5: return take_text(&a->ca_certs, text);
	case 6: return take_fanout_prefix(a, text, error);
	case 7:
		if (read_bool(text, &a->fanout_patterns)) return MR_OK;
		return bad_option(error, name, "true or false");
	case 8: return take_order(a, text, error);
	case 9: return check_connections(text, error);
	default: return i == 10 && a->path ? take_db(a, text, error) : unknown(name, error);
	}
}

/* ---- Sentinels ---- */

static char *take(char **from)
{
	char *text = *from;
	*from = NULL;
	return text;
}

static enum mr_status take_sentinel_option(struct mr_redis_address *a, const char *name,
	const char *text, mr_error *error)
{
	char **places[] = {&a->service, &a->service, &a->sentinel_user, &a->sentinel_password};
	bool *flags[] = {&a->use_tls, &a->sentinel_tls};
	size_t i = 0, texts = sizeof places / sizeof *places;
	while (i < OF_SENTINELS && strcmp(name, of_sentinels[i]) != 0) i++;
	if (i == OF_SENTINELS) return take_option(a, name, text, error);
	if (i < texts) return take_text(places[i], text);
	return read_bool(text, flags[i - texts]) ? MR_OK : bad_option(error, name, "true or false");
}

static enum mr_status take_hosts(struct mr_redis_address *a, struct mr_uri *uri)
{
	a->sentinels = mr_calloc(uri->host_count, sizeof *a->sentinels);
	if (!a->sentinels) return MR_NO_MEMORY;
	a->sentinel_count = uri->host_count;
	for (size_t i = 0; i < uri->host_count; i++)
		a->sentinels[i] =
			(struct mr_redis_host){take(&uri->hosts[i].name), uri->hosts[i].port};
	return MR_OK;
}

/* Without a word of their own the Sentinels are reached as the master is. */
static enum mr_status check_sentinels(struct mr_redis_address *a, const struct mr_uri *uri,
	mr_error *error)
{
	if (!a->sentinel_count) return MR_OK;
	if (!a->service || !*a->service)
		return bad(error, "sentinel:// needs the name of the master, as in "
				  "sentinel://host?service_name=mymaster");
	for (size_t i = 0; i < uri->query_count; i++)
		if (strcmp(uri->query[i].key, "sentinel_ssl") == 0) return MR_OK;
	a->sentinel_tls = a->use_tls;
	return MR_OK;
}

static enum mr_status check_tls(const struct mr_redis_address *a, mr_error *error)
{
	if (!a->ca_certs || a->use_tls || a->sentinel_tls) return MR_OK;
	return bad_option(error, "ssl_ca_certs",
		"left out: there is TLS with rediss:// only, and with sentinel:// and ssl=true");
}

/* ---- the whole ---- */

static enum mr_status take_place(struct mr_redis_address *a, struct mr_uri *uri, mr_error *error)
{
	bool is_socket = strcmp(uri->scheme, "redis+socket") == 0;
	if (strcmp(uri->scheme, "sentinel") == 0) return take_hosts(a, uri);
	if (uri->host_count > 1) return bad(error, "a Redis has one host");
	if (is_socket && (*uri->hosts[0].name || strlen(uri->vhost) < 2))
		return bad(error,
			"the path of a socket is absolute: redis+socket:///run/redis.sock");
	a->use_tls = strcmp(uri->scheme, "rediss") == 0;
	if (is_socket) {
		a->path = take(&uri->vhost);
	} else {
		a->host = take(&uri->hosts[0].name);
		a->port = uri->hosts[0].port;
	}
	return MR_OK;
}

static enum mr_status assemble(struct mr_redis_address *a, struct mr_uri *uri, mr_error *error)
{
	enum mr_status st = take_place(a, uri, error);
	a->user = take(&uri->user);
	a->password = take(&uri->password);
	if (st == MR_OK && !a->path) st = take_db(a, uri->vhost, error);
	for (size_t i = 0; i < uri->query_count && st == MR_OK; i++) {
		const char *name = uri->query[i].key, *text = uri->query[i].value;
		st = a->sentinel_count ? take_sentinel_option(a, name, text, error)
		                       : take_option(a, name, text, error);
	}
	if (st == MR_OK) st = check_sentinels(a, uri, error);
	if (st == MR_OK) st = check_tls(a, error);
	if (st == MR_OK && !a->global_keyprefix) st = take_text(&a->global_keyprefix, "");
	if (st == MR_OK && !a->fanout_prefix) st = take_text(&a->fanout_prefix, DEFAULT_PREFIX);
	return st;
}

enum mr_status mr_redis_address_parse(struct mr_redis_address *out, mr_slice url, mr_error *error)
{
	struct mr_redis_address a = {.visibility_timeout = 3600000,
		.priority_steps = {0, 3, 6, 9},
		.priority_step_count = 4,
		.health_check_interval = 25000,
		.fanout_patterns = true};
	struct mr_uri uri = {0};
	enum mr_status st = starts(url, "sentinel://")
	                            ? mr_uri_parse_sentinel(&uri, url.data, url.size, error)
	                            : mr_uri_parse_redis(&uri, url.data, url.size, error);
	if (st != MR_OK) return st;
	st = assemble(&a, &uri, error);
	mr_uri_fini(&uri);
	if (st == MR_NO_MEMORY) mr_error_set(error, st, MR_SCOPE_CONFIG, 0, "out of memory");
	if (st == MR_OK)
		*out = a;
	else
		mr_redis_address_fini(&a);
	return st;
}
