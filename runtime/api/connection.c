/* connection: the host's handle of a connection.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <stdio.h>
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"

static enum mr_status send_seed(mr_connection *c)
{
	struct mr_command *cmd = mr_command_reserve(c->rt, 0, false);
	struct mr_link_seed *seed = mr_malloc(sizeof *seed);
	if (!seed || !cmd) {
		mr_free(seed);
		return seed ? MR_CLOSED : MR_NO_MEMORY;
	}
	*seed = (struct mr_link_seed){.config = (struct mr_config *)(uintptr_t)c->config,
		.gauge = c->gauge,
		.number = c->number};
	*cmd = (struct mr_command){.type = MR_CMD_LINK_NEW, .connection = c->number, .seed = seed};
	mr_command_commit(c->rt);
	return MR_OK;
}

static void warm_tls(const struct mr_config *c)
{
	if (c->tls && c->tls_verify && !c->tls_ca) mr_engine_warm_tls();
}

static char *name_host(const struct mr_config *config)
{
	char text[280];
	if (config->gateway) return mr_strdup_n(config->url, strlen(config->url));
	const char *form = strchr(config->hosts[0].name, ':') ? "[%s]:%u" : "%s:%u";
	if (config->memory) form = "memory://%s";
	int size = snprintf(text, sizeof text, form, config->hosts[0].name, config->hosts[0].port);
	return mr_strdup_n(text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

int mr_connection_new(mr_runtime *rt, const mr_options *options, mr_connection **out,
	mr_error *error)
{
	if (mr_handle_is_forked(rt))
		return mr_error_set(error, MR_FORKED, MR_SCOPE_CONNECTION, 0,
			"this runtime belongs to the parent");
	mr_connection *c = mr_calloc(1, sizeof *c);
	struct mr_config *config = mr_calloc(1, sizeof *config);
	struct mr_gauge *gauge = mr_calloc(1, sizeof *gauge);
	enum mr_status st = c && config && gauge ? MR_OK : MR_NO_MEMORY;
	if (st != MR_OK)
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 0, "out of memory");
	else
		st = mr_config_resolve(config, options, error);
	if (st != MR_OK) goto fail;
	c->rt = rt;
	c->number = ++rt->connection_numbers;
	c->config = config;
	c->gauge = gauge;
	c->host = name_host(config);
	st = c->host ? mr_map_put(&rt->connections, c->number, c) : MR_NO_MEMORY;
	if (st == MR_OK && (st = send_seed(c)) != MR_OK) mr_map_take(&rt->connections, c->number);
	if (st != MR_OK) {
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 0, "%s", mr_status_text(st));
		goto fail;
	}
	rt->loop_mode += config->heartbeat_in_loop;
	warm_tls(config);
	*out = c;
	return MR_OK;
fail:
	if (config) mr_config_fini(config);
	mr_free(config);
	mr_free(gauge);
	if (c) mr_handle_free_connection(c);
	return st;
}

int mr_connection_open(mr_connection *c, uint64_t token)
{
	struct mr_command cmd = {.type = MR_CMD_LINK_OPEN, .connection = c->number, .token = token};
	if (c->retired) return MR_CLOSED; /* its pool has been closed */
	return mr_is_token(token) ? (int)mr_command_send(c->rt, &cmd) : MR_BAD_ARGUMENT;
}

int mr_connection_close(mr_connection *c, uint64_t token, double timeout)
{
	struct mr_command cmd = {.type = MR_CMD_LINK_CLOSE,
		.connection = c->number,
		.token = token};
	mr_msec wait = timeout > 0 ? mr_clock_msec_of(timeout) : c->config->close_timeout;
	if (!mr_is_token(token)) return MR_BAD_ARGUMENT;
	cmd.deadline = mr_clock_now() + wait;
	enum mr_status st = mr_command_send(c->rt, &cmd);
	if (st == MR_OK && c->state == MR_CONNECTION_OPEN) c->state = MR_CONNECTION_CLOSING;
	return st;
}

int mr_connection_retry(mr_connection *c, double seconds)
{
	struct mr_command cmd = {.type = MR_CMD_RETRY, .connection = c->number};
	cmd.retry_delay = seconds < 0 ? UINT64_MAX : (uint64_t)mr_clock_msec_of(seconds);
	return mr_command_send(c->rt, &cmd);
}

