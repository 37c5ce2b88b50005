/* envelope: kombu's message envelopes (JSON text) to messages.
 * SPDX-License-Identifier: MIT
 * envelope_write.c has the other direction. jansson reads: an integer beyond 64 bits, half a
 * surrogate pair and NaN, which Python takes, are errors. */
#include "redis/envelope.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/value.h"
#include "redis/base64.h"
#include "redis/pyjson.h"

static enum mr_status refuse(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0, "kombu envelope: %s",
		what);
}

static enum mr_status out_of_memory(mr_error *error)
{
	return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_MESSAGE, 0,
		"out of memory for a kombu envelope");
}

static mr_slice text_of(const json_t *value)
{
	return mr_slice_of(json_string_value(value), json_string_length(value));
}

/* Parses an object; *gives*. Of `json` so many bytes were cut out. */
static enum mr_status parse(json_t **out, mr_slice json, size_t cut, mr_error *error)
{
	json_error_t why;
	if (json.size > MR_ENVELOPE_MAX)
		return mr_error_set(error, MR_CONTENT_TOO_LARGE, MR_SCOPE_MESSAGE, 0,
			"kombu envelope: %zu bytes are over the limit of %u", json.size,
			MR_ENVELOPE_MAX);
	json_t *root = json.size ? json_loadb(json.data, json.size, JSON_ALLOW_NUL, &why) : NULL;
	if (!root && json.size && json_error_code(&why) == json_error_out_of_memory)
		return out_of_memory(error);
	if (!root && json.size)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0,
			"kombu envelope: not JSON: %s, at byte %zu", why.text,
			(size_t)why.position + cut);
	if (root && json_is_object(root)) {
		*out = root;
		return MR_OK;
	}
	json_decref(root);
	return refuse(error, root ? "not a JSON object" : "not JSON: it is empty");
}

/* kombu writes the body first, and it is most of an envelope: plain characters (base64 is) need no parser, which takes seconds
 * for 100 MB. Fills in the body, and the other parts with an empty body; nothing if it is not so. */
static enum mr_status cut_body(mr_slice *body, struct mr_buffer *rest, mr_slice json)
{
	static const char start[] = "{\"body\": \"";
	const size_t size = sizeof start - 1;
	*body = (mr_slice){0};
	if (json.size > MR_ENVELOPE_MAX || json.size <= size || memcmp(json.data, start, size) != 0)
		return MR_OK;
	const char *at = json.data + size, *end = memchr(at, '"', json.size - size);
	bool is_plain = end != NULL;
	for (const char *c = at; is_plain && c < end; c++)
		is_plain = *c >= ' ' && *c <= '~' && *c != '\\';
	if (!is_plain || end == at) return MR_OK;
	*body = mr_slice_of(at, (size_t)(end - at));
	enum mr_status st = mr_buffer_append(rest, start, size);
	if (st != MR_OK) return st;
	return mr_buffer_append(rest, end, (size_t)(json.data + json.size - end));
}

/* ---- headers ---- */

static enum mr_status put_value(struct mr_buffer *out, const json_t *value, int depth,
	mr_error *error);

/* Appends a type and a big-endian 64-bit number. */
static enum mr_status put_64(struct mr_buffer *out, char type, uint64_t bits)
{
	char bytes[9] = {type};
	mr_put64(bytes + 1, bits);
	return mr_buffer_append(out, bytes, sizeof bytes);
}

static enum mr_status put_real(struct mr_buffer *out, double real)
{
	uint64_t bits;
	memcpy(&bits, &real, sizeof bits);
	return put_64(out, 'd', bits);
}

static enum mr_status put_string(struct mr_buffer *out, mr_slice text)
{
	char head[5] = {'S'};
	mr_put32(head + 1, (uint32_t)text.size); /* an envelope is below 4 GiB */
	enum mr_status st = mr_buffer_append(out, head, sizeof head);
	return st == MR_OK ? mr_buffer_append(out, text.data, text.size) : st;
}

static enum mr_status put_key(struct mr_buffer *out, const char *key, mr_error *error)
{
	size_t size = strlen(key);
	uint8_t length = (uint8_t)size;
	if (size > 255) return refuse(error, "the name of a header is longer than 255 bytes");
	enum mr_status st = mr_buffer_append(out, &length, 1);
	return st == MR_OK ? mr_buffer_append(out, key, size) : st;
}

