/* test_shelf: memory that was given back is taken again, up to a bound.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/shelf.h"
#include "moonrabbit_testing.h"

static struct mr_shelf shelf;
static long before;

static int setup(void **state)
{
	(void)state;
	before = mr_alloc_live();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_shelf_fini(&shelf);
	assert_int_equal(mr_alloc_live(), before);
	assert_int_equal(shelf.kept, 0);
	return 0;
}

static void test_sizes_are_rounded_up_by_a_quarter_at_most(void **state)
{
	(void)state;
	for (size_t size = MR_SHELF_LEAST; size <= MR_SHELF_MOST; size += 1 + size / 97) {
		size_t bytes = mr_shelf_size(size);
		assert_true(bytes >= size && bytes <= size + size / 4 + 1);
		assert_int_equal(mr_shelf_size(bytes), bytes);
	}
	assert_int_equal(mr_shelf_size(MR_SHELF_MOST), MR_SHELF_MOST);
	assert_int_equal(mr_shelf_size(MR_SHELF_LEAST - 1), MR_SHELF_LEAST - 1);
	assert_int_equal(mr_shelf_size(MR_SHELF_MOST + 1), MR_SHELF_MOST + 1);
}

#ifndef __SANITIZE_ADDRESS__
static void test_what_was_given_is_taken_by_who_needs_as_much(void **state)
{
	(void)state;
	char *one = mr_shelf_take(&shelf, 65600), *two = mr_shelf_take(&shelf, 65700);
	memset(one, 1, mr_shelf_size(65600));
	mr_shelf_give(&shelf, one, 65600);
	mr_shelf_give(&shelf, two, 65700);
	assert_int_equal(shelf.kept, 2 * mr_shelf_size(65600));
	assert_ptr_equal(mr_shelf_take(&shelf, 65650), two);
	assert_ptr_equal(mr_shelf_take(&shelf, 65650), one);
	assert_int_equal(shelf.kept, 0);
	mr_shelf_give(&shelf, one, 65650);
	mr_shelf_give(&shelf, two, 65650);
}

static void leave_large(void)
{
	void *large[3];
	for (int i = 0; i < 3; i++) large[i] = mr_shelf_take(&shelf, 3u << 20);
	for (int i = 0; i < 3; i++) mr_shelf_give(&shelf, large[i], 3u << 20);
}

static void test_at_rest_it_keeps_little_and_the_smaller_ones(void **state)
{
	char *small = mr_shelf_take(&shelf, 65536);
	(void)state;
	leave_large();
	mr_shelf_give(&shelf, small, 65536);
	mr_shelf_trim(&shelf); /* they were used a moment ago */
	assert_int_equal(shelf.kept, 3 * (3u << 20) + 65536);
	leave_large();
	mr_shelf_trim(&shelf);
	assert_int_equal(shelf.kept, 3 * (3u << 20) + 65536);
	assert_true(mr_shelf_has(&shelf, 3u << 20));
	mr_shelf_trim(&shelf);
	assert_int_equal(shelf.kept, 65536);
	assert_false(mr_shelf_has(&shelf, 3u << 20));
	assert_true(mr_shelf_has(&shelf, 65536));
	assert_false(mr_shelf_has(&shelf, MR_SHELF_MOST + 1));
}

static void test_small_ones_that_go_on_do_not_keep_the_large_ones(void **state)
{
	(void)state;
	mr_shelf_give(&shelf, mr_shelf_take(&shelf, 1000), 1000);
	leave_large();
	for (int i = 0; i < 2; i++) {
		mr_shelf_give(&shelf, mr_shelf_take(&shelf, 1000), 1000);
		mr_shelf_trim(&shelf);
	}
	assert_true(shelf.kept <= MR_SHELF_IDLE + (3u << 20));
	mr_shelf_trim(&shelf);
	assert_true(shelf.kept <= MR_SHELF_IDLE);
}
#endif

static void test_only_so_much_is_kept_and_neither_small_nor_huge_memory(void **state)
{
	void *all[8];
	(void)state;
	for (int i = 0; i < 8; i++) all[i] = mr_shelf_take(&shelf, MR_SHELF_MOST);
	for (int i = 0; i < 8; i++) mr_shelf_give(&shelf, all[i], MR_SHELF_MOST);
	assert_true(shelf.kept <= MR_SHELF_KEPT);
	mr_shelf_fini(&shelf);
	mr_shelf_give(&shelf, mr_shelf_take(&shelf, 100), 100);
	mr_shelf_give(&shelf, mr_shelf_take(&shelf, MR_SHELF_MOST + 1), MR_SHELF_MOST + 1);
	assert_int_equal(shelf.kept, 0);
}

static void test_without_memory_there_is_none(void **state)
{
	(void)state;
	mr_alloc_fail_nth_here(1);
	assert_null(mr_shelf_take(&shelf, 4096));
	mr_alloc_fail_nth_here(0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_sizes_are_rounded_up_by_a_quarter_at_most),
#ifndef __SANITIZE_ADDRESS__
		CASE(test_what_was_given_is_taken_by_who_needs_as_much),
		CASE(test_at_rest_it_keeps_little_and_the_smaller_ones),
		CASE(test_small_ones_that_go_on_do_not_keep_the_large_ones),
#endif
		CASE(test_only_so_much_is_kept_and_neither_small_nor_huge_memory),
		CASE(test_without_memory_there_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