int mr_connection_inherit(mr_connection *c, mr_connection *from)
{
	struct mr_command cmd = {.type = MR_CMD_INHERIT,
		.connection = c->number,
		.inherit_from = from->number};
	enum mr_status st = mr_command_send(c->rt, &cmd);
	if (st == MR_OK && from->pool) from->rt->keeper->inherit(c, from);
	return st;
}

static enum mr_status send_secret(mr_connection *c, uint64_t token, mr_slice secret, int which,
	mr_msec deadline)
{
	struct mr_command cmd = {.type = MR_CMD_SECRET, .connection = c->number, .token = token};
	if (secret.size && memchr(secret.data, 0, secret.size)) return MR_BAD_ARGUMENT;
	char *copy = mr_strdup_n(secret.data, secret.size);
	if (!copy) return MR_NO_MEMORY;
	cmd.secret.deadline = deadline;
	cmd.secret.text = copy;
	cmd.secret.which = which;
	enum mr_status st = mr_command_send(c->rt, &cmd);
	if (st != MR_OK) mr_free(copy);
	return st;
}

/* Replaces the secret of the connection and of its pool. */
static enum mr_status renew(mr_connection *c, uint64_t token, mr_slice secret, int which,
	mr_msec deadline)
{
	mr_connection *other;
	size_t at = 0;
	enum mr_status st = send_secret(c, token, secret, which, deadline);
	if (st != MR_OK || !c->pool) return st;
	while ((other = mr_map_next(&c->rt->connections, &at, NULL)))
		if (other != c && other->pool == c->pool) send_secret(other, 0, secret, which, 0);
	c->rt->keeper->secret(c->pool, secret, which);
	return MR_OK;
}

int mr_connection_password(mr_connection *c, const char *secret, size_t size)
{
	return renew(c, 0, mr_slice_of(secret, size), MR_SECRET_LOGIN, 0);
}

int mr_connection_key_password(mr_connection *c, const char *secret, size_t size)
{
	return renew(c, 0, mr_slice_of(secret, size), MR_SECRET_KEY, 0);
}

int mr_connection_update_secret(mr_connection *c, uint64_t token, const char *secret, size_t size,
	double timeout)
{
	mr_msec wait = timeout > 0 ? mr_clock_msec_of(timeout) : c->config->rpc_timeout;
	if (!mr_is_token(token)) return MR_BAD_ARGUMENT;
	return renew(c, token, mr_slice_of(secret, size), MR_SECRET_LOGIN, mr_clock_now() + wait);
}

void mr_connection_free(mr_connection *c)
{
	if (!c || mr_handle_is_forked(c->rt)) return;
	struct mr_command cmd = {.type = MR_CMD_LINK_FREE, .connection = c->number};
	if (c->rt->keeper) c->rt->keeper->forget(c);
	c->rt->loop_mode -= c->config->heartbeat_in_loop;
	mr_command_send(c->rt, &cmd);
	mr_map_take(&c->rt->connections, c->number);
	for (size_t i = 0; i < c->channel_slots; i++) {
		mr_channel *ch = c->channels[i];
		if (ch && ch->item) c->rt->keeper->forget_channel(ch);
		mr_handle_free_channel(ch);
	}
	mr_handle_free_connection(c);
}

void mr_connection_keep(mr_connection *c) { c->kept = true; }

uint32_t mr_connection_id(const mr_connection *c) { return c->number; }

int mr_connection_state(const mr_connection *c) { return c->state; }

bool mr_connection_is_blocked(const mr_connection *c) { return c->blocked; }

uint32_t mr_connection_epoch(const mr_connection *c) { return c->epoch; }

int mr_connection_error(const mr_connection *c, mr_error *out)
{
	*out = *mr_error_kept(c->error);
	return out->kind;
}

int mr_connection_host(const mr_connection *c, char *buffer, size_t size)
{
	return snprintf(buffer, size, "%s", c->host);
}

void mr_connection_facts(const mr_connection *c, mr_facts *out) { *out = c->facts; }

const mr_table *mr_connection_server_properties(const mr_connection *c)
{
	return c->server_properties ? c->server_properties->table : NULL;
}

int mr_connection_url(const mr_connection *c, char *buffer, size_t size)
{
	return snprintf(buffer, size, "%s", c->config->url ? c->config->url : "");
}
