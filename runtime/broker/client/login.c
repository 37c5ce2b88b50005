/* login: a connection's handshake, from start to open, on the broker's side.
 * SPDX-License-Identifier: MIT
 * Pure. */
#include "broker/client/login.h"

#include "base/alloc.h"
#include "broker/store/reply_error.h"
#include "codec/frame.h"
#include "codec/table.h"
#include "codec/walk.h"

#define CHANNEL_MAX 2047 /* these are RabbitMQ's defaults */
#define FRAME_MAX 131072
#define HEARTBEAT 60

/* ---- start ---- */

static bool add_flag(mr_table *t, const char *key)
{
	mr_value yes = {.type = 't', .as.boolean = true};
	return mr_table_add(t, key, strlen(key), &yes) == MR_OK;
}

/* Clients choose their behaviour by product and version: so these name RabbitMQ, and "moonrabbit"
 * the real product. */
static bool add_names(mr_table *t)
{
	static const char *const names[][2] = {{"product", "RabbitMQ"}, {"version", "3.10.8"},
		{"platform", "C"}, {"copyright", "Moonrabbit contributors"},
		{"cluster_name", "moonrabbit@localhost"}, {"moonrabbit", MR_VERSION_STRING},
		{"information", "Not RabbitMQ: the embedded broker of Moonrabbit " MR_VERSION_STRING
				", which behaves as that version does; for development and tests"}};
	bool ok = true;
	for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
		ok = mr_table_add_string(t, names[i][0], mr_slice_str(names[i][1])) == MR_OK;
	return ok;
}

static mr_table *server_properties(bool delays)
{
	static const char *const capabilities[] = {"publisher_confirms",
		"exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "consumer_priorities", "authentication_failure_close",
		"per_consumer_qos", "direct_reply_to"};
	mr_table *t = mr_table_new();
	mr_table *c = t ? mr_table_nest(t, "capabilities", 12, 'F') : NULL;
	bool ok = c != NULL;
	for (size_t i = 0; ok && i < sizeof capabilities / sizeof *capabilities; i++)
		ok = add_flag(c, capabilities[i]);
	if (ok && delays) ok = add_flag(c, "moonrabbit.delay"); /* broker/store/cascade.h */
	if (ok && add_names(t)) return t;
	mr_table_free(t);
	return NULL;
}

void mr_login_start(struct mr_broker_session *s)
{
	struct mr_method m = {.id = MR_M_CONNECTION_START,
		.text = mr_slice_str("PLAIN AMQPLAIN"),
		.other = mr_slice_str("en_US"),
		.table = server_properties(s->broker->store.backing != NULL)};
	if (m.table)
		mr_broker_session_put(s, 0, &m);
	else
		mr_broker_session_end(s);
	mr_table_free(m.table);
}

/* ---- start-ok ---- */

struct credentials {
	mr_slice user, password;
};

/* [authorization id] NUL user NUL password */
static bool read_plain(mr_slice response, struct credentials *out)
{
	const char *end = response.data + response.size;
	const char *first = response.size ? memchr(response.data, 0, response.size) : NULL;
	const char *second = first ? memchr(first + 1, 0, (size_t)(end - first - 1)) : NULL;
	if (!second) return false;
	out->user = mr_slice_of(first + 1, (size_t)(second - first - 1));
	out->password = mr_slice_of(second + 1, (size_t)(end - second - 1));
	return true;
}

/* Reads a table without its length: LOGIN and PASSWORD. `out` borrows from *keep. */
static bool read_amqplain(mr_slice response, struct credentials *out, mr_table **keep)
{
	struct mr_buffer b = {0};
	uint8_t length[4];
	mr_put32(length, (uint32_t)response.size);
	bool ok = mr_buffer_append(&b, length, 4) == MR_OK &&
	          mr_buffer_append(&b, response.data, response.size) == MR_OK &&
	          mr_table_decode(mr_buffer_data(&b), mr_buffer_size(&b), keep, NULL) == MR_OK;
	mr_buffer_fini(&b);
	const mr_value *user = ok ? mr_table_find(*keep, "LOGIN") : NULL;
	const mr_value *password = ok ? mr_table_find(*keep, "PASSWORD") : NULL;
	if (!user || !password || user->type != 'S' || password->type != 'S') return false;
	out->user = user->as.bytes;
	out->password = password->as.bytes;
	return true;
}

static bool can(mr_slice properties, const char *capability)
{
	struct mr_walk_field all, one;
	return mr_walk_find(properties, "capabilities", &all) && all.type == 'F' &&
	       mr_walk_find(all.value, capability, &one) && one.type == 't' && one.value.data[0];
}

