/* properties: encodes basic's 14 properties by rabbitmq-c's codec, and decodes them by ours.
 * SPDX-License-Identifier: MIT
 * The flags of mr_properties are those of the wire format, which rabbitmq-c uses, too. */
#include "codec/properties.h"

#include <string.h>

#include "base/arena.h"
#include "codec/rabbitmqc.h"
#include "codec/read.h"
#include "codec/walk.h"

#define STRINGS 10

/* The string properties in both forms, in the same order. */
static void strings_of(const mr_properties *p, const mr_bytes *out[STRINGS])
{
	const mr_bytes *all[STRINGS] = {&p->content_type, &p->content_encoding, &p->correlation_id,
		&p->reply_to, &p->expiration, &p->message_id, &p->type, &p->user_id, &p->app_id,
		&p->cluster_id};
	memcpy(out, all, sizeof all);
}

static void rc_strings_of(amqp_basic_properties_t *p, amqp_bytes_t *out[STRINGS])
{
	amqp_bytes_t *all[STRINGS] = {&p->content_type, &p->content_encoding, &p->correlation_id,
		&p->reply_to, &p->expiration, &p->message_id, &p->type, &p->user_id, &p->app_id,
		&p->cluster_id};
	memcpy(out, all, sizeof all);
}

static const uint32_t string_flags[STRINGS] = {MR_HAS_CONTENT_TYPE, MR_HAS_CONTENT_ENCODING,
	MR_HAS_CORRELATION_ID, MR_HAS_REPLY_TO, MR_HAS_EXPIRATION, MR_HAS_MESSAGE_ID, MR_HAS_TYPE,
	MR_HAS_USER_ID, MR_HAS_APP_ID, MR_HAS_CLUSTER_ID};

#define ALL_FLAGS 0xfffcu

#define ALL_FLAGS 0xfffcu

/* The strings of the public form, by the index of their part on the wire. */
static mr_bytes *string_at(mr_properties *p, int part)
{
	switch (part) {
	case 0: return &p->content_type;
	case 1: return &p->content_encoding;
	case MR_PART_CORRELATION_ID: return &p->correlation_id;
	case MR_PART_REPLY_TO: return &p->reply_to;
	case MR_PART_EXPIRATION: return &p->expiration;
	case MR_PART_MESSAGE_ID: return &p->message_id;
	case MR_PART_TYPE: return &p->type;
	case MR_PART_USER_ID: return &p->user_id;
	case MR_PART_USER_ID + 1: return &p->app_id;
	case MR_PART_USER_ID + 2: return &p->cluster_id;
	default: return NULL;
	}
}

/* Uses our own reader: the codec cuts long keys, and recurses as deeply as the peer's tables. */
enum mr_status mr_properties_decode(const uint8_t *data, size_t size, mr_properties *out)
{
	struct mr_parts parts;
	mr_properties p = {0};
	if (!mr_parts_split(mr_slice_of((const char *)data, size), &parts)) return MR_FRAME_ERROR;
	for (int i = 0; i < MR_PART_COUNT; i++) {
		mr_bytes *text = string_at(&p, i);
		if (!parts.part[i].data) continue;
		p.flags |= 0x8000u >> i;
		if (text) *text = mr_part_text(&parts, (enum mr_part)i);
	}
	if (p.flags & MR_HAS_DELIVERY_MODE)
		p.delivery_mode = (uint8_t)parts.part[MR_PART_DELIVERY_MODE].data[0];
	if (p.flags & MR_HAS_PRIORITY) p.priority = (uint8_t)parts.part[MR_PART_PRIORITY].data[0];
	if (p.flags & MR_HAS_TIMESTAMP) p.timestamp = mr_get64(parts.part[MR_PART_TIMESTAMP].data);
	if (p.flags & MR_HAS_HEADERS) {
		enum mr_status st = mr_read_table(parts.part[MR_PART_HEADERS], &p.headers);
		if (st != MR_OK) return st;
	}
	*out = p;
	return MR_OK;
}

