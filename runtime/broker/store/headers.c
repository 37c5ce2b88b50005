/* headers: matches headers bindings.
 * SPDX-License-Identifier: MIT */
#include "broker/store/headers.h"

#include <inttypes.h>

#include "base/compare.h"
#include "broker/store/fields.h"
#include "broker/store/reply_error.h"

static bool begins_with_x(mr_slice key) { return key.size >= 2 && memcmp(key.data, "x-", 2) == 0; }

/* A void in a binding only requires the header to exist. */
static bool fits(const struct mr_walk_field *wanted, mr_slice headers)
{
	struct mr_walk w = mr_walk_table(headers);
	struct mr_walk_field got;
	while (mr_walk_next(&w, &got))
		if (mr_slice_equal(got.key, wanted->key))
			return wanted->type == 'V' || mr_field_same(wanted, &got);
	return false;
}

static bool counts(const struct mr_walk_field *f, bool with_x)
{
	if (mr_slice_equal(f->key, mr_slice_str("x-match"))) return false;
	return with_x || !begins_with_x(f->key);
}

bool mr_headers_match(mr_slice arguments, mr_slice headers)
{
	struct mr_walk w = mr_walk_table(arguments);
	struct mr_walk_field f;
	mr_value rule = {0};
	bool is_told = mr_fields_get(arguments, "x-match", &rule) && rule.type == 'S';
	mr_slice text = is_told ? rule.as.bytes : mr_slice_str("all");
	bool any = text.size >= 3 && memcmp(text.data, "any", 3) == 0;
	bool with_x = text.size == strlen("all-with-x");
	while (mr_walk_next(&w, &f)) {
		if (!counts(&f, with_x)) continue;
		if (fits(&f, headers) == any) return any;
	}
	return !any;
}

enum mr_status mr_headers_check(mr_slice arguments, mr_error *error)
{
	static const char *const rules[] = {"all", "any", "all-with-x", "any-with-x"};
	mr_value v;
	int64_t n;
	if (!mr_fields_get(arguments, "x-match", &v)) return MR_OK;
	if (v.type != 'S' && mr_value_integer(&v, &n))
		return mr_reply_error(error, 406,
			"Invalid x-match field type %s (value %" PRId64 "); expected longstr",
			mr_field_type_name(v.type), n);
	if (v.type != 'S')
		return mr_reply_error(error, 406, "Invalid x-match field type %s; expected longstr",
			mr_field_type_name(v.type));
	for (size_t i = 0; i < 4; i++)
		if (mr_slice_equal(v.as.bytes, mr_slice_str(rules[i]))) return MR_OK;
	return mr_reply_error(error, 406,
		"Invalid x-match field value <<\"%.*s\">>; expected all, any, all-with-x, or any-with-x",
		(int)v.as.bytes.size, v.as.bytes.data);
}
