/* test_lines: numbers in line: who is first, who left, who came again.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/lines.h"
#include "base/alloc.h"

static struct mr_lines lines;

static int begin(void **state)
{
	(void)state;
	mr_lines_reset(&lines, 1);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_lines_fini(&lines);
	return 0;
}

static void add(uint64_t key, uint64_t other)
{
	assert_int_equal(mr_lines_add(&lines, key, other), MR_OK);
}

static void test_each_number_stands_in_two_lines(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) add(i % 2 ? 5 : 6, 7);
	assert_int_equal(mr_lines_first(&lines, 5, 0), 2);
	assert_int_equal(mr_lines_first(&lines, 6, 0), 1);
	assert_int_equal(mr_lines_first(&lines, 7, 0), 1);
	assert_int_equal(mr_lines_first(&lines, 8, 0), 0);
	mr_lines_leave(&lines, 1);
	assert_int_equal(mr_lines_first(&lines, 6, 0), 3);
	assert_int_equal(mr_lines_first(&lines, 7, 0), 2);
	assert_int_equal(mr_lines_next(&lines, 7, 2), 3);
	mr_lines_leave(&lines, 3);
	assert_int_equal(mr_lines_next(&lines, 7, 2), 4);
	assert_int_equal(mr_lines_next(&lines, 5, 10), 0);
}

static void test_those_that_were_passed_by_come_after_those_ahead(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) add(5, 0);
	assert_int_equal(mr_lines_first(&lines, 5, 2), 3);
	mr_lines_leave(&lines, 3);
	assert_int_equal(mr_lines_first(&lines, 5, 3), 4);
	mr_lines_leave(&lines, 4);
	assert_int_equal(mr_lines_first(&lines, 5, 4), 1);
	mr_lines_leave(&lines, 1);
	mr_lines_leave(&lines, 2);
	assert_int_equal(mr_lines_first(&lines, 5, 4), 0);
	mr_lines_join(&lines, 4);
	assert_int_equal(mr_lines_first(&lines, 5, 4), 4);
}

/* Against a list that is searched. */
static void test_random_comings_and_goings(void **state)
{
	(void)state;
	enum { MOST = 2000, KEYS = 5 };
	static bool is_there[MOST + 1];
	for (unsigned seed = 1; seed <= 20; seed++) {
		uint64_t n = 0;
		srand(seed);
		mr_lines_reset(&lines, 1);
		while (n < MOST) {
			add(1 + (n + 1) % KEYS, 0);
			is_there[++n] = true;
			uint64_t any = 1 + (uint64_t)rand() % n;
			is_there[any] = rand() % 3 == 0;
			(is_there[any] ? mr_lines_join : mr_lines_leave)(&lines, any);
			uint64_t key = 1 + (uint64_t)rand() % KEYS;
			uint64_t found = mr_lines_first(&lines, key, 0);
			bool is_any = false;
			for (uint64_t i = 1; i <= n; i++)
				is_any |= is_there[i] && 1 + i % KEYS == key;
			assert_int_equal(found != 0, is_any);
			if (found) assert_true(is_there[found] && 1 + found % KEYS == key);
		}
	}
}

static void test_memory_that_fails_changes_nothing(void **state)
{
	(void)state;
	mr_lines_fini(&lines);
	mr_lines_reset(&lines, 1);
	for (int nth = 1; nth <= 2; nth++) {
		mr_alloc_fail_nth(nth);
		assert_int_equal(mr_lines_add(&lines, 5, 6), MR_NO_MEMORY);
		mr_alloc_fail_nth(0);
		assert_int_equal(lines.end, 1);
		assert_int_equal(mr_lines_first(&lines, 5, 0), 0);
		mr_lines_fini(&lines);
		mr_lines_reset(&lines, 1);
	}
	add(5, 6);
	assert_int_equal(mr_lines_first(&lines, 6, 0), 1);
}

static void test_what_was_large_once_is_given_back(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 10000; i++) add(i, 20000 + i);
	assert_true(lines.capacity >= 10000);
	mr_lines_reset(&lines, 10001);
	add(5, 6);
	mr_lines_reset(&lines, 10002);
	assert_true(lines.capacity <= 64 && lines.size <= 64);
	mr_lines_leave(&lines, 5); /* of the past */
	assert_int_equal(mr_lines_first(&lines, 5, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_number_stands_in_two_lines, begin, end),
		cmocka_unit_test_setup_teardown(
			test_those_that_were_passed_by_come_after_those_ahead, begin, end),
		cmocka_unit_test_setup_teardown(test_random_comings_and_goings, begin, end),
		cmocka_unit_test_setup_teardown(test_memory_that_fails_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(test_what_was_large_once_is_given_back, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