static enum mr_status refuse(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0, "%s", what);
}

/* Checks the properties, and computes an upper bound for the encoded size. */
static enum mr_status measure(const mr_properties *p, size_t *room, mr_error *error)
{
	const mr_bytes *strings[STRINGS];
	*room = 2 + 1 + 1 + 8; /* the flags and the properties that are not strings */
	if (p->flags & ~ALL_FLAGS) return refuse(error, "a property that AMQP does not have");
	strings_of(p, strings);
	for (size_t i = 0; i < STRINGS; i++) {
		if (!(p->flags & string_flags[i])) continue;
		if (strings[i]->size > 255)
			return refuse(error, "a string property is longer than 255 bytes");
		*room += 1 + strings[i]->size;
	}
	if (p->flags & MR_HAS_HEADERS) *room += mr_table_rc_bound(p->headers);
	return *room <= INT32_MAX ? MR_OK : refuse(error, "the properties are over 2 GiB");
}

static void fill(amqp_basic_properties_t *out, const mr_properties *p)
{
	const mr_bytes *from[STRINGS];
	amqp_bytes_t *to[STRINGS];
	*out = (amqp_basic_properties_t){._flags = p->flags & ALL_FLAGS};
	out->delivery_mode = p->delivery_mode;
	out->priority = p->priority;
	out->timestamp = p->timestamp;
	strings_of(p, from);
	rc_strings_of(out, to);
	for (size_t i = 0; i < STRINGS; i++) *to[i] = mr_rc_bytes(*from[i]);
}

/* Encodes into `at`, which has the measured room; *size receives the encoded size. */
static enum mr_status encode(const mr_properties *p, uint8_t *at, size_t room, size_t *size,
	mr_error *error)
{
	amqp_basic_properties_t record;
	enum mr_status st = MR_OK;
	struct mr_arena *arena = NULL;
	fill(&record, p);
	if (p->flags & MR_HAS_HEADERS && p->headers) {
		arena = mr_arena_open(512);
		st = arena ? mr_table_rc_to(&record.headers, p->headers, arena, error)
		           : MR_NO_MEMORY;
	}
	if (st == MR_OK) {
		int n = amqp_encode_properties(AMQP_BASIC_CLASS, &record, (amqp_bytes_t){room, at});
		if (n < 0)
			st = refuse(error, "the properties do not encode");
		else
			*size = (size_t)n;
	}
	mr_arena_close(arena);
	return st;
}

enum mr_status mr_properties_put(struct mr_buffer *out, const mr_properties *p, mr_error *error)
{
	size_t room, size = 0;
	enum mr_status st = measure(p, &room, error);
	if (st == MR_OK) st = mr_buffer_reserve(out, room);
	if (st == MR_OK) st = encode(p, mr_buffer_tail(out), room, &size, error);
	if (st == MR_OK) out->end += size;
	if (st == MR_NO_MEMORY)
		mr_error_set(error, st, MR_SCOPE_MESSAGE, 0, "out of memory for properties");
	return st;
}

/* ---- the public forms ---- */

int mr_delivery_properties(const mr_delivery *d, mr_properties *out)
{
	return mr_properties_decode((const uint8_t *)d->properties, d->properties_size, out);
}

/* The bound is never below the size: only a buffer below the bound needs an extra copy. */
int mr_properties_encode(const mr_properties *properties, char *buffer, size_t size)
{
	struct mr_buffer out = {0};
	size_t room, n = 0;
	enum mr_status st = measure(properties, &room, NULL);
	if (st == MR_OK && room <= size) {
		st = encode(properties, (uint8_t *)buffer, room, &n, NULL);
		return st == MR_OK ? (int)n : -(int)st;
	}
	if (st == MR_OK) st = mr_properties_put(&out, properties, NULL);
	n = mr_buffer_size(&out);
	if (st == MR_OK && n <= size) memcpy(buffer, mr_buffer_data(&out), n);
	mr_buffer_fini(&out);
	return st == MR_OK ? (int)n : -(int)st;
}
