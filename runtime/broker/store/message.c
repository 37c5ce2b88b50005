/* message: a published message, stored once for all queues that hold it.
 * SPDX-License-Identifier: MIT */
#include "broker/store/message.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "broker/store/fields.h"
#include "broker/store/reply_error.h"
#include "codec/frame.h"

struct layout {
	mr_slice exchange, key, bcc, properties;
	uint64_t body_room;
};

static char *place(char *at, mr_slice bytes)
{
	if (bytes.size) memcpy(at, bytes.data, bytes.size);
	return at + bytes.size;
}

static struct mr_message *lay_out(const struct layout *l)
{
	size_t head = l->exchange.size + l->key.size + l->bcc.size + l->properties.size;
	struct mr_message *m = mr_malloc(sizeof *m + head + l->body_room);
	if (!m) return NULL;
	*m = (struct mr_message){.refs = 1, .expiration = MR_NO_EXPIRATION};
	m->exchange_size = (uint8_t)l->exchange.size;
	m->key_size = (uint8_t)l->key.size;
	m->bcc_size = (uint32_t)l->bcc.size;
	m->properties_size = (uint32_t)l->properties.size;
	place(place(place(place(m->data, l->exchange), l->key), l->bcc), l->properties);
	return m;
}

struct mr_message *mr_message_new(mr_slice exchange, mr_slice key, mr_slice properties,
	uint64_t body_room)
{
	struct layout l = {exchange, key, {0}, properties, body_room};
	return lay_out(&l);
}

static size_t head_size(const struct mr_message *m)
{
	return (size_t)m->exchange_size + m->key_size + m->bcc_size + m->properties_size;
}

size_t mr_message_weight(const struct mr_message *m)
{
	return sizeof *m + head_size(m) + m->body_size;
}

mr_slice mr_message_headers(const struct mr_message *m)
{
	if (!m->headers_at) return (mr_slice){0};
	const char *at = mr_message_properties(m).data + m->headers_at;
	return mr_slice_of(at, (size_t)mr_get32(at) + 4);
}

/* The list of a routing header; empty if it is missing or not a list. */
static mr_slice list_of(mr_slice headers, const char *name)
{
	struct mr_walk_field f;
	if (!headers.size || !mr_walk_find(headers, name, &f) || f.type != 'A')
		return (mr_slice){0};
	return f.value;
}

struct mr_addresses mr_message_addresses(const struct mr_message *m)
{
	mr_slice headers = mr_message_headers(m);
	return (struct mr_addresses){mr_message_key(m), list_of(headers, "CC"), mr_message_bcc(m),
		headers};
}

size_t mr_message_drop(struct mr_message *m)
{
	if (!m || --m->refs) return 0;
	size_t weight = mr_message_weight(m);
	mr_free(m);
	return weight;
}

#define EXPIRATION_MAX 315360000000u /* ms, ten years: RabbitMQ's limit */

/* Reads a whole number of milliseconds as Erlang does: with an optional sign. Returns the number of
 * bytes that it read. */
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
	return mr_reply_error(error, 406, "invalid expiration '%.*s': %s", (int)text.size,
		text.data, why);
}

static enum mr_status check_user(mr_slice id, mr_slice user, mr_error *error)
{
	if (mr_slice_equal(id, user)) return MR_OK;
	return mr_reply_error(error, 406,
		"user_id property set to '%.*s' but authenticated user was '%.*s'", (int)id.size,
		id.data, (int)user.size, user.data);
}

/* CC and BCC must be lists. */
static enum mr_status check_copies(mr_slice headers, mr_error *error)
{
	static const char *const names[] = {"CC", "BCC"};
	struct mr_walk_field f;
	for (int i = 0; headers.size && i < 2; i++)
		if (mr_walk_find(headers, names[i], &f) && f.type != 'A')
			return mr_reply_error(error, 406,
				"invalid message: {unacceptable_type_in_header,\"%s\",%s}",
				names[i], mr_field_type_name(f.type));
	return MR_OK;
}

/* Records the properties that the broker needs; they must be well-formed. */
static void note(struct mr_message *m, const struct mr_parts *parts)
{
	mr_slice headers = parts->part[MR_PART_HEADERS], priority = parts->part[MR_PART_PRIORITY];
	size_t at = 2;
	for (int i = 0; i < MR_PART_HEADERS; i++) at += parts->part[i].size;
	m->headers_at = headers.data ? (uint32_t)at : 0;
	m->priority = priority.data ? (uint8_t)priority.data[0] : 0;
}

