/* config: resolves options: combines the URL, the options that override it, and the defaults.
 * SPDX-License-Identifier: MIT
 * Pure, except for reading the machine's name. */
#include "config/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "config/redis_address.h"
#include "base/value.h"
#include "config/options.h"
#include "config/uri.h"

#define DEFAULT_FRAME_MAX 131072         /* RabbitMQ's default, too */
#define DEFAULT_CHANNEL_MAX 2047         /* the same */
#define DEFAULT_MESSAGE_MAX (128u << 20) /* RabbitMQ's default */

static void free_secret(char *secret)
{
	if (secret) memset(secret, 0, strlen(secret));
	mr_free(secret);
}

void mr_config_fini(struct mr_config *c)
{
	for (size_t i = 0; i < c->host_count; i++) mr_free(c->hosts[i].name);
	mr_free(c->hosts);
	char *strings[] = {c->user, c->password, c->vhost, c->name, c->mechanism, c->tls_ca,
		c->tls_cert, c->tls_key, c->tls_server_name, c->tls_min_version, c->tls_password,
		c->url};
	free_secret(c->gateway);
	if (c->password) memset(c->password, 0, strlen(c->password));
	if (c->tls_password) memset(c->tls_password, 0, strlen(c->tls_password));
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) mr_free(strings[i]);
	mr_table_free(c->client_properties);
	*c = (struct mr_config){0};
}

static const struct mr_option_value *get(const mr_options *o, enum mr_option_id id)
{
	return o->values[id].is_set ? &o->values[id] : NULL;
}

static double number(const mr_options *o, enum mr_option_id id, double usual)
{
	return get(o, id) ? o->values[id].number : usual;
}

static bool boolean(const mr_options *o, enum mr_option_id id, bool usual)
{
	return get(o, id) ? o->values[id].boolean : usual;
}

/* Returns the option's string, else the URL's, else the default; NULL stays NULL. */
static enum mr_status string(char **out, const mr_options *o, enum mr_option_id id,
	const char *from_url, const char *usual)
{
	const char *text = get(o, id) ? o->values[id].string : from_url ? from_url : usual;
	if (!text) return MR_OK;
	*out = mr_strdup_n(text, strlen(text));
	return *out ? MR_OK : MR_NO_MEMORY;
}

/* ---- hosts ---- */

static enum mr_status add_host(struct mr_config *c, const char *name, size_t size, uint16_t port)
{
	struct mr_config_host *hosts = mr_realloc(c->hosts, (c->host_count + 1) * sizeof *hosts);
	if (!hosts) return MR_NO_MEMORY;
	c->hosts = hosts;
	hosts[c->host_count].port = port;
	hosts[c->host_count].name = mr_strdup_n(name, size);
	if (!hosts[c->host_count].name) return MR_NO_MEMORY;
	c->host_count++;
	return MR_OK;
}

static enum mr_status split_hosts(struct mr_config *c, const char *list, uint16_t port,
	mr_error *error)
{
	for (const char *at = list;; at++) {
		size_t size = strcspn(at, ",");
		if (!size || size > 255)
			return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
				"option \"hostname\" holds an empty name, or one over 255 bytes");
		enum mr_status st = add_host(c, at, size, port);
		at += size;
		if (st != MR_OK || !*at) return st;
	}
}

static enum mr_status take_hosts(struct mr_config *c, const mr_options *o, const struct mr_uri *uri,
	mr_error *error)
{
	uint16_t usual = c->tls ? 5671 : 5672;
	uint16_t port = (uint16_t)number(o, MR_OPT_PORT, usual);
	enum mr_status st = MR_OK;
	if (get(o, MR_OPT_HOSTNAME))
		return split_hosts(c, o->values[MR_OPT_HOSTNAME].string, port, error);
	if (!uri->host_count) return add_host(c, "localhost", 9, port);
	for (size_t i = 0; st == MR_OK && i < uri->host_count; i++) {
		uint16_t of_url = uri->hosts[i].port;
		/* `ssl = true` with an amqp:// URL without a port means the TLS port. */
		if (c->tls && of_url == 5672 && strcmp(uri->scheme, "amqp") == 0) of_url = usual;
		st = add_host(c, uri->hosts[i].name, strlen(uri->hosts[i].name),
			get(o, MR_OPT_PORT) ? port : of_url);
	}
	return st;
}

void mr_config_shuffle_hosts(struct mr_config *c, uint64_t random)
{
	if (c->hosts_in_order) return;
	for (size_t left = c->host_count; left > 1; left--) { /* Fisher and Yates */
		random ^= random << 13;                       /* xorshift64, Marsaglia 2003 */
		random ^= random >> 7;
		random ^= random << 17;
		size_t at = (size_t)(random % left);
		struct mr_config_host moved = c->hosts[at];
		c->hosts[at] = c->hosts[left - 1];
		c->hosts[left - 1] = moved;
	}
}

