/* handshake: the client's part of the handshake, from the protocol header to connection.open-ok.
 * SPDX-License-Identifier: MIT */
#include "amqp/handshake.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/value.h"
#include "codec/table.h"

void mr_handshake_init(struct mr_handshake *hs, const struct mr_login *login)
{
	*hs = (struct mr_handshake){.login = login, .step = MR_HS_START};
}

void mr_handshake_fini(struct mr_handshake *hs)
{
	mr_table_free(hs->server_properties);
	hs->server_properties = NULL;
}

uint32_t mr_handshake_negotiate(uint32_t ours, uint32_t theirs)
{
	if (ours == 0 || theirs == 0) return ours ? ours : theirs;
	return ours < theirs ? ours : theirs;
}

static enum mr_status reject(struct mr_handshake *hs, mr_error *error, enum mr_status kind,
	int code, const char *text)
{
	hs->step = MR_HS_FAILED;
	return mr_error_set(error, kind, MR_SCOPE_CONNECTION, code, "%s", text);
}

/* ---- what we say of ourselves ---- */

static enum mr_status add_capabilities(mr_table *properties)
{
	static const char *const names[] = {"publisher_confirms", "consumer_cancel_notify",
		"exchange_exchange_bindings", "basic.nack", "connection.blocked",
		"authentication_failure_close", "per_consumer_qos"};
	mr_table *capabilities =
		mr_table_nest(properties, "capabilities", strlen("capabilities"), 'F');
	mr_value yes = {.type = 't', .as.boolean = true};
	if (!capabilities) return MR_NO_MEMORY;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int st = mr_table_add(capabilities, names[i], strlen(names[i]), &yes);
		if (st != MR_OK) return (enum mr_status)st;
	}
	return MR_OK;
}