/* Replaces a message with BCC, or with a reply_to to resolve, by a changed copy: BCC is only for
 * routing, and reply_to becomes the name of the channel's own queue. */
static enum mr_status change(struct mr_message **m, struct mr_parts *parts, const char *reply_queue)
{
	struct mr_addresses to = mr_message_addresses(*m);
	struct mr_buffer headers = {0}, reply = {0};
	struct mr_walk_field bcc;
	struct mr_message *changed = NULL;
	enum mr_status st = MR_OK;
	if (to.headers.size && mr_walk_find(to.headers, "BCC", &bcc)) {
		size_t at, before = (size_t)(bcc.whole.data - to.headers.data) - 4;
		const char *rest = bcc.whole.data + bcc.whole.size;
		st = mr_walk_begin(&headers, &at);
		if (st == MR_OK) st = mr_buffer_append(&headers, to.headers.data + 4, before);
		if (st == MR_OK)
			st = mr_buffer_append(&headers, rest,
				to.headers.size - 4 - before - bcc.whole.size);
		if (st == MR_OK) mr_walk_end(&headers, at);
		to.bcc = bcc.value;
		parts->part[MR_PART_HEADERS] = mr_slice_of((const char *)mr_buffer_data(&headers),
			mr_buffer_size(&headers));
	}
	if (st == MR_OK && reply_queue) {
		uint8_t size = (uint8_t)strlen(reply_queue);
		st = mr_buffer_append(&reply, &size, 1);
		if (st == MR_OK) st = mr_buffer_append(&reply, reply_queue, size);
		parts->part[MR_PART_REPLY_TO] =
			mr_slice_of((const char *)mr_buffer_data(&reply), mr_buffer_size(&reply));
	}
	if (st == MR_OK) changed = mr_message_with(*m, mr_message_exchange(*m), &to, parts);
	mr_buffer_fini(&headers);
	mr_buffer_fini(&reply);
	if (!changed) return MR_NO_MEMORY;
	mr_message_drop(*m);
	*m = changed;
	return MR_OK;
}

enum mr_status mr_message_inspect(struct mr_message **m, mr_slice user, const char *reply_queue,
	mr_error *error)
{
	struct mr_parts parts;
	struct mr_walk_field bcc;
	if (!mr_parts_split(mr_message_properties(*m), &parts))
		return mr_error_set(error, MR_INTERNAL_ERROR, MR_SCOPE_CONNECTION, 541,
			"INTERNAL_ERROR");
	note(*m, &parts);
	mr_slice headers = parts.part[MR_PART_HEADERS];
	enum mr_status st = MR_OK;
	bool wants_reply = mr_slice_equal(mr_part_text(&parts, MR_PART_REPLY_TO),
		mr_slice_str(MR_REPLY_QUEUE));
	if (wants_reply && !reply_queue) /* RabbitMQ checks this first, too */
		return mr_reply_error(error, 406, "fast reply consumer does not exist");
	if (parts.part[MR_PART_USER_ID].data)
		st = check_user(mr_part_text(&parts, MR_PART_USER_ID), user, error);
	if (st == MR_OK && parts.part[MR_PART_EXPIRATION].data)
		st = read_expiration(mr_part_text(&parts, MR_PART_EXPIRATION), &(*m)->expiration,
			error);
	if (st == MR_OK) st = check_copies(headers, error);
	if (st != MR_OK) return st;
	bool has_bcc = headers.size && mr_walk_find(headers, "BCC", &bcc);
	return has_bcc || wants_reply ? change(m, &parts, wants_reply ? reply_queue : NULL) : MR_OK;
}

struct mr_message *mr_message_with(const struct mr_message *m, mr_slice exchange,
	const struct mr_addresses *to, const struct mr_parts *parts)
{
	struct mr_buffer encoded = {0};
	struct mr_message *copy = NULL;
	mr_slice body = mr_message_body(m);
	if (mr_parts_join(&encoded, parts) == MR_OK) {
		struct layout l = {exchange, to->key, to->bcc,
			mr_slice_of((const char *)mr_buffer_data(&encoded),
				mr_buffer_size(&encoded)),
			body.size};
		copy = lay_out(&l);
	}
	mr_buffer_fini(&encoded);
	if (!copy) return NULL;
	copy->body_size = body.size;
	note(copy, parts);
	if (parts->part[MR_PART_EXPIRATION].data) copy->expiration = m->expiration;
	place(copy->data + head_size(copy), body);
	return copy;
}