/* ---- the parts ---- */

static enum mr_status take_strings(struct mr_config *c, const mr_options *o,
	const struct mr_uri *uri)
{
	char machine[256] = "moonrabbit";
	gethostname(machine, sizeof machine - 1);
	bool external =
		get(o, MR_OPT_AUTH) && strcmp(o->values[MR_OPT_AUTH].string, "external") == 0;
	enum mr_status st = string(&c->user, o, MR_OPT_USERID, uri->user, "guest");
	if (st == MR_OK) st = string(&c->password, o, MR_OPT_PASSWORD, uri->password, "guest");
	if (st == MR_OK) st = string(&c->vhost, o, MR_OPT_VIRTUAL_HOST, uri->vhost, "/");
	if (st == MR_OK) st = string(&c->name, o, MR_OPT_NAME, NULL, machine);
	if (st == MR_OK) st = string(&c->tls_ca, o, MR_OPT_SSL_CA_CERTS, NULL, NULL);
	if (st == MR_OK) st = string(&c->tls_cert, o, MR_OPT_SSL_CERTFILE, NULL, NULL);
	if (st == MR_OK) st = string(&c->tls_key, o, MR_OPT_SSL_KEYFILE, NULL, NULL);
	if (st == MR_OK) st = string(&c->tls_password, o, MR_OPT_SSL_PASSWORD, NULL, NULL);
	if (st == MR_OK) st = string(&c->tls_server_name, o, MR_OPT_SSL_SERVER_NAME, NULL, NULL);
	if (st == MR_OK) st = string(&c->tls_min_version, o, MR_OPT_SSL_MIN_VERSION, NULL, NULL);
	if (st != MR_OK) return st;
	c->mechanism = external ? mr_strdup_n("EXTERNAL", 8) : mr_strdup_n("PLAIN", 5);
	return c->mechanism ? MR_OK : MR_NO_MEMORY;
}

static void take_numbers(struct mr_config *c, const mr_options *o)
{
	c->tls_verify = boolean(o, MR_OPT_SSL_VERIFY, true);
	c->heartbeat = (uint16_t)number(o, MR_OPT_HEARTBEAT, 60);
	c->heartbeat_in_loop = get(o, MR_OPT_HEARTBEAT_MODE) &&
	                       strcmp(o->values[MR_OPT_HEARTBEAT_MODE].string, "loop") == 0;
	c->hosts_in_order =
		get(o, MR_OPT_HOSTS) && strcmp(o->values[MR_OPT_HOSTS].string, "in_order") == 0;
	c->insist = boolean(o, MR_OPT_INSIST, false);
	c->channel_max = (uint16_t)number(o, MR_OPT_CHANNEL_MAX, DEFAULT_CHANNEL_MAX);
	c->frame_max = (uint32_t)number(o, MR_OPT_FRAME_MAX, DEFAULT_FRAME_MAX);
	c->max_message_size = (uint64_t)number(o, MR_OPT_MAX_MESSAGE_SIZE, DEFAULT_MESSAGE_MAX);
	c->connect_timeout = mr_clock_msec_of(number(o, MR_OPT_CONNECT_TIMEOUT, 5));
	c->socket_timeout = mr_clock_msec_of(number(o, MR_OPT_SOCKET_TIMEOUT, 10));
	c->rpc_timeout = mr_clock_msec_of(number(o, MR_OPT_RPC_TIMEOUT, 10));
	c->close_timeout = mr_clock_msec_of(number(o, MR_OPT_CLOSE_TIMEOUT, 5));
	c->blocked_timeout = mr_clock_msec_of(number(o, MR_OPT_BLOCKED, 0));
	c->consumer_check = mr_clock_msec_of(number(o, MR_OPT_CONSUMER_CHECK, 60));
}

#define CAP 30000 /* ms: the default of the longest delay between two tries */

