/* table: encodes and decodes field tables by rabbitmq-c's codec.
 * SPDX-License-Identifier: MIT
 * This file and the guard check what the codec does not: the codec accepts a nested length beyond its parent,
 * recurses as deeply as the table, cuts the length of a long key to 8 bits, and cuts numbers to the width of
 * their field. All 18 types work in both directions, except 'L': it is decoded, but encoded as 'l', as
 * docs/architecture.md requires. RabbitMQ 3.10.8 keeps all 18 types, including 'L'. */
#include "codec/table.h"

#include <float.h>
#include <math.h>

#include "base/arena.h"
#include "codec/guard.h"
#include "codec/rabbitmqc.h"

#define POOL_PAGE 1024 /* most tables fit; a larger one gets more blocks */

/* ---- to rabbitmq-c ---- */

static enum mr_status refuse(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_NONE, 0, "%s", what);
}

/* True if the number fits its type. 'L' is encoded as 'l'. */
static bool fits(const mr_value *v)
{
	int64_t n = v->as.integer;
	switch (v->type) {
	case 'b': return n >= INT8_MIN && n <= INT8_MAX;
	case 's': return n >= INT16_MIN && n <= INT16_MAX;
	case 'I': return n >= INT32_MIN && n <= INT32_MAX;
	case 'B': return v->as.natural <= UINT8_MAX;
	case 'u': return v->as.natural <= UINT16_MAX;
	case 'i':
	case 'D': return v->as.natural <= UINT32_MAX;
	case 'L': return v->as.natural <= INT64_MAX;
	case 'f': return !isfinite(v->as.real) || fabs(v->as.real) <= (double)FLT_MAX;
	default: return true;
	}
}

static enum mr_status fields_to(amqp_table_t *out, const mr_table *table, struct mr_arena *arena,
	int depth, mr_error *error);
static enum mr_status array_to(amqp_array_t *out, const mr_table *array, struct mr_arena *arena,
	int depth, mr_error *error);

static enum mr_status value_to(amqp_field_value_t *out, const mr_value *v, struct mr_arena *arena,
	int depth, mr_error *error)
{
	if (!fits(v)) return refuse(error, "a field table holds a number beyond its type");
	out->kind = v->type;
	switch (v->type) {
	case 't': out->value.boolean = v->as.boolean; break;
	case 'b': out->value.i8 = (int8_t)v->as.integer; break;
	case 'B': out->value.u8 = (uint8_t)v->as.natural; break;
	case 's': out->value.i16 = (int16_t)v->as.integer; break;
	case 'u': out->value.u16 = (uint16_t)v->as.natural; break;
	case 'I': out->value.i32 = (int32_t)v->as.integer; break;
	case 'i': out->value.u32 = (uint32_t)v->as.natural; break;
	case 'l': out->value.i64 = v->as.integer; break;
	case 'L':
		out->kind = 'l';
		out->value.i64 = (int64_t)v->as.natural;
		break;
	case 'f': out->value.f32 = (float)v->as.real; break;
	case 'd': out->value.f64 = v->as.real; break;
	case 'D':
		out->value.decimal.decimals = v->decimals;
		out->value.decimal.value = (uint32_t)v->as.natural;
		break;
	case 'T': out->value.u64 = v->as.natural; break;
	case 'S':
	case 'x': out->value.bytes = mr_rc_bytes(v->as.bytes); break;
	case 'F': return fields_to(&out->value.table, v->as.nested, arena, depth + 1, error);
	case 'A': return array_to(&out->value.array, v->as.nested, arena, depth + 1, error);
	case 'V': break;
	default: return refuse(error, "a field table holds a value of unknown type");
	}
	return MR_OK;
}

static enum mr_status fields_to(amqp_table_t *out, const mr_table *table, struct mr_arena *arena,
	int depth, mr_error *error)
{
	*out = (amqp_table_t){0};
	if (depth > MR_TABLE_DEPTH_MAX) return refuse(error, "a field table is nested too deep");
	if (!table || !table->count) return MR_OK;
	out->entries = mr_arena_alloc(arena, table->count * sizeof *out->entries);
	if (!out->entries) return MR_NO_MEMORY;
	for (uint32_t i = 0; i < table->count; i++) {
		const mr_field *f = &table->fields[i];
		if (f->key.size > MR_KEY_MAX)
			return refuse(error, "a table key is longer than 128 bytes");
		out->entries[i].key = mr_rc_bytes(f->key);
		enum mr_status st =
			value_to(&out->entries[i].value, &f->value, arena, depth, error);
		if (st != MR_OK) return st;
	}
	out->num_entries = (int)table->count;
	return MR_OK;
}

static enum mr_status array_to(amqp_array_t *out, const mr_table *array, struct mr_arena *arena,
	int depth, mr_error *error)
{
	*out = (amqp_array_t){0};
	if (depth > MR_TABLE_DEPTH_MAX) return refuse(error, "a field table is nested too deep");
	if (!array || !array->count) return MR_OK;
	out->entries = mr_arena_alloc(arena, array->count * sizeof *out->entries);
	if (!out->entries) return MR_NO_MEMORY;
	for (uint32_t i = 0; i < array->count; i++) {
		enum mr_status st =
			value_to(&out->entries[i], &array->fields[i].value, arena, depth, error);
		if (st != MR_OK) return st;
	}
	out->num_entries = (int)array->count;
	return MR_OK;
}

enum mr_status mr_table_rc_to(amqp_table_t *out, const mr_table *table, struct mr_arena *arena,
	mr_error *error)
{
	return fields_to(out, table, arena, 1, error);
}

