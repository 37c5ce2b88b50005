/* fields: reads single fields of encoded tables: arguments and headers.
 * SPDX-License-Identifier: MIT */
#include "broker/store/fields.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/compare.h"

/* ---- one value ---- */

static int64_t read_signed(mr_slice bytes)
{
	const char *p = bytes.data;
	switch (bytes.size) {
	case 1: return (int8_t)p[0];
	case 2: return (int16_t)mr_get16(p);
	case 4: return (int32_t)mr_get32(p);
	default: return (int64_t)mr_get64(p);
	}
}

static uint64_t read_natural(mr_slice bytes)
{
	const char *p = bytes.data;
	switch (bytes.size) {
	case 1: return (uint8_t)p[0];
	case 2: return mr_get16(p);
	case 4: return mr_get32(p);
	default: return mr_get64(p);
	}
}

static double read_real(mr_slice bytes)
{
	uint64_t wide = read_natural(bytes);
	uint32_t narrow = (uint32_t)wide;
	double d;
	float f;
	memcpy(&d, &wide, sizeof d);
	memcpy(&f, &narrow, sizeof f);
	return bytes.size == 4 ? (double)f : d;
}

void mr_field_value(const struct mr_walk_field *field, mr_value *out)
{
	*out = (mr_value){.type = field->type};
	switch (field->type) {
	case 't': out->as.boolean = field->value.data[0] != 0; break;
	case 'b':
	case 's':
	case 'I':
	case 'l': out->as.integer = read_signed(field->value); break;
	case 'B':
	case 'u':
	case 'i':
	case 'L':
	case 'T': out->as.natural = read_natural(field->value); break;
	case 'f':
	case 'd': out->as.real = read_real(field->value); break;
	case 'S':
	case 'x': out->as.bytes = mr_walk_text(field); break;
	default: break;
	}
}

bool mr_fields_get(mr_slice table, const char *key, mr_value *out)
{
	struct mr_walk_field f;
	if (!mr_walk_find(table, key, &f)) return false;
	mr_field_value(&f, out);
	return true;
}

static bool is_real(const mr_value *v) { return v->type == 'd' || v->type == 'f'; }

/* A whole number and a real one are equal if neither needs rounding. */
static bool same_number(int64_t n, double d)
{
	return d >= -0x1p63 && d < 0x1p63 && (int64_t)d == n && (double)(int64_t)d == d;
}

static bool same_reals(double a, double b) { return !(a < b || a > b) && a - a == b - b; }

/* *known: true if both are numbers. */
static bool same_numbers(const mr_value *x, const mr_value *y, bool *known)
{
	int64_t n, m;
	bool whole_x = mr_value_integer(x, &n), whole_y = mr_value_integer(y, &m);
	*known = (whole_x || is_real(x)) && (whole_y || is_real(y));
	if (!*known) return false;
	if (whole_x && whole_y) return n == m;
	if (whole_x) return same_number(n, y->as.real);
	if (whole_y) return same_number(m, x->as.real);
	return same_reals(x->as.real, y->as.real);
}

static bool is_text(uint8_t type) { return type == 'S' || type == 'x'; }

bool mr_field_same(const struct mr_walk_field *a, const struct mr_walk_field *b)
{
	mr_value x, y;
	bool are_numbers;
	mr_field_value(a, &x);
	mr_field_value(b, &y);
	bool same = same_numbers(&x, &y, &are_numbers);
	if (are_numbers) return same;
	bool are_alike = a->type == b->type || (is_text(a->type) && is_text(b->type));
	return are_alike && mr_slice_equal(a->value, b->value);
}

static bool is_real_type(uint8_t type) { return type == 'f' || type == 'd'; }

bool mr_field_same_argument(const struct mr_walk_field *a, const struct mr_walk_field *b)
{
	return is_real_type(a->type) == is_real_type(b->type) && mr_field_same(a, b);
}

const char *mr_field_type_name(uint8_t type)
{
	/* RabbitMQ's names of the wire types (rabbit_binary_parser). */
	static const struct {
		char type;
		const char *name;
	} names[] = {{'S', "longstr"}, {'I', "signedint"}, {'i', "unsignedint"}, {'D', "decimal"},
		{'T', "timestamp"}, {'F', "table"}, {'A', "array"}, {'b', "byte"},
		{'B', "unsignedbyte"}, {'d', "double"}, {'f', "float"}, {'l', "long"},
		{'L', "long"}, {'s', "short"}, {'u', "unsignedshort"}, {'t', "bool"},
		{'x', "binary"}, {'V', "void"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].type == (char)type) return names[i].name;
	return "unknown";
}

/* ---- whole tables ---- */

enum mr_status mr_fields_copy(mr_slice table, mr_slice *out)
{
	*out = (mr_slice){0};
	if (table.size <= 4) return MR_OK;
	char *bytes = mr_malloc(table.size);
	if (!bytes) return MR_NO_MEMORY;
	memcpy(bytes, table.data, table.size);
	*out = mr_slice_of(bytes, table.size);
	return MR_OK;
}

static int by_key(const void *a, const void *b)
{
	const struct mr_walk_field *x = a, *y = b;
	size_t size = x->key.size < y->key.size ? x->key.size : y->key.size;
	int order = size ? memcmp(x->key.data, y->key.data, size) : 0;
	if (order) return order;
	if (x->key.size != y->key.size) return x->key.size < y->key.size ? -1 : 1;
	return x->whole.data < y->whole.data ? -1 : 1; /* same key twice: in the order received */
}

static size_t count_fields(mr_slice table)
{
	struct mr_walk w = mr_walk_table(table);
	struct mr_walk_field f;
	size_t count = 0;
	while (mr_walk_next(&w, &f)) count++;
	return count;
}

enum mr_status mr_fields_sorted(mr_slice table, mr_slice *out)
{
	size_t count = count_fields(table), i = 0, at = 4;
	enum mr_status st = mr_fields_copy(table, out);
	if (st != MR_OK || count < 2) return st;
	struct mr_walk_field *all = mr_malloc(count * sizeof *all);
	if (!all) {
		mr_free((void *)(uintptr_t)out->data);
		*out = (mr_slice){0};
		return MR_NO_MEMORY;
	}
	struct mr_walk w = mr_walk_table(table);
	while (mr_walk_next(&w, &all[i])) i++;
	qsort(all, count, sizeof *all, by_key);
	char *into = (char *)(uintptr_t)out->data;
	for (i = 0; i < count; i++) {
		memcpy(into + at, all[i].whole.data, all[i].whole.size);
		at += all[i].whole.size;
	}
	mr_free(all);
	return MR_OK;
}
