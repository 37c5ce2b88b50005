/* message: what a client published, kept once however many queues hold it.
 * SPDX-License-Identifier: MIT */
#include "broker/message.h"

#include "amqp/guard.h"
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

size_t mr_message_drop(struct mr_message *m)
{
	if (!m || --m->refs) return 0;
	size_t weight = mr_message_weight(m);
	mr_free(m);
	return weight;
}

/* What RabbitMQ takes for a number of milliseconds: digits only. */
static bool read_expiration(mr_slice text, uint64_t *out)
{
	uint64_t value = 0;
	if (!text.size || text.size > 18) return false;
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] < '0' || text.data[i] > '9') return false;
		value = value * 10 + (uint64_t)(text.data[i] - '0');
	}
	*out = value;
	return value <= UINT32_MAX; /* RabbitMQ's limit, from Erlang's timers */
}

/* RabbitMQ's own way to say what is wrong with it (rabbit_basic:parse_expiration). */
static enum mr_status bad_expiration(mr_slice text, mr_error *error)
{
	size_t digits = 0;
	while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
	if (text.size && digits == text.size)
		return mr_refuse(error, 406, "invalid expiration '%.*s': {value_too_large}",
			(int)text.size, text.data);
	if (digits)
		return mr_refuse(error, 406,
			"invalid expiration '%.*s': {leftover_string,\"%.*s\"}", (int)text.size,
			text.data, (int)(text.size - digits), text.data + digits);
	return mr_refuse(error, 406, "invalid expiration '%.*s': no_integer", (int)text.size,
		text.data);
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
		return mr_refuse(error, 501, "malformed properties");
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
			if (bit == MR_HAS_EXPIRATION && !read_expiration(text, &m->expiration))
				return bad_expiration(text, error);
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
	copy->has_headers = (properties->flags & MR_HAS_HEADERS) != 0;
	if (properties->flags & MR_HAS_EXPIRATION)
		read_expiration(properties->expiration, &copy->expiration);
	memcpy(copy->data + exchange.size + key.size + copy->properties_size, body.data, body.size);
	return copy;
}
