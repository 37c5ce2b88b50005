/* test_map: names and numbers to pointers, whatever is put and taken.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/map.h"

#define NAMES 2000

struct named { /* a value holds its key */
	char key[16];
	int number;
};

static struct named names[NAMES];

static mr_slice name_of(const void *value)
{
	return mr_slice_str(((const struct named *)value)->key);
}

static mr_slice key_of(int n) { return mr_slice_str(names[n].key); }

static void name_all(void)
{
	for (int i = 0; i < NAMES; i++) {
		snprintf(names[i].key, sizeof names[i].key, "queue-%d", i);
		names[i].number = i;
	}
}

static void test_an_empty_map_holds_nothing(void **state)
{
	struct mr_map d = {.name_of = name_of};
	size_t at = 0;
	(void)state;
	assert_null(mr_map_get_named(&d, mr_slice_str("x")));
	assert_null(mr_map_take_named(&d, mr_slice_str("x")));
	assert_null(mr_map_next(&d, &at, NULL));
	mr_map_fini(&d);
	mr_map_fini(&d);
}

static void test_what_is_put_is_found_until_it_is_taken(void **state)
{
	struct mr_map d = {.name_of = name_of};
	(void)state;
	name_all();
	for (int i = 0; i < NAMES; i++) assert_int_equal(mr_map_put_named(&d, &names[i]), 0);
	assert_int_equal(d.count, NAMES);
	for (int i = 0; i < NAMES; i++)
		assert_ptr_equal(mr_map_get_named(&d, key_of(i)), &names[i]);
	for (int i = 0; i < NAMES; i += 2)
		assert_ptr_equal(mr_map_take_named(&d, key_of(i)), &names[i]);
	for (int i = 0; i < NAMES; i++)
		assert_ptr_equal(mr_map_get_named(&d, key_of(i)), i % 2 ? &names[i] : NULL);
	assert_null(mr_map_take_named(&d, key_of(0)));
	assert_int_equal(d.count, NAMES / 2);
	mr_map_fini(&d);
	assert_int_equal(d.count, 0);
}

static void test_putting_again_replaces_the_value(void **state)
{
	struct mr_map d = {.name_of = name_of};
	struct named first = {"same", 1}, second = {"same", 2};
	(void)state;
	assert_int_equal(mr_map_put_named(&d, &first), MR_OK);
	assert_int_equal(mr_map_put_named(&d, &second), MR_OK);
	memset(first.key, 'x', 4); /* the first name may die with its value */
	assert_ptr_equal(mr_map_get_named(&d, mr_slice_str("same")), &second);
	assert_int_equal(d.count, 1);
	mr_map_fini(&d);
}

static mr_slice itself(const void *value) { return *(const mr_slice *)value; }

static void test_names_are_bytes_with_a_length(void **state)
{
	struct mr_map d = {.name_of = itself};
	mr_slice values[] = {mr_slice_of("k\0a", 3), mr_slice_of("k\0b", 3), mr_slice_of("k", 1),
		mr_slice_of("", 0)};
	(void)state;
	for (int i = 0; i < 4; i++) assert_int_equal(mr_map_put_named(&d, &values[i]), MR_OK);
	for (int i = 0; i < 4; i++) assert_ptr_equal(mr_map_get_named(&d, values[i]), &values[i]);
	assert_ptr_equal(mr_map_take_named(&d, mr_slice_of(NULL, 0)), &values[3]);
	assert_null(mr_map_get_named(&d, mr_slice_of("k\0", 2)));
	mr_map_fini(&d);
}

static void test_numbers_are_found_until_they_are_taken(void **state)
{
	static const uint64_t STEPS[] = {1, 1024, UINT64_C(1) << 32, UINT64_C(1) << 48};
	(void)state;
	for (int s = 0; s < 4; s++) { /* however they lie */
		struct mr_map m = {0};
		uint64_t key, step = STEPS[s];
		size_t at = 0, walked = 0;
		for (uint64_t i = 0; i < NAMES; i++)
			assert_int_equal(mr_map_put(&m, i * step, &names[i]), MR_OK);
		assert_int_equal(m.count, NAMES);
		for (uint64_t i = 0; i < NAMES; i += 2)
			assert_ptr_equal(mr_map_take(&m, i * step), &names[i]);
		for (uint64_t i = 0; i < NAMES; i++)
			assert_ptr_equal(mr_map_get(&m, i * step), i % 2 ? &names[i] : NULL);
		assert_false(mr_map_change(&m, 0, &names[1]));
		assert_true(mr_map_change(&m, step, &names[0]));
		assert_ptr_equal(mr_map_get(&m, step), &names[0]);
		for (; mr_map_next(&m, &at, &key); walked++) assert_true(key % (2 * step) != 0);
		assert_int_equal(walked, NAMES / 2);
		mr_map_fini(&m);
	}
}

static void test_a_walk_sees_each_once_and_may_take_it(void **state)
{
	struct mr_map d = {.name_of = name_of};
	struct named *n;
	size_t at = 0;
	int seen = 0;
	(void)state;
	name_all();
	for (int i = 0; i < 100; i++) assert_int_equal(mr_map_put_named(&d, &names[i]), 0);
	while ((n = mr_map_next(&d, &at, NULL))) {
		seen++;
		if (n->number % 2) assert_ptr_equal(mr_map_take_named(&d, mr_slice_str(n->key)), n);
	}
	assert_int_equal(seen, 100);
	assert_int_equal(d.count, 50);
	for (at = 0; (n = mr_map_next(&d, &at, NULL));) assert_int_equal(n->number % 2, 0);
	mr_map_fini(&d);
}

/* A queue that comes and goes must cost neither memory nor time. */
static void test_coming_and_going_does_not_grow_it(void **state)
{
	struct mr_map d = {.name_of = name_of};
	(void)state;
	name_all();
	for (int i = 0; i < 200000; i++) {
		struct named *n = &names[i % NAMES];
		assert_int_equal(mr_map_put_named(&d, n), MR_OK);
		assert_ptr_equal(mr_map_take_named(&d, mr_slice_str(n->key)), n);
	}
	assert_int_equal(d.count, 0);
	assert_true(d.capacity <= 64);
	mr_map_fini(&d);
}

static void test_a_failed_put_changes_nothing(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	name_all();
	for (long n = 1; n < 50; n++) {
		struct mr_map d = {.name_of = name_of};
		int put = 0, failed = 0;
		mr_alloc_fail_nth(n);
		for (; put < 500 && !failed; put++)
			failed = mr_map_put_named(&d, &names[put]) != MR_OK;
		mr_alloc_fail_nth(0);
		if (failed) put--;
		assert_int_equal(d.count, put);
		assert_null(mr_map_get_named(&d, key_of(put)));
		for (int i = 0; i < put; i++)
			assert_ptr_equal(mr_map_get_named(&d, key_of(i)), &names[i]);
		mr_map_fini(&d);
		assert_int_equal(mr_alloc_live(), live);
		if (!failed) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_map_holds_nothing),
		cmocka_unit_test(test_what_is_put_is_found_until_it_is_taken),
		cmocka_unit_test(test_putting_again_replaces_the_value),
		cmocka_unit_test(test_names_are_bytes_with_a_length),
		cmocka_unit_test(test_numbers_are_found_until_they_are_taken),
		cmocka_unit_test(test_a_walk_sees_each_once_and_may_take_it),
		cmocka_unit_test(test_coming_and_going_does_not_grow_it),
		cmocka_unit_test(test_a_failed_put_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
