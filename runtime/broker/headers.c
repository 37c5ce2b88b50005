/* headers: when a headers binding matches, and when two argument tables are the same.
 * SPDX-License-Identifier: MIT */
#include "broker/headers.h"

#include <inttypes.h>

#include "base/compare.h"
#include "broker/refuse.h"

static bool begins_with_x(mr_slice key) { return key.size >= 2 && memcmp(key.data, "x-", 2) == 0; }

/* A binding's void asks only that the header be there. */
static bool fits(const mr_field *wanted, const mr_table *headers)
{
	const mr_value *got = mr_table_get(headers, wanted->key);
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
