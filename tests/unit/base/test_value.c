/* test_value: field tables as trees; log lines.
 * Covers: runtime/base/log.c by mr_log_format
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/value.h"

static void add_number(mr_table *t, const char *key, int64_t n)
{
	mr_value v = {.type = 'l', .as.integer = n};
	assert_int_equal(mr_table_add(t, key, strlen(key), &v), MR_OK);
}

static void test_a_table_copies_what_it_is_given(void **state)
{
	char text[] = "text";
	mr_table *t = mr_table_new();
	(void)state;
	assert_int_equal(mr_table_add_string(t, "k", mr_slice_str(text)), MR_OK);
	memset(text, 'x', 4);
	const mr_value *v = mr_table_find(t, "k");
	assert_int_equal(v->type, 'S');
	assert_memory_equal(v->as.bytes.data, "text", 4);
	assert_null(mr_table_find(t, "other"));
	assert_null(mr_table_find(NULL, "k"));
	mr_table_free(t);
}

static void test_unknown_types_and_long_keys_are_refused(void **state)
{
	char key[200];
	mr_table *t = mr_table_new();
	mr_value odd = {.type = 'Q'}, nested = {.type = 'F'}, fine = {.type = 'V'};
	(void)state;
	memset(key, 'k', sizeof key);
	assert_int_equal(mr_table_add(t, "k", 1, &odd), MR_BAD_ARGUMENT);
	assert_int_equal(mr_table_add(t, "k", 1, &nested), MR_BAD_ARGUMENT);
	assert_int_equal(mr_table_add(t, key, 129, &fine), MR_BAD_ARGUMENT);
	assert_int_equal(mr_table_add(t, key, 128, &fine), MR_OK);
	assert_null(mr_table_nest(t, "k", 1, 'S'));
	assert_int_equal(t->count, 1);
	mr_table_free(t);
}

static void test_merging_replaces_values_and_merges_tables(void **state)
{
	mr_table *ours = mr_table_new(), *theirs = mr_table_new();
	(void)state;
	add_number(ours, "a", 1);
	add_number(mr_table_nest(ours, "caps", 4, 'F'), "x", 1);
	add_number(theirs, "a", 2);
	add_number(theirs, "b", 3);
	add_number(mr_table_nest(theirs, "caps", 4, 'F'), "y", 2);
	assert_int_equal(mr_table_merge(ours, theirs), MR_OK);
	assert_int_equal(mr_table_find(ours, "a")->as.integer, 2);
	assert_int_equal(mr_table_find(ours, "b")->as.integer, 3);
	const mr_table *caps = mr_table_find(ours, "caps")->as.nested;
	assert_int_equal(mr_table_find(caps, "x")->as.integer, 1);
	assert_int_equal(mr_table_find(caps, "y")->as.integer, 2);
	assert_int_equal(ours->count, 3);
	mr_table_free(ours);
	mr_table_free(theirs);
}

static mr_table *build(void)
{
	mr_table *t = mr_table_new();
	mr_table *list = t ? mr_table_nest(t, "list", 4, 'A') : NULL;
	for (int i = 0; list && i < 50; i++) {
		mr_value v = {.type = 'l', .as.integer = i};
		if (mr_table_add(list, "", 0, &v) != MR_OK) list = NULL;
	}
	if (list) return t;
	mr_table_free(t);
	return NULL;
}

static void test_a_copy_is_equal_and_its_own(void **state)
{
	mr_table *t = build();
	mr_table *copy = mr_table_copy(t);
	(void)state;
	mr_table_free(t);
	const mr_table *list = mr_table_find(copy, "list")->as.nested;
	assert_int_equal(list->count, 50);
	for (uint32_t i = 0; i < 50; i++) assert_int_equal(list->fields[i].value.as.integer, i);
	mr_table_free(copy);
}

static void test_building_and_copying_survive_every_failing_allocation(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 100; n++) {
		mr_alloc_fail_nth(n);
		mr_table *t = build();
		mr_table *copy = t ? mr_table_copy(t) : NULL;
		bool whole = copy != NULL;
		mr_alloc_fail_nth(0);
		mr_table_free(copy);
		mr_table_free(t);
		assert_int_equal(mr_alloc_live(), live);
		if (whole) return;
	}
	fail_msg("it never succeeded");
}

static void line_is(int format, const char *expected, mr_slice msg, const mr_table *fields)
{
	char out[300];
	size_t n = mr_log_format(out, sizeof out, format, NULL, MR_LOG_WARN, msg, fields);
	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
}

static void test_log_lines_quote_what_needs_it(void **state)
{
	mr_table *t = mr_table_new();
	(void)state;
	mr_table_add_string(t, "host", mr_slice_str("a:5672"));
	mr_table_add_string(t, "text", mr_slice_str("say \"hi\"\n\033"));
	add_number(t, "n", -5);
	line_is(MR_LOG_LOGFMT,
		"level=warn msg=\"it broke\" host=a:5672 text=\"say \\\"hi\\\"\\n\\x1b\" n=-5",
		mr_slice_str("it broke"), t);
	line_is(MR_LOG_JSON,
		"{\"level\":\"warn\",\"msg\":\"it broke\",\"host\":\"a:5672\",\"text\":\"say "
		"\\\"hi\\\"\\n\\u001b\",\"n\":-5}",
		mr_slice_str("it broke"), t);
	mr_table_free(t);
}

static void test_a_log_line_that_is_too_long_is_cut_within_its_room(void **state)
{
	char out[64], text[500];
	(void)state;
	memset(text, 'x', sizeof text);
	assert_true(mr_log_format(out, sizeof out, MR_LOG_JSON, NULL, 0,
			    mr_slice_of(text, sizeof text), NULL) <= sizeof out);
	assert_int_equal(out[sizeof out - 1], '}');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_table_copies_what_it_is_given),
		cmocka_unit_test(test_unknown_types_and_long_keys_are_refused),
		cmocka_unit_test(test_merging_replaces_values_and_merges_tables),
		cmocka_unit_test(test_a_copy_is_equal_and_its_own),
		cmocka_unit_test(test_building_and_copying_survive_every_failing_allocation),
		cmocka_unit_test(test_log_lines_quote_what_needs_it),
		cmocka_unit_test(test_a_log_line_that_is_too_long_is_cut_within_its_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