/* Reads the options with kombu's names, or with pika's names, or neither. */
static enum mr_status take_retry(struct mr_config *c, const mr_options *o, mr_error *error)
{
	bool linear = get(o, MR_OPT_MAX_RETRIES) || get(o, MR_OPT_INTERVAL_START) ||
	              get(o, MR_OPT_INTERVAL_STEP) || get(o, MR_OPT_INTERVAL_MAX);
	bool fixed = get(o, MR_OPT_ATTEMPTS) || get(o, MR_OPT_RETRY_DELAY);
	c->recover = boolean(o, MR_OPT_RECOVER, true);
	c->recover_topology = boolean(o, MR_OPT_RECOVER_TOPOLOGY, true);
	c->retry = (struct mr_retry){.style = MR_RETRY_JITTER, .max = CAP, .retries = -1};
	if (linear && fixed)
		return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
			"options \"transport_options\" and \"connection_attempts\" or \"retry_delay\" are "
			"two ways to say when to retry: choose one");
	if (linear)
		c->retry = (struct mr_retry){.style = MR_RETRY_LINEAR,
			.start = mr_clock_msec_of(number(o, MR_OPT_INTERVAL_START, 0)),
			.step = mr_clock_msec_of(number(o, MR_OPT_INTERVAL_STEP, 2)),
			.max = mr_clock_msec_of(number(o, MR_OPT_INTERVAL_MAX, 30)),
			.retries = get(o, MR_OPT_MAX_RETRIES)
		                           ? (int64_t)number(o, MR_OPT_MAX_RETRIES, 0)
		                           : -1};
	if (fixed)
		c->retry = (struct mr_retry){.style = MR_RETRY_FIXED,
			.start = mr_clock_msec_of(number(o, MR_OPT_RETRY_DELAY, 2)),
			.max = mr_clock_msec_of(number(o, MR_OPT_RETRY_DELAY, 2)),
			.retries = (int64_t)number(o, MR_OPT_ATTEMPTS, 1) - 1};
	return MR_OK;
}

/* The separate options that are short strings in AMQP. */
static enum mr_status check_lengths(const struct mr_config *c, mr_error *error)
{
	if (strlen(c->vhost) <= 255) return MR_OK;
	return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
		"option \"virtual_host\" is longer than 255 bytes");
}

static enum mr_status show_memory(struct mr_config *c)
{
	char text[600];
	if (c->gateway) {
		mr_uri_redact(text, sizeof text, c->gateway, strlen(c->gateway));
		c->url = mr_strdup_n(text, strlen(text));
		return c->url ? MR_OK : MR_NO_MEMORY;
	}
	bool plain = strcmp(c->vhost, "/") == 0;
	snprintf(text, sizeof text, "memory://%.255s%s%.255s", c->hosts[0].name, plain ? "" : "/",
		plain ? "" : c->vhost);
	c->url = mr_strdup_n(text, strlen(text));
	return c->url ? MR_OK : MR_NO_MEMORY;
}

static enum mr_status show_url(struct mr_config *c)
{
	char text[700];
	if (c->memory) return show_memory(c);
	const char *form = strchr(c->hosts[0].name, ':') ? "%s://%.128s@[%s]:%u/%.255s"
	                                                 : "%s://%.128s@%s:%u/%.255s";
	snprintf(text, sizeof text, form, c->tls ? "amqps" : "amqp", c->user, c->hosts[0].name,
		c->hosts[0].port, strcmp(c->vhost, "/") == 0 ? "" : c->vhost);
	c->url = mr_strdup_n(text, strlen(text));
	return c->url ? MR_OK : MR_NO_MEMORY;
}

/* ---- the URL ---- */

/* The query's options are part of the URL: an option that the program set by name overrides
 * them. */
