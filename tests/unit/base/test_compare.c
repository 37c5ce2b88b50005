/* test_compare: when arguments of a declare are the same as before.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compare.h"

static mr_value whole(uint8_t type, int64_t n) { return (mr_value){.type = type, .as.integer = n}; }

static mr_value natural(uint8_t type, uint64_t n)
{
	return (mr_value){.type = type, .as.natural = n};
}

static mr_value real(uint8_t type, double n) { return (mr_value){.type = type, .as.real = n}; }

static mr_value text(uint8_t type, const char *s)
{
	return (mr_value){.type = type, .as.bytes = mr_slice_str(s)};
}

static bool same(mr_value a, mr_value b)
{
	bool ab = mr_value_same(&a, &b);
	assert_int_equal(mr_value_same(&b, &a), ab);
	assert_true(mr_value_same(&a, &a));
	assert_true(mr_value_same(&b, &b));
	return ab;
}

static void test_integers_are_the_same_whatever_their_width(void **state)
{
	static const uint8_t is_signed[] = "bsIl", is_unsigned[] = "BuiLT";
	(void)state;
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < 5; k++) {
			assert_true(same(whole(is_signed[i], 60), natural(is_unsigned[k], 60)));
			assert_false(same(whole(is_signed[i], 60), natural(is_unsigned[k], 61)));
		}
		assert_true(same(whole(is_signed[i], -1), whole('l', -1)));
		assert_false(same(whole(is_signed[i], -1), natural('L', UINT64_MAX)));
	}
}

static void test_a_natural_over_the_signed_range_is_no_integer_but_itself(void **state)
{
	mr_value huge = natural('L', UINT64_MAX), most = natural('L', INT64_MAX);
	int64_t n = 7;
	(void)state;
	assert_false(mr_value_integer(&huge, &n));
	assert_int_equal(n, 7);
	assert_true(mr_value_integer(&most, &n));
	assert_true(n == INT64_MAX);
	assert_true(same(huge, huge));
	assert_false(same(huge, natural('L', UINT64_MAX - 1)));
	assert_false(same(huge, whole('l', 5)));
}

static void test_other_types_are_no_integers(void **state)
{
	static const uint8_t others[] = "tfdDSxV";
	int64_t n;
	(void)state;
	for (size_t i = 0; i < sizeof others - 1; i++) {
		mr_value v = {.type = others[i]};
		assert_false(mr_value_integer(&v, &n));
	}
}

static void test_reals_compare_with_each_other_and_with_integers(void **state)
{
	(void)state;
	assert_true(same(real('d', 1.5), real('f', 1.5)));
	assert_false(same(real('d', 1.5), real('d', 1.25)));
	assert_true(same(real('d', 60), whole('I', 60)));
	assert_false(same(real('d', 60.5), whole('I', 60)));
	assert_false(same(real('d', 1), text('S', "1")));
}

static void test_strings_and_bytes_compare_by_bytes(void **state)
{
	mr_value nul = {.type = 'S', .as.bytes = mr_slice_of("a\0b", 3)};
	(void)state;
	assert_true(same(text('S', "lazy"), text('x', "lazy")));
	assert_false(same(text('S', "lazy"), text('S', "Lazy")));
	assert_false(same(nul, text('S', "a")));
	assert_false(same(text('S', "60"), whole('l', 60)));
}

static void test_the_rest_compare_within_their_type(void **state)
{
	mr_value yes = {.type = 't', .as.boolean = true}, no = {.type = 't', .as.boolean = false};
	mr_value none = {.type = 'V'};
	mr_value price = {.type = 'D', .decimals = 2, .as.natural = 150};
	mr_value other = {.type = 'D', .decimals = 3, .as.natural = 150};
	(void)state;
	assert_false(same(yes, no));
	assert_false(same(yes, whole('b', 1)));
	assert_true(same(none, none));
	assert_false(same(none, no));
	assert_false(same(price, other));
	assert_false(same(price, whole('I', 150)));
}

static mr_table *declare(bool turned)
{
	mr_table *t = mr_table_new();
	mr_value ttl = whole(turned ? 'I' : 'l', 60000);
	for (int i = 0; i < 2; i++)
		if ((i == 0) == turned)
			assert_int_equal(mr_table_add(t, "ttl", 3, &ttl), MR_OK);
		else
			mr_table_add_string(t, "mode", mr_slice_str("lazy"));
	mr_table *list = mr_table_nest(t, "list", 4, 'A');
	mr_table_add(list, "", 0, &ttl);
	mr_table_add_string(mr_table_nest(t, "inner", 5, 'F'), "k", mr_slice_str("v"));
	return t;
}

static void test_tables_are_the_same_in_any_order(void **state)
{
	mr_table *a = declare(false), *b = declare(true);
	(void)state;
	assert_true(mr_table_same(a, b));
	assert_true(mr_table_same(b, a));
	mr_table_add_string(mr_table_nest(b, "more", 4, 'F'), "k", mr_slice_str("v"));
	assert_false(mr_table_same(a, b));
	assert_false(mr_table_same(b, a));
	mr_table_free(a);
	mr_table_free(b);
}

static void test_nested_values_count_and_lists_keep_their_order(void **state)
{
	mr_table *a = mr_table_new(), *b = mr_table_new();
	mr_table *x = mr_table_nest(a, "l", 1, 'A'), *y = mr_table_nest(b, "l", 1, 'A');
	mr_value one = whole('l', 1), two = whole('l', 2);
	(void)state;
	mr_table_add(x, "", 0, &one);
	mr_table_add(x, "", 0, &two);
	mr_table_add(y, "", 0, &two);
	assert_false(mr_table_same(a, b));
	mr_table_add(y, "", 0, &one);
	assert_false(mr_table_same(a, b));
	assert_true(mr_table_same(a, a));
	mr_table_free(a);
	mr_table_free(b);
}

static void test_no_table_is_an_empty_one(void **state)
{
	mr_table *empty = mr_table_new(), *full = declare(false);
	(void)state;
	assert_true(mr_table_same(NULL, NULL));
	assert_true(mr_table_same(NULL, empty));
	assert_true(mr_table_same(empty, NULL));
	assert_false(mr_table_same(NULL, full));
	assert_false(mr_table_same(full, NULL));
	mr_table_free(empty);
	mr_table_free(full);
}

static void test_other_keys_with_the_same_values_are_another_table(void **state)
{
	mr_table *a = mr_table_new(), *b = mr_table_new();
	(void)state;
	mr_table_add_string(a, "x-match", mr_slice_str("all"));
	mr_table_add_string(b, "x-Match", mr_slice_str("all"));
	assert_false(mr_table_same(a, b));
	mr_table_free(a);
	mr_table_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers_are_the_same_whatever_their_width),
		cmocka_unit_test(test_a_natural_over_the_signed_range_is_no_integer_but_itself),
		cmocka_unit_test(test_other_types_are_no_integers),
		cmocka_unit_test(test_reals_compare_with_each_other_and_with_integers),
		cmocka_unit_test(test_strings_and_bytes_compare_by_bytes),
		cmocka_unit_test(test_the_rest_compare_within_their_type),
		cmocka_unit_test(test_tables_are_the_same_in_any_order),
		cmocka_unit_test(test_nested_values_count_and_lists_keep_their_order),
		cmocka_unit_test(test_no_table_is_an_empty_one),
		cmocka_unit_test(test_other_keys_with_the_same_values_are_another_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
