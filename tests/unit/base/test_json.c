/* test_json: tables as JSON, whatever is in them.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"

static void assert_json(const mr_table *t, const char *expected)
{
	struct mr_buffer b = {0};
	assert_int_equal(mr_json_table(&b, t), MR_OK);
	mr_buffer_append(&b, "", 1);
	assert_string_equal((char *)mr_buffer_data(&b), expected);
	mr_buffer_fini(&b);
}

static void add(mr_table *t, const char *key, mr_value value)
{
	assert_int_equal(mr_table_add(t, key, strlen(key), &value), MR_OK);
}

static void assert_string(const char *text, size_t size, const char *expected)
{
	struct mr_buffer b = {0};
	assert_int_equal(mr_json_string(&b, mr_slice_of(text, size)), MR_OK);
	mr_buffer_append(&b, "", 1);
	assert_string_equal((char *)mr_buffer_data(&b), expected);
	mr_buffer_fini(&b);
}

static void test_every_type_has_a_form(void **state)
{
	mr_table *t = mr_table_new();
	(void)state;
	assert_json(t, "{}");
	add(t, "yes", (mr_value){.type = 't', .as.boolean = true});
	add(t, "n", (mr_value){.type = 'l', .as.integer = INT64_MIN});
	add(t, "u", (mr_value){.type = 'L', .as.natural = UINT64_MAX});
	add(t, "d", (mr_value){.type = 'd', .as.real = 1.5});
	add(t, "nan", (mr_value){.type = 'd', .as.real = NAN});
	add(t, "inf", (mr_value){.type = 'd', .as.real = -INFINITY});
	add(t, "void", (mr_value){.type = 'V'});
	add(t, "s", (mr_value){.type = 'S', .as.bytes = {"text", 4}});
	assert_json(t, "{\"yes\":true,\"n\":-9223372036854775808,\"u\":18446744073709551615,"
		       "\"d\":1.5,\"nan\":null,\"inf\":null,\"void\":null,\"s\":\"text\"}");
	mr_table_free(t);
}

/* FIELD-W5: a number reads back as the same, by the fewest digits that do. */
static void test_numbers_read_back_as_they_were(void **state)
{
	static const struct {
		double number;
		const char *text;
	} cases[] = {{9007199254740991.0, "9007199254740991"},
		{1700000000.123456, "1700000000.123456"}, {0.1, "0.1"},
		{0.1 + 0.2, "0.30000000000000004"}, {-0.0, "-0"}, {1e300, "1e+300"},
		{5e-324, "4.9406564584125e-324"}, {100, "100"}, {-1.5, "-1.5"}};
	char text[MR_NUMBER_SIZE];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mr_number_text(text, cases[i].number);
		assert_string_equal(text, cases[i].text);
	}
	uint64_t bits = 1;
	for (int i = 0; i < 100000; i++) {
		double number, back;
		bits = bits * 6364136223846793005u + 1442695040888963407u;
		memcpy(&number, &bits, sizeof number);
		if (!isfinite(number)) continue;
		mr_number_text(text, number);
		back = strtod(text, NULL);
		assert_memory_equal(&back, &number, sizeof back);
	}
}

static void test_tables_and_arrays_nest(void **state)
{
	mr_table *t = mr_table_new();
	(void)state;
	mr_table *list = mr_table_nest(t, "list", 4, 'A');
	mr_table_nest(t, "empty", 5, 'A');
	mr_table_nest(t, "none", 4, 'F');
	mr_table *inner = mr_table_nest(list, "", 0, 'F');
	add(inner, "a", (mr_value){.type = 'I', .as.integer = -1});
	add(list, "", (mr_value){.type = 'u', .as.natural = 2});
	assert_json(t, "{\"list\":[{\"a\":-1},2],\"empty\":[],\"none\":{}}");
	mr_table_free(t);
}

static void test_strings_are_escaped_and_always_utf8(void **state)
{
	(void)state;
	assert_string("a\"b\\c\n\r\t\x01\x7f", 10, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"");
	assert_string("a\0b", 3, "\"a\\u0000b\"");
	assert_string("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xb0", 11,
		"\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xb0\"");
	/* cut, overlong, a surrogate, beyond Unicode, a lone tail */
	assert_string("\xc3", 1, "\"\xef\xbf\xbd\"");
	assert_string("\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string("\xe0\x80\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string("\xf4\x90\x80\x80", 4,
		"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string("\x80x", 2, "\"\xef\xbf\xbdx\"");
}

static void test_it_says_when_memory_ends(void **state)
{
	(void)state;
	mr_table *t = mr_table_new();
	mr_table *list = mr_table_nest(t, "list", 4, 'A');
	for (int i = 0; i < 100; i++)
		add(list, "", (mr_value){.type = 'S', .as.bytes = {"a longer text", 13}});
	long live = mr_alloc_live();
	for (long n = 1; n < 1000; n++) {
		struct mr_buffer b = {0};
		mr_alloc_fail_nth(n);
		enum mr_status st = mr_json_table(&b, t);
		mr_alloc_fail_nth(0);
		mr_buffer_fini(&b);
		assert_int_equal(mr_alloc_live(), live);
		if (st == MR_OK) {
			assert_true(n > 1);
			mr_table_free(t);
			return;
		}
		assert_int_equal(st, MR_NO_MEMORY);
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_has_a_form),
		cmocka_unit_test(test_numbers_read_back_as_they_were),
		cmocka_unit_test(test_tables_and_arrays_nest),
		cmocka_unit_test(test_strings_are_escaped_and_always_utf8),
		cmocka_unit_test(test_it_says_when_memory_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