static enum mr_status take_query(mr_options *o, const struct mr_uri *uri, mr_error *error)
{
	for (size_t i = 0; i < uri->query_count; i++) {
		const char *key = uri->query[i].key;
		mr_options probe = {0};
		/* This is the name in RabbitMQ's URI specification. */
		if (strcmp(key, "connection_timeout") == 0) key = "connect_timeout";
		bool is_set = false;
		enum mr_status st =
			mr_options_text(&probe, key, mr_slice_str(uri->query[i].value), error);
		for (size_t id = 0; st == MR_OK && id < MR_OPTION_COUNT; id++) {
			if (!probe.values[id].is_set) continue;
			is_set = o->values[id].is_set;
			if (!is_set)
				o->values[id] = probe.values[id];
			else
				mr_free(probe.values[id].string);
		}
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

static enum mr_status copy_options(mr_options *to, const mr_options *from)
{
	*to = *from;
	enum mr_status st = MR_OK;
	for (size_t i = 0; i < MR_OPTION_COUNT; i++) {
		struct mr_option_value *v = &to->values[i];
		bool had_string = v->string, had_table = v->table;
		v->string = had_string && st == MR_OK ? mr_strdup_n(v->string, strlen(v->string))
		                                      : NULL;
		v->table = had_table && st == MR_OK ? mr_table_copy(v->table) : NULL;
		if ((had_string && !v->string) || (had_table && !v->table)) st = MR_NO_MEMORY;
	}
	return st;
}

static void free_copies(mr_options *o)
{
	for (size_t i = 0; i < MR_OPTION_COUNT; i++) {
		mr_free(o->values[i].string);
		mr_table_free(o->values[i].table);
	}
}

/* What the URL of a Redis says, or what only AMQP has. */
static enum mr_status check_gateway(mr_options *o, mr_error *error)
{
	static const struct {
		enum mr_option_id id;
		const char *name;
	} others[] = {{MR_OPT_HOSTNAME, "hostname"}, {MR_OPT_HOSTS, "hosts"}, {MR_OPT_PORT, "port"},
		{MR_OPT_USERID, "userid"}, {MR_OPT_PASSWORD, "password"},
		{MR_OPT_VIRTUAL_HOST, "virtual_host"}, {MR_OPT_SSL, "ssl"}, {MR_OPT_AUTH, "auth"},
		{MR_OPT_SSL_CA_CERTS, "ssl_options.ca_certs"},
		{MR_OPT_SSL_CERTFILE, "ssl_options.certfile"},
		{MR_OPT_SSL_KEYFILE, "ssl_options.keyfile"},
		{MR_OPT_SSL_PASSWORD, "ssl_options.password"},
		{MR_OPT_SSL_VERIFY, "ssl_options.verify"},
		{MR_OPT_SSL_SERVER_NAME, "ssl_options.server_name"},
		{MR_OPT_SSL_MIN_VERSION, "ssl_options.min_version"}};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (get(o, others[i].id))
			return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
				"option \"%s\" is not for a Redis: its URL says where it is and who asks",
				others[i].name);
	return MR_OK;
}

/* Redis is spoken by a broker in this process: for a connection it is memory:// with another name. */
static enum mr_status take_gateway(struct mr_config *c, const char *url, struct mr_uri *uri,
	mr_error *error)
{
	static const char memory[] = "memory://";
	struct mr_redis_address parsed;
	enum mr_status st = mr_redis_address_parse(&parsed, mr_slice_str(url), error);
	if (st != MR_OK) return st;
	mr_redis_address_fini(&parsed);
	c->gateway = mr_strdup_n(url, strlen(url));
	if (!c->gateway) return MR_NO_MEMORY;
	return mr_uri_parse(uri, memory, sizeof memory - 1, error);
}

static enum mr_status take_url(struct mr_config *c, mr_options *o, struct mr_uri *uri,
	mr_error *error)
{
	const struct mr_option_value *url = get(o, MR_OPT_URL);
	if (!url) return MR_OK;
	enum mr_status st;
	if (mr_redis_address_is(mr_slice_str(url->string))) {
		st = check_gateway(o, error);
		return st == MR_OK ? take_gateway(c, url->string, uri, error) : st;
	}
	st = mr_uri_parse(uri, url->string, strlen(url->string), error);
	if (st != MR_OK) return st;
	return take_query(o, uri, error);
}

static enum mr_status check_memory(const struct mr_config *c, const struct mr_uri *uri,
	mr_error *error)
{
	if (c->memory && c->tls)
		return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
			"option \"ssl\" makes no sense with memory://: nothing leaves the process");
	if (c->memory && uri->host_count > 1)
		return mr_error_set(error, MR_BAD_URI, MR_SCOPE_CONFIG, 0,
			"bad URL: memory:// has one name");
	return MR_OK;
}

static enum mr_status assemble(struct mr_config *c, mr_options *o, const struct mr_uri *uri,
	mr_error *error)
{
	c->tls = boolean(o, MR_OPT_SSL, uri->scheme && strcmp(uri->scheme, "amqps") == 0);
	c->memory = uri->scheme && strcmp(uri->scheme, "memory") == 0 && !get(o, MR_OPT_HOSTNAME);
	take_numbers(c, o);
	enum mr_status st = check_memory(c, uri, error);
	if (st == MR_OK) st = take_hosts(c, o, uri, error);
	if (st == MR_OK) st = take_strings(c, o, uri);
	if (st == MR_OK) st = check_lengths(c, error);
	if (st == MR_OK) st = take_retry(c, o, error);
	if (st == MR_OK) st = show_url(c);
	if (st == MR_OK && get(o, MR_OPT_CLIENT_PROPERTIES)) {
		c->client_properties = o->values[MR_OPT_CLIENT_PROPERTIES].table;
		o->values[MR_OPT_CLIENT_PROPERTIES].table = NULL; /* moved from the copy */
	}
	return st;
}

enum mr_status mr_config_resolve(struct mr_config *out, const mr_options *options, mr_error *error)
{
	struct mr_config config = {0};
	struct mr_uri uri = {0};
	mr_options o;
	enum mr_status st = copy_options(&o, options);
	if (st == MR_OK) st = take_url(&config, &o, &uri, error);
	if (st == MR_OK) st = assemble(&config, &o, &uri, error);
	if (st == MR_NO_MEMORY) mr_error_set(error, st, MR_SCOPE_CONFIG, 0, "out of memory");
	if (st == MR_OK)
		*out = config;
	else
		mr_config_fini(&config);
	free_copies(&o);
	mr_uri_fini(&uri);
	return st;
}