static size_t bound(const mr_table *table, int depth)
{
	size_t total = 4;
	for (uint32_t i = 0; table && i < table->count && depth <= MR_TABLE_DEPTH_MAX; i++) {
		const mr_value *v = &table->fields[i].value;
		total += 1 + table->fields[i].key.size + 1 +
		         9; /* the key, the type, and the largest plain value or a length */
		if (v->type == 'S' || v->type == 'x') total += v->as.bytes.size;
		if (v->type == 'F' || v->type == 'A') total += bound(v->as.nested, depth + 1);
	}
	return total;
}

size_t mr_table_rc_bound(const mr_table *table) { return bound(table, 1); }

static enum mr_status append(struct mr_buffer *out, amqp_table_t *table, size_t room,
	mr_error *error)
{
	size_t offset = 0;
	if (mr_buffer_reserve(out, room) != MR_OK) return MR_NO_MEMORY;
	if (amqp_encode_table((amqp_bytes_t){room, mr_buffer_tail(out)}, table, &offset) !=
		AMQP_STATUS_OK)
		return refuse(error, "a field table does not encode");
	out->end += offset;
	return MR_OK;
}

enum mr_status mr_table_encode(struct mr_buffer *out, const mr_table *table, mr_error *error)
{
	amqp_table_t encoded;
	size_t room = mr_table_rc_bound(table);
	if (room > INT32_MAX) return refuse(error, "a field table is larger than 2 GiB");
	struct mr_arena *arena = mr_arena_open(512);
	enum mr_status st = arena ? mr_table_rc_to(&encoded, table, arena, error) : MR_NO_MEMORY;
	if (st == MR_OK) st = append(out, &encoded, room, error);
	mr_arena_close(arena);
	if (st == MR_NO_MEMORY)
		mr_error_set(error, st, MR_SCOPE_NONE, 0, "out of memory for a field table");
	return st;
}

/* ---- from rabbitmq-c ---- */

static enum mr_status fields_from(mr_table *into, const amqp_table_t *table);

static enum mr_status value_from(mr_table *into, mr_slice key, const amqp_field_value_t *v);

static enum mr_status nested_from(mr_table *into, mr_slice key, const amqp_field_value_t *v)
{
	mr_table *nested = mr_table_nest(into, key.data, key.size, v->kind);
	if (!nested) return MR_NO_MEMORY;
	if (v->kind == 'F') return fields_from(nested, &v->value.table);
	for (int i = 0; i < v->value.array.num_entries; i++) {
		enum mr_status st =
			value_from(nested, mr_slice_of("", 0), &v->value.array.entries[i]);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

static enum mr_status value_from(mr_table *into, mr_slice key, const amqp_field_value_t *v)
{
	mr_value out = {.type = v->kind};
	switch (v->kind) {
	case 't': out.as.boolean = v->value.boolean != 0; break;
	case 'b': out.as.integer = v->value.i8; break;
	case 'B': out.as.natural = v->value.u8; break;
	case 's': out.as.integer = v->value.i16; break;
	case 'u': out.as.natural = v->value.u16; break;
	case 'I': out.as.integer = v->value.i32; break;
	case 'i': out.as.natural = v->value.u32; break;
	case 'l': out.as.integer = v->value.i64; break;
	case 'L':
	case 'T': out.as.natural = v->value.u64; break;
	case 'f': out.as.real = (double)v->value.f32; break;
	case 'd': out.as.real = v->value.f64; break;
	case 'D':
		out.decimals = v->value.decimal.decimals;
		out.as.natural = v->value.decimal.value;
		break;
	case 'S':
	case 'x': out.as.bytes = mr_rc_slice(v->value.bytes); break;
	case 'F':
	case 'A': return nested_from(into, key, v);
	default: out.type = 'V'; break;
	}
	return (enum mr_status)mr_table_add_received(into, key, &out);
}

static enum mr_status fields_from(mr_table *into, const amqp_table_t *table)
{
	for (int i = 0; i < table->num_entries; i++) {
		enum mr_status st = value_from(into, mr_rc_slice(table->entries[i].key),
			&table->entries[i].value);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

enum mr_status mr_table_rc_from(mr_table **out, const amqp_table_t *table)
{
	mr_table *root = mr_table_new();
	if (!root) return MR_NO_MEMORY;
	enum mr_status st = fields_from(root, table);
	if (st == MR_OK)
		*out = root;
	else
		mr_table_free(root);
	return st;
}

enum mr_status mr_table_decode(const uint8_t *data, size_t size, mr_table **out, size_t *used)
{
	amqp_pool_t pool;
	amqp_table_t table = {0};
	size_t offset = 0;
	size_t length = mr_guard_table(data, size);
	if (!length) return MR_FRAME_ERROR;
	init_amqp_pool(&pool, POOL_PAGE);
	int rc = amqp_decode_table(mr_rc_bytes(mr_slice_of((const char *)data, length)), &pool,
		&table, &offset);
	enum mr_status st = rc == AMQP_STATUS_OK ? MR_OK : mr_rc_status(rc);
	if (st == MR_OK) st = mr_table_rc_from(out, &table);
	if (st == MR_OK && used) *used = length;
	empty_amqp_pool(&pool);
	return st;
}

bool mr_table_has_capability(const mr_table *properties, const char *name)
{
	const mr_value *c = properties ? mr_table_find(properties, "capabilities") : NULL;
	const mr_value *v = c && c->type == 'F' ? mr_table_find(c->as.nested, name) : NULL;
	return v && v->type == 't' && v->as.boolean;
}
