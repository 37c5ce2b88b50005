/* test_dict: names to pointers, whatever is put and taken.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/dict.h"

#define NAMES 2000

struct named { /* a value holds its key */
	char key[16];
	int number;
};

static struct named names[NAMES];

static mr_slice key_of(int n) { return mr_slice_str(names[n].key); }

static void name_all(void)
{
	for (int i = 0; i < NAMES; i++) {
		snprintf(names[i].key, sizeof names[i].key, "queue-%d", i);
		names[i].number = i;
	}
}

static void test_an_empty_dict_holds_nothing(void **state)
{
	struct mr_dict d = {0};
	size_t at = 0;
	(void)state;
	assert_null(mr_dict_get(&d, mr_slice_str("x")));
	assert_null(mr_dict_take(&d, mr_slice_str("x")));
	assert_null(mr_dict_next(&d, &at));
	mr_dict_fini(&d);
	mr_dict_fini(&d);
}

static void test_what_is_put_is_found_until_it_is_taken(void **state)
{
	struct mr_dict d = {0};
	(void)state;
	name_all();
	for (int i = 0; i < NAMES; i++) assert_int_equal(mr_dict_put(&d, key_of(i), &names[i]), 0);
	assert_int_equal(d.count, NAMES);
	for (int i = 0; i < NAMES; i++) assert_ptr_equal(mr_dict_get(&d, key_of(i)), &names[i]);
	for (int i = 0; i < NAMES; i += 2) assert_ptr_equal(mr_dict_take(&d, key_of(i)), &names[i]);
	for (int i = 0; i < NAMES; i++)
		assert_ptr_equal(mr_dict_get(&d, key_of(i)), i % 2 ? &names[i] : NULL);
	assert_null(mr_dict_take(&d, key_of(0)));
	assert_int_equal(d.count, NAMES / 2);
	mr_dict_fini(&d);
	assert_int_equal(d.count, 0);
}

static void test_putting_again_replaces_key_and_value(void **state)
{
	struct mr_dict d = {0};
	char first[] = "same", second[] = "same";
	int a, b;
	(void)state;
	assert_int_equal(mr_dict_put(&d, mr_slice_str(first), &a), MR_OK);
	assert_int_equal(mr_dict_put(&d, mr_slice_str(second), &b), MR_OK);
	memset(first, 'x', 4); /* the first key may die with its value */
	assert_ptr_equal(mr_dict_get(&d, mr_slice_str("same")), &b);
	assert_int_equal(d.count, 1);
	mr_dict_fini(&d);
}

static void test_keys_are_bytes_with_a_length(void **state)
{
	struct mr_dict d = {0};
	int a, b, c, e;
	(void)state;
	assert_int_equal(mr_dict_put(&d, mr_slice_of("k\0a", 3), &a), MR_OK);
	assert_int_equal(mr_dict_put(&d, mr_slice_of("k\0b", 3), &b), MR_OK);
	assert_int_equal(mr_dict_put(&d, mr_slice_of("k", 1), &c), MR_OK);
	assert_int_equal(mr_dict_put(&d, mr_slice_of("", 0), &e), MR_OK);
	assert_ptr_equal(mr_dict_get(&d, mr_slice_of("k\0a", 3)), &a);
	assert_ptr_equal(mr_dict_get(&d, mr_slice_of("k\0b", 3)), &b);
	assert_ptr_equal(mr_dict_get(&d, mr_slice_of("k", 1)), &c);
	assert_ptr_equal(mr_dict_take(&d, mr_slice_of(NULL, 0)), &e);
	assert_null(mr_dict_get(&d, mr_slice_of("k\0", 2)));
	mr_dict_fini(&d);
}

static void test_a_walk_sees_each_once_and_may_take_it(void **state)
{
	struct mr_dict d = {0};
	struct named *n;
	size_t at = 0;
	int seen = 0;
	(void)state;
	name_all();
	for (int i = 0; i < 100; i++) assert_int_equal(mr_dict_put(&d, key_of(i), &names[i]), 0);
	while ((n = mr_dict_next(&d, &at))) {
		seen++;
		if (n->number % 2) assert_ptr_equal(mr_dict_take(&d, mr_slice_str(n->key)), n);
	}
	assert_int_equal(seen, 100);
	assert_int_equal(d.count, 50);
	for (at = 0; (n = mr_dict_next(&d, &at));) assert_int_equal(n->number % 2, 0);
	mr_dict_fini(&d);
}

/* A queue that comes and goes must cost neither memory nor time. */
static void test_coming_and_going_does_not_grow_it(void **state)
{
	struct mr_dict d = {0};
	(void)state;
	name_all();
	for (int i = 0; i < 200000; i++) {
		struct named *n = &names[i % NAMES];
		assert_int_equal(mr_dict_put(&d, mr_slice_str(n->key), n), MR_OK);
		assert_ptr_equal(mr_dict_take(&d, mr_slice_str(n->key)), n);
	}
	assert_int_equal(d.count, 0);
	assert_true(d.capacity <= 64);
	mr_dict_fini(&d);
}

static void test_a_failed_put_changes_nothing(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	name_all();
	for (long n = 1; n < 50; n++) {
		struct mr_dict d = {0};
		int put = 0, failed = 0;
		mr_alloc_fail_nth(n);
		for (; put < 500 && !failed; put++)
			failed = mr_dict_put(&d, key_of(put), &names[put]) != MR_OK;
		mr_alloc_fail_nth(0);
		if (failed) put--;
		assert_int_equal(d.count, put);
		assert_null(mr_dict_get(&d, key_of(put)));
		for (int i = 0; i < put; i++)
			assert_ptr_equal(mr_dict_get(&d, key_of(i)), &names[i]);
		mr_dict_fini(&d);
		assert_int_equal(mr_alloc_live(), live);
		if (!failed) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_dict_holds_nothing),
		cmocka_unit_test(test_what_is_put_is_found_until_it_is_taken),
		cmocka_unit_test(test_putting_again_replaces_key_and_value),
		cmocka_unit_test(test_keys_are_bytes_with_a_length),
		cmocka_unit_test(test_a_walk_sees_each_once_and_may_take_it),
		cmocka_unit_test(test_coming_and_going_does_not_grow_it),
		cmocka_unit_test(test_a_failed_put_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
