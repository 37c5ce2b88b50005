/* headers: when a headers binding matches, and when two argument tables are the same.
 * SPDX-License-Identifier: MIT */
#include "broker/headers.h"

#include <inttypes.h>

#include "broker/refuse.h"

bool mr_value_integer(const mr_value *v, int64_t *out)
{
	switch (v->type) {
	case 'b':
	case 's':
	case 'I':
	case 'l': *out = v->as.integer; return true;
	case 'B':
	case 'u':
	case 'i':
	case 'T':
	case 'L':
		if (v->as.natural > INT64_MAX) return false;
		*out = (int64_t)v->as.natural;
		return true;
	default: return false;
	}
}

static bool same_array(const mr_table *a, const mr_table *b)
{
	if (a->count != b->count) return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (!mr_value_same(&a->fields[i].value, &b->fields[i].value)) return false;
	return true;
}

static bool is_real(const mr_value *v) { return v->type == 'd' || v->type == 'f'; }

/* Any number but a decimal. */
static bool to_real(const mr_value *v, double *out)
{
	int64_t n;
	if (is_real(v)) {
		*out = v->as.real;
		return true;
	}
	if (!mr_value_integer(v, &n)) return false;
	*out = (double)n;
	return true;
}

static bool is_text(const mr_value *v) { return v->type == 'S' || v->type == 'x'; }

bool mr_value_same(const mr_value *a, const mr_value *b)
{
	int64_t x, y;
	if (mr_value_integer(a, &x) && mr_value_integer(b, &y)) return x == y;
	double u, w;
	bool any_real = is_real(a) || is_real(b);
	if (any_real && to_real(a, &u) && to_real(b, &w)) return memcmp(&u, &w, sizeof u) == 0;
	if (is_text(a) && is_text(b)) return mr_slice_equal(a->as.bytes, b->as.bytes);
	if (a->type != b->type) return false;
	switch (a->type) {
	case 't': return a->as.boolean == b->as.boolean;
	case 'F': return mr_table_same(a->as.nested, b->as.nested);
	case 'A': return same_array(a->as.nested, b->as.nested);
	case 'V': return true;
	case 'D': return a->decimals == b->decimals && a->as.natural == b->as.natural;
	default: return a->as.natural == b->as.natural;
	}
}

static const mr_value *find(const mr_table *table, mr_slice key)
{
	for (uint32_t i = 0; table && i < table->count; i++)
		if (mr_slice_equal(table->fields[i].key, key)) return &table->fields[i].value;
	return NULL;
}

bool mr_table_same(const mr_table *a, const mr_table *b)
{
	uint32_t count_a = a ? a->count : 0, count_b = b ? b->count : 0;
	if (count_a != count_b) return false;
	for (uint32_t i = 0; i < count_a; i++) {
		const mr_value *other = find(b, a->fields[i].key);
		if (!other || !mr_value_same(&a->fields[i].value, other)) return false;
	}
	return true;
}

static bool begins_with_x(mr_slice key) { return key.size >= 2 && memcmp(key.data, "x-", 2) == 0; }

/* A binding's void asks only that the header be there. */
static bool fits(const mr_field *wanted, const mr_table *headers)
{
	const mr_value *got = find(headers, wanted->key);
	return got && (wanted->value.type == 'V' || mr_value_same(&wanted->value, got));
}

static bool counts(const mr_field *f, bool with_x)
{
	if (mr_slice_equal(f->key, mr_slice_str("x-match"))) return false;
	return with_x || !begins_with_x(f->key);
}

bool mr_headers_match(const mr_table *arguments, const mr_table *headers)
{
	const mr_value *rule = arguments ? mr_table_find(arguments, "x-match") : NULL;
	mr_slice text = rule && rule->type == 'S' ? rule->as.bytes : mr_slice_str("all");
	bool any = text.size >= 3 && memcmp(text.data, "any", 3) == 0;
	bool with_x = text.size == strlen("all-with-x");
	for (uint32_t i = 0; arguments && i < arguments->count; i++) {
		const mr_field *f = &arguments->fields[i];
		if (!counts(f, with_x)) continue;
		if (fits(f, headers) == any) return any;
	}
	return !any;
}

enum mr_status mr_headers_check(const mr_table *arguments, mr_error *error)
{
	static const char *const rules[] = {"all", "any", "all-with-x", "any-with-x"};
	const mr_value *v = arguments ? mr_table_find(arguments, "x-match") : NULL;
	int64_t n;
	if (!v) return MR_OK;
	if (v->type != 'S' && mr_value_integer(v, &n))
		return mr_refuse(error, 406,
			"Invalid x-match field type %s (value %" PRId64 "); expected longstr",
			mr_type_name(v), n);
	if (v->type != 'S')
		return mr_refuse(error, 406, "Invalid x-match field type %s; expected longstr",
			mr_type_name(v));
	for (size_t i = 0; i < 4; i++)
		if (mr_slice_equal(v->as.bytes, mr_slice_str(rules[i]))) return MR_OK;
	return mr_refuse(error, 406,
		"Invalid x-match field value <<\"%.*s\">>; expected all, any, all-with-x, or any-with-x",
		(int)v->as.bytes.size, v->as.bytes.data);
}

/* RabbitMQ's names of the wire types (rabbit_binary_parser). */
const char *mr_type_name(const mr_value *v)
{
	static const struct {
		char type;
		const char *name;
	} names[] = {{'S', "longstr"}, {'I', "signedint"}, {'i', "unsignedint"}, {'D', "decimal"},
		{'T', "timestamp"}, {'F', "table"}, {'A', "array"}, {'b', "byte"},
		{'B', "unsignedbyte"}, {'d', "double"}, {'f', "float"}, {'l', "long"},
		{'L', "long"}, {'s', "short"}, {'u', "unsignedshort"}, {'t', "bool"},
		{'x', "binary"}, {'V', "void"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].type == (char)v->type) return names[i].name;
	return "unknown";
}