static enum mr_status put_items(struct mr_buffer *out, const json_t *array, int depth,
	mr_error *error)
{
	size_t at;
	if (depth > MR_TABLE_DEPTH_MAX) return refuse(error, "the headers are nested too deep");
	enum mr_status st = mr_walk_begin(out, &at);
	for (size_t i = 0; i < json_array_size(array) && st == MR_OK; i++)
		st = put_value(out, json_array_get(array, i), depth, error);
	if (st == MR_OK) mr_walk_end(out, at);
	return st;
}

static enum mr_status put_table(struct mr_buffer *out, json_t *object, int depth, mr_error *error)
{
	size_t at;
	const char *key;
	json_t *value;
	if (depth > MR_TABLE_DEPTH_MAX) return refuse(error, "the headers are nested too deep");
	enum mr_status st = mr_walk_begin(out, &at);
	json_object_foreach(object, key, value)
	{
		if (st == MR_OK) st = put_key(out, key, error);
		if (st == MR_OK) st = put_value(out, value, depth, error);
	}
	if (st == MR_OK) mr_walk_end(out, at);
	return st;
}

/* {"bytes": ..., "__base64__": true}, or with "__bytes__" as text: bytes, as kombu writes them from 5.3 on. */
static bool is_binary(const json_t *value)
{
	const json_t *bytes = json_object_get(value, "bytes");
	bool is_marked = json_is_true(json_object_get(value, "__base64__")) ||
	                 json_is_true(json_object_get(value, "__bytes__"));
	return json_object_size(value) == 2 && json_is_string(bytes) && is_marked;
}

static enum mr_status put_binary(struct mr_buffer *out, const json_t *value, mr_error *error)
{
	mr_slice text = text_of(json_object_get(value, "bytes"));
	bool is_base64 = json_is_true(json_object_get(value, "__base64__"));
	size_t size = text.size;
	enum mr_status st = mr_buffer_reserve(out, text.size + 8);
	if (st != MR_OK) return st;
	uint8_t *at = mr_buffer_tail(out);
	if (!is_base64)
		memcpy(at + 5, text.data, text.size);
	else if (!mr_base64_read((char *)at + 5, &size, text))
		return refuse(error, "the bytes of a header are not base64");
	at[0] = 'x';
	mr_put32(at + 1, (uint32_t)size);
	out->end += 5 + size;
	return MR_OK;
}

/* Appends a type and a value. */
static enum mr_status put_value(struct mr_buffer *out, const json_t *value, int depth,
	mr_error *error)
{
	enum mr_status st;
	switch (json_typeof(value)) {
	case JSON_STRING: return put_string(out, text_of(value));
	case JSON_INTEGER: return put_64(out, 'l', (uint64_t)json_integer_value(value));
	case JSON_REAL: return put_real(out, json_real_value(value));
	case JSON_TRUE: return mr_buffer_append(out, "t\1", 2);
	case JSON_FALSE: return mr_buffer_append(out, "t\0", 2);
	case JSON_NULL: return mr_buffer_append(out, "V", 1);
	case JSON_OBJECT:
		if (is_binary(value)) return put_binary(out, value, error);
		st = mr_buffer_append(out, "F", 1);
		if (st != MR_OK) return st;
		return put_table(out, (json_t *)(uintptr_t)value, depth + 1, error);
	case JSON_ARRAY: break;
	}
	st = mr_buffer_append(out, "A", 1);
	return st == MR_OK ? put_items(out, value, depth + 1, error) : st;
}

/* ---- properties ---- */

static const char *const names[MR_PART_COUNT] = {"content-type", "content-encoding", "headers",
	"delivery_mode", "priority", "correlation_id", "reply_to", "expiration", "message_id",
	"timestamp", "type", "user_id", "app_id", "cluster_id"};

static enum mr_status refuse_property(mr_error *error, const char *name, const char *why)
{
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0, "kombu envelope: %s %s",
		name, why);
}

/* A short string; a number becomes its text. */
static enum mr_status put_short(struct mr_buffer *out, const json_t *value, const char *name,
	mr_error *error)
{
	char number[32];
	mr_slice text = text_of(value);
	if (json_is_integer(value)) {
		snprintf(number, sizeof number, "%" PRId64, (int64_t)json_integer_value(value));
		text = mr_slice_str(number);
	} else if (!json_is_string(value))
		return refuse_property(error, name, "is not text");
	if (text.size > 255) return refuse_property(error, name, "is longer than 255 bytes");
	uint8_t length = (uint8_t)text.size;
	enum mr_status st = mr_buffer_append(out, &length, 1);
	return st == MR_OK ? mr_buffer_append(out, text.data, text.size) : st;
}

