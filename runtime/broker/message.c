/* message: what a client published, kept once however many queues hold it.
 * SPDX-License-Identifier: MIT */
#include "broker/message.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "base/alloc.h"
#include "broker/refuse.h"

struct mr_message *mr_message_new(mr_slice exchange, mr_slice key, mr_slice properties,
	uint64_t body_room)
{
	size_t head = exchange.size + key.size + properties.size;
	struct mr_message *m = mr_malloc(sizeof *m + head + body_room);
	if (!m) return NULL;
	*m = (struct mr_message){.refs = 1, .expiration = MR_NO_EXPIRATION};
	m->exchange_size = (uint8_t)exchange.size;
	m->key_size = (uint8_t)key.size;
	m->properties_size = (uint32_t)properties.size;
	if (exchange.size) memcpy(m->data, exchange.data, exchange.size);
	if (key.size) memcpy(m->data + exchange.size, key.data, key.size);
	memcpy(m->data + exchange.size + key.size, properties.data, properties.size);
	return m;
}

size_t mr_message_weight(const struct mr_message *m)
{
	return sizeof *m + m->exchange_size + m->key_size + m->properties_size + m->body_size;
}

uint32_t mr_message_frame_max(const struct mr_message *m, uint32_t frame_max)
{
	uint32_t needed = m->properties_size + 12 + MR_FRAME_OVERHEAD;
	return needed > frame_max ? needed : frame_max;
}

size_t mr_message_drop(struct mr_message *m)
{
	if (!m || --m->refs) return 0;
	size_t weight = mr_message_weight(m);
	mr_free(m);
	return weight;
}

#define EXPIRATION_MAX 315360000000u /* ms, ten years: RabbitMQ's limit */

/* A whole number of milliseconds, as Erlang reads one: a sign may lead. Returns how many bytes of the
 * text are the number. */
static size_t read_integer(mr_slice text, int64_t *out)
{
	size_t at = 0;
	int64_t value = 0;
	bool negative = text.size && text.data[0] == '-';
	if (text.size && (text.data[0] == '-' || text.data[0] == '+')) at++;
	size_t digits = at;
	for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++)
		if (value < INT64_MAX / 100) value = value * 10 + (text.data[at] - '0');
	*out = negative ? -value : value;
	return at == digits ? 0 : at;
}

static enum mr_status read_expiration(mr_slice text, uint64_t *out, mr_error *error)
{
	int64_t value;
	char why[300];
	size_t used = read_integer(text, &value);
	if (used && used == text.size && value >= 0 && value <= (int64_t)EXPIRATION_MAX) {
		*out = (uint64_t)value;
		return MR_OK;
	}
	if (!used)
		snprintf(why, sizeof why, "no_integer");
	else if (used < text.size)
		snprintf(why, sizeof why, "{leftover_string,\"%.*s\"}", (int)(text.size - used),
			text.data + used);
	else
		snprintf(why, sizeof why, "{value_%s,%" PRId64 "}",
			value < 0 ? "negative" : "too_large", value);
	return mr_refuse(error, 406, "invalid expiration '%.*s': %s", (int)text.size, text.data,
		why);
}

static enum mr_status check_user(mr_slice id, mr_slice user, mr_error *error)
{
	if (mr_slice_equal(id, user)) return MR_OK;
	return mr_refuse(error, 406,
		"user_id property set to '%.*s' but authenticated user was '%.*s'", (int)id.size,
		id.data, (int)user.size, user.data);
}

enum mr_status mr_message_inspect(struct mr_message *m, mr_slice user, mr_error *error)
{
	mr_slice p = mr_message_properties(m);
	const uint8_t *data = (const uint8_t *)p.data;
	if (!mr_guard_properties(data, p.size))
		return mr_error_set(error, MR_INTERNAL_ERROR, MR_SCOPE_CONNECTION, 541,
			"INTERNAL_ERROR");
	unsigned flags = mr_get16(data);
	size_t at = 2;
	for (unsigned bit = 0x8000; bit > 2; bit >>= 1) {
		if (!(flags & bit)) continue;
		if (bit == MR_HAS_HEADERS) {
			m->has_headers = true;
			at += mr_guard_table(data + at, p.size - at);
		} else if (bit == MR_HAS_TIMESTAMP) {
			at += 8;
		} else if (bit == MR_HAS_PRIORITY || bit == MR_HAS_DELIVERY_MODE) {
			if (bit == MR_HAS_PRIORITY) m->priority = data[at];
			at++;
		} else {
			mr_slice text = mr_slice_of(p.data + at + 1, data[at]);
			at += 1 + text.size;
			if (bit == MR_HAS_EXPIRATION &&
				read_expiration(text, &m->expiration, error) != MR_OK)
				return MR_PRECONDITION_FAILED;
			if (bit == MR_HAS_REPLY_TO)
				m->wants_reply = mr_slice_equal(text, mr_slice_str(MR_REPLY_QUEUE));
			if (bit == MR_HAS_USER_ID && check_user(text, user, error) != MR_OK)
				return MR_PRECONDITION_FAILED;
		}
	}
	return MR_OK;
}

enum mr_status mr_message_decode(const struct mr_message *m, mr_properties *out)
{
	mr_slice p = mr_message_properties(m);
	return mr_properties_decode((const uint8_t *)p.data, p.size, out);
}

struct mr_message *mr_message_with(const struct mr_message *m, mr_slice exchange, mr_slice key,
	const mr_properties *properties)
{
	struct mr_buffer encoded = {0};
	struct mr_message *copy = NULL;
	mr_slice body = mr_message_body(m);
	if (mr_properties_put(&encoded, properties, NULL) == MR_OK)
		copy = mr_message_new(exchange, key,
			mr_slice_of((const char *)mr_buffer_data(&encoded),
				mr_buffer_size(&encoded)),
			body.size);
	mr_buffer_fini(&encoded);
	if (!copy) return NULL;
	copy->body_size = body.size;
	copy->priority = properties->flags & MR_HAS_PRIORITY ? properties->priority : 0;
	copy->has_bcc = m->has_bcc;
	copy->has_headers = (properties->flags & MR_HAS_HEADERS) != 0;
	if (properties->flags & MR_HAS_EXPIRATION)
		read_expiration(properties->expiration, &copy->expiration, NULL);
	memcpy(copy->data + exchange.size + key.size + copy->properties_size, body.data, body.size);
	return copy;
}
