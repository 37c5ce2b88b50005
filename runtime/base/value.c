/* value: AMQP field tables as trees: building, reading, copying. moonrabbit.h declares the structs.
 * SPDX-License-Identifier: MIT */
#include "base/value.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"

static mr_table *new_table(struct mr_arena *arena)
{
	mr_table *table = mr_arena_alloc(arena, sizeof *table);
	if (table) *table = (mr_table){.arena = arena};
	return table;
}

mr_table *mr_table_new(void)
{
	struct mr_arena *arena = mr_arena_open(512);
	mr_table *table = arena ? new_table(arena) : NULL;
	if (!table) mr_arena_close(arena);
	return table;
}

void mr_table_free(mr_table *table)
{
	if (table) mr_arena_close(table->arena);
}

/* Doubling leaves the old fields in the arena, which at most doubles the memory of the table. */
static mr_field *add_field(mr_table *table)
{
	if (table->count == table->capacity) {
		uint32_t capacity = table->capacity ? table->capacity * 2 : 4;
		mr_field *fields = mr_arena_alloc(table->arena, capacity * sizeof *fields);
		if (!fields) return NULL;
		if (table->count) memcpy(fields, table->fields, table->count * sizeof *fields);
		table->fields = fields;
		table->capacity = capacity;
	}
	return &table->fields[table->count];
}

static enum mr_status copy_bytes(mr_table *table, mr_bytes *out, const char *data, size_t size)
{
	char *copy = mr_arena_alloc(table->arena, size + 1);
	if (!copy) return MR_NO_MEMORY;
	if (size) memcpy(copy, data, size);
	copy[size] = '\0';
	*out = (mr_bytes){copy, size};
	return MR_OK;
}

static bool is_plain(uint8_t type) { return type && strchr("tbBsuIilLfdDSxTV", type) != NULL; }

int mr_table_add(mr_table *table, const char *key, size_t key_size, const mr_value *value)
{
	if (key_size > MR_KEY_MAX) return MR_BAD_ARGUMENT;
	return mr_table_add_received(table, mr_slice_of(key, key_size), value);
}

int mr_table_add_received(mr_table *table, mr_slice key, const mr_value *value)
{
	if (!is_plain(value->type)) return MR_BAD_ARGUMENT;
	mr_field *field = add_field(table);
	if (!field || copy_bytes(table, &field->key, key.data, key.size) != MR_OK)
		return MR_NO_MEMORY;
	field->value = *value;
	if (value->type == 'S' || value->type == 'x') {
		mr_bytes bytes = value->as.bytes;
		if (copy_bytes(table, &field->value.as.bytes, bytes.data, bytes.size) != MR_OK)
			return MR_NO_MEMORY;
	}
	table->count++;
	return MR_OK;
}

mr_table *mr_table_nest(mr_table *table, const char *key, size_t key_size, uint8_t type)
{
	if (key_size > 255 || (type != 'F' && type != 'A'))
		return NULL; /* a peer's keys may be longer than our limit */
	mr_field *field = add_field(table);
	mr_table *nested = field ? new_table(table->arena) : NULL;
	if (!nested || copy_bytes(table, &field->key, key, key_size) != MR_OK) return NULL;
	field->value = (mr_value){.type = type};
	field->value.as.nested = nested;
	table->count++;
	return nested;
}

const mr_value *mr_table_get(const mr_table *table, mr_slice key)
{
	for (uint32_t i = 0; table && i < table->count; i++)
		if (mr_slice_equal(table->fields[i].key, key)) return &table->fields[i].value;
	return NULL;
}

const mr_value *mr_table_find(const mr_table *table, const char *key)
{
	return mr_table_get(table, mr_slice_str(key));
}

enum mr_status mr_table_add_string(mr_table *table, const char *key, mr_slice text)
{
	mr_value value = {.type = 'S', .as.bytes = text};
	return (enum mr_status)mr_table_add(table, key, strlen(key), &value);
}

/* Room for all fields at once, for a table that has none yet. */
static enum mr_status reserve_fields(mr_table *table, uint32_t count)
{
	if (table->capacity || !count) return MR_OK;
	table->fields = mr_arena_alloc(table->arena, count * sizeof *table->fields);
	if (!table->fields) return MR_NO_MEMORY;
	table->capacity = count;
	return MR_OK;
}

static enum mr_status copy_field(mr_table *into, const mr_field *field, int depth)
{
	const mr_value *v = &field->value;
	if (v->type != 'F' && v->type != 'A')
		return (enum mr_status)mr_table_add_received(into, field->key, v);
	if (depth > MR_TABLE_DEPTH_MAX) return MR_BAD_ARGUMENT;
	mr_table *nested = mr_table_nest(into, field->key.data, field->key.size, v->type);
	if (!nested || reserve_fields(nested, v->as.nested->count) != MR_OK) return MR_NO_MEMORY;
	for (uint32_t i = 0; i < v->as.nested->count; i++) {
		enum mr_status st = copy_field(nested, &v->as.nested->fields[i], depth + 1);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

enum mr_status mr_table_add_copy(mr_table *into, const mr_field *field)
{
	return copy_field(into, field, 1);
}

static size_t room_of_bytes(mr_slice s) { return (s.size + 8) & ~(size_t)7; /* and a NUL */ }

/* The bytes of an arena that a copy takes. */
static size_t room_of(const mr_table *table, int depth)
{
	size_t room = sizeof *table + table->count * sizeof *table->fields;
	for (uint32_t i = 0; i < table->count; i++) {
		const mr_value *v = &table->fields[i].value;
		room += room_of_bytes(table->fields[i].key);
		if (v->type == 'S' || v->type == 'x') room += room_of_bytes(v->as.bytes);
		if ((v->type == 'F' || v->type == 'A') && depth <= MR_TABLE_DEPTH_MAX)
			room += room_of(v->as.nested, depth + 1);
	}
	return room;
}

mr_table *mr_table_copy(const mr_table *table)
{
	struct mr_arena *arena = mr_arena_open(room_of(table, 1));
	mr_table *copy = arena ? new_table(arena) : NULL;
	if (!copy || reserve_fields(copy, table->count) != MR_OK) {
		mr_arena_close(arena);
		return NULL;
	}
	for (uint32_t i = 0; copy && i < table->count; i++) {
		if (copy_field(copy, &table->fields[i], 1) == MR_OK) continue;
		mr_table_free(copy);
		copy = NULL;
	}
	return copy;
}

static mr_field *field_of(mr_table *table, mr_slice key)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (mr_slice_equal(table->fields[i].key, key)) return &table->fields[i];
	return NULL;
}

static enum mr_status merge_field(mr_table *into, const mr_field *field)
{
	mr_field *old = field_of(into, field->key);
	if (!old) return copy_field(into, field, 1);
	if (old->value.type == 'F' && field->value.type == 'F')
		return mr_table_merge(old->value.as.nested, field->value.as.nested);
	/* Appends the copy, then moves it to the place of the old field. */
	enum mr_status st = copy_field(into, field, 1);
	if (st != MR_OK) return st;
	old = field_of(into, field->key);
	*old = into->fields[--into->count];
	return MR_OK;
}

enum mr_status mr_table_merge(mr_table *into, const mr_table *from)
{
	for (uint32_t i = 0; i < from->count; i++) {
		enum mr_status st = merge_field(into, &from->fields[i]);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}