/* A number of one byte, which may be text, as int() of kombu takes it. */
static enum mr_status put_octet(struct mr_buffer *out, const json_t *value, const char *name,
	mr_error *error)
{
	int64_t number = json_integer_value(value);
	char end, text[24];
	if (json_is_string(value)) {
		snprintf(text, sizeof text, "%s", json_string_value(value));
		if (sscanf(text, "%" SCNd64 "%c", &number, &end) != 1)
			return refuse_property(error, name, "is not a number");
	} else if (!json_is_integer(value))
		return refuse_property(error, name, "is not a number");
	uint8_t octet = (uint8_t)(number < 0 ? 0 : number > 255 ? 255 : number);
	return mr_buffer_append(out, &octet, 1);
}

static enum mr_status put_timestamp(struct mr_buffer *out, const json_t *value, mr_error *error)
{
	char bytes[8];
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return refuse_property(error, "timestamp", "is not a number of seconds");
	mr_put64(bytes, (uint64_t)json_integer_value(value));
	return mr_buffer_append(out, bytes, sizeof bytes);
}

static enum mr_status put_property(struct mr_buffer *out, json_t *value, int part, mr_error *error)
{
	switch (part) {
	case MR_PART_HEADERS:
		if (!json_is_object(value))
			return refuse_property(error, "headers", "is no object");
		return put_table(out, value, 1, error);
	case MR_PART_DELIVERY_MODE:
	case MR_PART_PRIORITY: return put_octet(out, value, names[part], error);
	case MR_PART_TIMESTAMP: return put_timestamp(out, value, error);
	default: return put_short(out, value, names[part], error);
	}
}

/* Appends flags and fields, as AMQP has them. */
static enum mr_status put_properties(struct mr_buffer *out, const json_t *root,
	const json_t *properties, mr_error *error)
{
	uint8_t flags[2] = {0};
	enum mr_status st = mr_buffer_append(out, flags, sizeof flags);
	for (int i = 0; i < MR_PART_COUNT && st == MR_OK; i++) {
		json_t *value = json_object_get(i <= MR_PART_HEADERS ? root : properties, names[i]);
		bool is_empty = i == MR_PART_HEADERS && value && !json_object_size(value);
		if (!value || json_is_null(value) || (is_empty && json_is_object(value))) continue;
		flags[i / 8] |= (uint8_t)(0x80 >> i % 8);
		st = put_property(out, value, i, error);
	}
	if (st == MR_OK) memcpy(mr_buffer_data(out), flags, sizeof flags);
	return st;
}

/* ---- the message ---- */

struct letter { /* borrows the envelope, and the parsed one */
	mr_slice exchange, key, body, tag;
	bool is_base64, redelivered;
	int64_t expires;
};

/* A name; missing and null are empty. */
static enum mr_status name_of(mr_slice *out, const json_t *info, const char *name, mr_error *error)
{
	const json_t *value = json_object_get(info, name);
	*out = value ? text_of(value) : (mr_slice){0};
	if (value && !json_is_null(value) && !json_is_string(value))
		return refuse_property(error, name, "is not text");
	return out->size > 255 ? refuse_property(error, name, "is longer than 255 bytes") : MR_OK;
}

static enum mr_status read_body(struct letter *l, const json_t *root, const json_t *properties,
	mr_error *error)
{
	const json_t *body = json_object_get(root, "body");
	const json_t *encoding = json_object_get(properties, "body_encoding");
	mr_slice name = text_of(encoding);
	if (body && !json_is_null(body) && !json_is_string(body))
		return refuse(error, "the body is not text");
	if (!l->body.size) l->body = body ? text_of(body) : (mr_slice){0};
	l->is_base64 = mr_slice_equal(name, mr_slice_str("base64"));
	bool is_text = !encoding || json_is_null(encoding) ||
	               (json_is_string(encoding) &&
			       (!name.size || mr_slice_equal(name, mr_slice_str("utf-8"))));
	if (l->is_base64 || is_text) return MR_OK;
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0,
		"kombu envelope: unknown body_encoding '%.40s'",
		name.data ? name.data : "(not text)");
}