static enum mr_status add_identity(mr_table *properties, const struct mr_login *login)
{
	char platform[256] = "C";
	struct utsname system;
	if (uname(&system) == 0)
		snprintf(platform, sizeof platform, "C; %.64s %.64s", system.sysname,
			system.machine);
	const struct {
		const char *key;
		mr_slice text;
	} pairs[] = {
		{"product", mr_slice_str("Moonrabbit")},
		{"version", mr_slice_str(MR_VERSION_STRING)},
		{"platform", mr_slice_str(platform)},
		{"copyright", mr_slice_str("Moonrabbit contributors")},
		{"information", mr_slice_str("MIT licence")},
		{"connection_name", login->connection_name},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		enum mr_status st = mr_table_add_string(properties, pairs[i].key, pairs[i].text);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

/* The library's properties first, overridden by the user's; capabilities are merged, never
 * replaced. */
static enum mr_status client_properties(const struct mr_login *login, mr_table **out)
{
	mr_table *table = mr_table_new();
	enum mr_status st = table ? add_identity(table, login) : MR_NO_MEMORY;
	if (st == MR_OK) st = add_capabilities(table);
	if (st == MR_OK && login->client_properties)
		st = mr_table_merge(table, login->client_properties);
	if (st == MR_OK)
		*out = table;
	else
		mr_table_free(table);
	return st;
}

/* ---- start ---- */

static bool offers(mr_slice mechanisms, mr_slice name)
{
	const char *at = mechanisms.data, *end = at + mechanisms.size;
	while (at < end) {
		const char *space = memchr(at, ' ', (size_t)(end - at));
		const char *stop = space ? space : end;
		if (mr_slice_equal(mr_slice_of(at, (size_t)(stop - at)), name)) return true;
		at = stop + 1;
	}
	return false;
}

/* PLAIN (RFC 4616): no authorization identity, then user and password. EXTERNAL: an empty
 * response. */
static char *sasl_response(const struct mr_login *login, size_t *size)
{
	*size = 0;
	if (!mr_slice_equal(login->mechanism, mr_slice_str("PLAIN"))) return mr_calloc(1, 1);
	*size = login->user.size + login->password.size + 2;
	char *out = mr_malloc(*size);
	if (!out) return NULL;
	out[0] = '\0';
	if (login->user.size) memcpy(out + 1, login->user.data, login->user.size);
	out[login->user.size + 1] = '\0';
	if (login->password.size)
		memcpy(out + login->user.size + 2, login->password.data, login->password.size);
	return out;
}

static enum mr_status say_start_ok(struct mr_handshake *hs, struct mr_buffer *out, mr_error *error)
{
	struct mr_method m = {.id = MR_M_CONNECTION_START_OK, .other = mr_slice_str("en_US")};
	size_t size;
	char *response = sasl_response(hs->login, &size);
	enum mr_status st = response ? client_properties(hs->login, &m.table) : MR_NO_MEMORY;
	if (st == MR_OK) {
		m.name = hs->login->mechanism;
		m.text = mr_slice_of(response, size);
		st = mr_method_put(out, 0, &m, MR_FRAME_MIN_MAX * 32, error);
	}
	if (response) memset(response, 0, size);
	mr_free(response);
	mr_table_free(m.table);
	return st;
}

static enum mr_status take_start(struct mr_handshake *hs, struct mr_method *m,
	struct mr_buffer *out, mr_error *error)
{
	hs->server_properties = m->table;
	m->table = NULL;
	if (!offers(m->text, hs->login->mechanism)) {
		mr_error_set(error, MR_AUTHENTICATION_FAILED, MR_SCOPE_CONNECTION, 0,
			"the broker does not offer the mechanism %.*s, but: %.*s",
			(int)hs->login->mechanism.size, hs->login->mechanism.data,
			(int)m->text.size, m->text.data);
		hs->step = MR_HS_FAILED;
		return MR_AUTHENTICATION_FAILED;
	}
	hs->step = MR_HS_TUNE;
	return say_start_ok(hs, out, error);
}

/* ---- tune and open ---- */

static enum mr_status take_tune(struct mr_handshake *hs, const struct mr_method *m,
	struct mr_buffer *out, mr_error *error)
{
	const struct mr_login *login = hs->login;
	hs->frame_max = mr_handshake_negotiate(login->frame_max, m->count);
	hs->channel_max = (uint16_t)mr_handshake_negotiate(login->channel_max, m->channel_max);
	/* The client decides about heartbeats: 0 turns them off, else the shorter interval
	 * applies. */
	hs->heartbeat = login->heartbeat
	                        ? (uint16_t)mr_handshake_negotiate(login->heartbeat, m->heartbeat)
	                        : 0;
	if (hs->frame_max && hs->frame_max < MR_FRAME_MIN_MAX)
		return reject(hs, error, MR_FRAME_ERROR, 501,
			"the broker asks for frames below 4096 bytes");
	struct mr_method tune = {.id = MR_M_CONNECTION_TUNE_OK, .count = hs->frame_max};
	tune.channel_max = hs->channel_max;
	tune.heartbeat = hs->heartbeat;
	struct mr_method open = {.id = MR_M_CONNECTION_OPEN,
		.name = login->vhost,
		.flags = login->insist};
	enum mr_status st = mr_method_put(out, 0, &tune, MR_FRAME_MIN_MAX, error);
	if (st == MR_OK) st = mr_method_put(out, 0, &open, MR_FRAME_MIN_MAX, error);
	hs->step = MR_HS_OPEN;
	return st;
}

static bool contains(mr_slice text, const char *what)
{
	return text.size && memmem(text.data, text.size, what, strlen(what)) != NULL;
}

static enum mr_status kind_of_close(const struct mr_handshake *hs, const struct mr_method *m)
{
	if (contains(m->text, "connection limit")) return MR_CONNECTION_LIMIT_REACHED;
	if (m->code == 403 && hs->step != MR_HS_OPEN) return MR_AUTHENTICATION_FAILED;
	bool refused = m->code == 403 || m->code == 530 || m->code == 402;
	return hs->step == MR_HS_OPEN && refused ? MR_VHOST_ACCESS_REFUSED
	                                         : mr_status_of_code(m->code);
}

static enum mr_status take_close(struct mr_handshake *hs, const struct mr_method *m,
	struct mr_buffer *out, mr_error *error)
{
	struct mr_method ok = {.id = MR_M_CONNECTION_CLOSE_OK};
	enum mr_status kind = kind_of_close(hs, m);
	mr_method_put(out, 0, &ok, MR_FRAME_MIN_MAX, NULL);
	hs->step = MR_HS_FAILED;
	return mr_error_set(error, kind, MR_SCOPE_CONNECTION, m->code, "%.*s", (int)m->text.size,
		m->text.data);
}

enum mr_status mr_handshake_feed(struct mr_handshake *hs, struct mr_method *m,
	struct mr_buffer *out, mr_error *error)
{
	enum mr_status st;
	if (m->id == MR_M_CONNECTION_CLOSE) {
		st = take_close(hs, m, out, error);
	} else if (m->id == MR_M_CONNECTION_START && hs->step == MR_HS_START) {
		st = take_start(hs, m, out, error);
	} else if (m->id == MR_M_CONNECTION_TUNE && hs->step == MR_HS_TUNE) {
		st = take_tune(hs, m, out, error);
	} else if (m->id == MR_M_CONNECTION_OPEN_OK && hs->step == MR_HS_OPEN) {
		hs->step = MR_HS_DONE;
		st = MR_OK;
	} else {
		hs->step = MR_HS_FAILED;
		st = mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CONNECTION, 503,
			"unexpected %s in the handshake", mr_method_name(m->id));
	}
	mr_table_free(m->table);
	m->table = NULL;
	return st;
}

enum mr_status mr_handshake_lost(const struct mr_handshake *hs, enum mr_status kind,
	mr_error *error)
{
	if (kind != MR_STREAM_LOST) return kind;
	if (mr_table_has_capability(hs->server_properties, "authentication_failure_close"))
		return kind;
	if (hs->step == MR_HS_TUNE)
		return mr_error_set(error, MR_AUTHENTICATION_FAILED, MR_SCOPE_CONNECTION, 0,
			"the broker hung up on our login without a word");
	if (hs->step == MR_HS_OPEN)
		return mr_error_set(error, MR_VHOST_ACCESS_REFUSED, MR_SCOPE_CONNECTION, 0,
			"the broker hung up when asked for the virtual host");
	return kind;
}