/* The report shows them if they can be decoded: a client is not refused because of its
 * properties. */
static void take_properties(struct mr_broker_session *s, mr_slice table)
{
	mr_table_decode((const uint8_t *)table.data, table.size, &s->client_properties, NULL);
	s->tells_cancel = can(table, "consumer_cancel_notify");
	s->tells_blocked = can(table, "connection.blocked");
	s->tells_login_failure = can(table, "authentication_failure_close");
}

/* Without the capability RabbitMQ hangs up, as the specification of 0-9-1 requires. */
static enum mr_status login_failed(struct mr_broker_session *s, mr_slice mechanism, mr_error *error)
{
	if (s->tells_login_failure)
		return mr_reply_error(error, 403,
			"Login was refused using authentication mechanism %.*s. "
			"For details see the broker logfile.",
			(int)mechanism.size, mechanism.data);
	mr_broker_session_end(s);
	return MR_OK;
}

static enum mr_status start_ok(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error)
{
	struct credentials c = {{0}, {0}};
	mr_table *keep = NULL;
	mr_slice mechanism = m->names[0];
	bool is_plain = mr_slice_equal(mechanism, mr_slice_str("PLAIN"));
	bool is_amqplain = mr_slice_equal(mechanism, mr_slice_str("AMQPLAIN"));
	take_properties(s, m->table);
	bool ok = (is_plain && read_plain(m->text, &c)) ||
	          (is_amqplain && read_amqplain(m->text, &c, &keep));
	if (!ok) { /* it is malformed: RabbitMQ hangs up */
		mr_table_free(keep);
		mr_broker_session_end(s);
		return MR_OK;
	}
	ok = mr_broker_login(s->broker, c.user, c.password);
	if (ok) s->user = mr_strdup_n(c.user.data, c.user.size);
	mr_table_free(keep);
	if (!ok) return login_failed(s, mechanism, error);
	if (!s->user) return mr_reply_error(error, 506, "out of memory");
	struct mr_method tune = {.id = MR_M_CONNECTION_TUNE,
		.channel_max = CHANNEL_MAX,
		.count = FRAME_MAX,
		.heartbeat = HEARTBEAT};
	mr_broker_session_put(s, 0, &tune);
	return MR_OK;
}

/* ---- tune-ok, open ---- */

static enum mr_status tune_ok(struct mr_broker_session *s, const struct mr_client_method *m)
{
	uint16_t channels = m->numbers[0], heartbeat = m->numbers[1];
	uint32_t frame_max = m->wide;
	bool fits = channels && channels <= CHANNEL_MAX && frame_max >= MR_FRAME_MIN_MAX &&
	            frame_max <= FRAME_MAX;
	if (!fits) { /* RabbitMQ logs it and hangs up */
		mr_broker_session_end(s);
		return MR_OK;
	}
	s->channel_max = channels;
	/* As in RabbitMQ, eight bytes more than in the specification. */
	s->guard.frame_max = frame_max + MR_FRAME_OVERHEAD;
	s->frame_max = frame_max;
	s->heartbeat = (mr_msec)heartbeat * 1000;
	return MR_OK;
}

/* A refused login there is one here: it does not pass by waiting. */
static enum mr_status outage(const mr_error *why, mr_error *error)
{
	bool is_refused = why->kind == MR_ACCESS_REFUSED;
	return mr_reply_error(error, is_refused ? 403 : 320, "%s", why->text);
}

static enum mr_status open_vhost(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_CONNECTION_OPEN_OK};
	mr_slice name = m->names[0];
	if (s->broker->outage.kind) return outage(&s->broker->outage, error);
	s->vhost = mr_broker_vhost(s->broker, name);
	if (!s->vhost)
		return mr_reply_error(error, 530, "vhost %.*s not found", (int)name.size,
			name.data);
	mr_broker_session_put(s, 0, &ok);
	return MR_OK;
}

enum mr_status mr_login_method(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error)
{
	if (s->state == MR_BS_STARTED && m->id == MR_M_CONNECTION_START_OK)
		return start_ok(s, m, error);
	if (s->state == MR_BS_TUNING && m->id == MR_M_CONNECTION_TUNE_OK) return tune_ok(s, m);
	if (s->state == MR_BS_OPENING && m->id == MR_M_CONNECTION_OPEN)
		return open_vhost(s, m, error);
	mr_broker_session_end(s); /* out of order: RabbitMQ hangs up */
	return MR_OK;
}