static enum mr_status read_letter(struct letter *l, const json_t *root, mr_error *error)
{
	const json_t *properties = json_object_get(root, "properties");
	const json_t *info = json_object_get(properties, "delivery_info");
	const json_t *tag = json_object_get(properties, "delivery_tag");
	const json_t *expires = json_object_get(properties, MR_ENVELOPE_EXPIRES);
	l->tag = text_of(tag);
	if (json_is_integer(expires)) l->expires = json_integer_value(expires);
	if (!json_is_object(properties)) return refuse(error, "properties are missing");
	if (!l->tag.size) return refuse(error, "delivery_tag is missing");
	if (l->tag.size > MR_ENVELOPE_TAG_MAX || memchr(l->tag.data, 0, l->tag.size))
		return refuse(error, "delivery_tag is longer than 255 bytes, or has a NUL");
	l->redelivered =
		json_is_true(json_object_get(json_object_get(root, "headers"), "redelivered")) ||
		json_is_true(json_object_get(info, "redelivered"));
	enum mr_status st = name_of(&l->exchange, info, "exchange", error);
	if (st == MR_OK) st = name_of(&l->key, info, "routing_key", error);
	return st == MR_OK ? read_body(l, root, properties, error) : st;
}

/* kombu's mark is no header of the publisher's: a copy or a dead letter of the message must not have it. */
static void unmark(json_t *headers)
{
	if (json_is_true(json_object_get(headers, "redelivered")))
		json_object_del(headers, "redelivered");
}

static enum mr_status fill_body(struct mr_message *m, const struct letter *l, mr_error *error)
{
	char *at = (char *)(uintptr_t)mr_message_body(m).data;
	size_t size = l->body.size;
	if (l->is_base64 && !mr_base64_read(at, &size, l->body))
		return refuse(error, "the body is not base64");
	if (!l->is_base64 && size) memcpy(at, l->body.data, size);
	m->body_size = size;
	return MR_OK;
}

static enum mr_status make(struct mr_message **out, const struct letter *l,
	const struct mr_buffer *properties, mr_error *error)
{
	mr_slice encoded =
		mr_slice_of((const char *)mr_buffer_data(properties), mr_buffer_size(properties));
	size_t room = l->is_base64 ? l->body.size / 4 * 3 + 3 : l->body.size;
	struct mr_parts parts;
	struct mr_message *m = mr_message_new(l->exchange, l->key, encoded, room);
	if (!m) return out_of_memory(error);
	enum mr_status st = fill_body(m, l, error);
	if (st == MR_OK && !mr_parts_split(encoded, &parts))
		st = refuse(error, "the headers are too many");
	if (st != MR_OK) {
		mr_message_drop(m);
		return st;
	}
	mr_slice headers = parts.part[MR_PART_HEADERS], priority = parts.part[MR_PART_PRIORITY];
	m->headers_at = headers.data ? (uint32_t)(headers.data - encoded.data) : 0;
	m->priority = priority.data ? (uint8_t)priority.data[0] : 0;
	*out = m;
	return MR_OK;
}

enum mr_status mr_envelope_read(struct mr_message **out, struct mr_envelope *seen, mr_slice json,
	mr_error *error)
{
	json_t *root;
	struct mr_buffer properties = {0}, rest = {0};
	struct letter l = {.expires = INT64_MAX};
	enum mr_status st = cut_body(&l.body, &rest, json);
	mr_slice parsed = json;
	if (l.body.size)
		parsed = mr_slice_of((const char *)mr_buffer_data(&rest), mr_buffer_size(&rest));
	if (st == MR_OK) st = parse(&root, parsed, json.size - parsed.size, error);
	mr_buffer_fini(&rest);
	if (st != MR_OK) return st == MR_NO_MEMORY ? out_of_memory(error) : st;
	st = read_letter(&l, root, error);
	if (st == MR_OK) unmark(json_object_get(root, "headers"));
	if (st == MR_OK)
		st = put_properties(&properties, root, json_object_get(root, "properties"), error);
	if (st == MR_OK) st = make(out, &l, &properties, error);
	if (st == MR_OK) {
		memcpy(seen->delivery_tag, l.tag.data, l.tag.size);
		seen->delivery_tag[l.tag.size] = '\0';
		seen->redelivered = l.redelivered;
		seen->expires = l.expires;
	}
	mr_buffer_fini(&properties);
	json_decref(root);
	return st == MR_NO_MEMORY ? out_of_memory(error) : st;
}
