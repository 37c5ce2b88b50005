/* test_histogram: durations and the buckets they fall into.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void test_bounds_grow_from_ten_microseconds_to_a_hundred_seconds(void **state)
{
	(void)state;
	assert_int_equal(mr_histogram_bound(0), 10000);
	assert_int_equal(mr_histogram_bound(1), 25000);
	assert_int_equal(mr_histogram_bound(2), 50000);
	assert_int_equal(mr_histogram_bound(MR_HISTOGRAM_BOUNDS - 1), UINT64_C(100000000000));
	for (size_t i = 1; i < MR_HISTOGRAM_BOUNDS; i++)
		assert_true(mr_histogram_bound(i) >= 2 * mr_histogram_bound(i - 1));
}

static void test_a_bound_belongs_to_its_bucket_and_what_is_above_to_the_next(void **state)
{
	(void)state;
	assert_int_equal(mr_histogram_bucket(0), 0);
	for (size_t i = 0; i < MR_HISTOGRAM_BOUNDS; i++) {
		assert_int_equal(mr_histogram_bucket(mr_histogram_bound(i)), i);
		assert_int_equal(mr_histogram_bucket(mr_histogram_bound(i) + 1), i + 1);
	}
	assert_int_equal(mr_histogram_bucket(UINT64_MAX), MR_HISTOGRAM_BOUNDS);
}

static void test_it_keeps_count_and_sum(void **state)
{
	struct mr_histogram h = {0};
	(void)state;
	assert_int_equal(mr_histogram_count(&h), 0);
	mr_histogram_add(&h, 1);
	mr_histogram_add(&h, 20000);
	mr_histogram_add(&h, 20001);
	mr_histogram_add(&h, UINT64_C(3600000000000));
	assert_int_equal(mr_histogram_count(&h), 4);
	assert_int_equal(h.counts[1], 2);
	assert_int_equal(h.counts[MR_HISTOGRAM_BOUNDS], 1);
	assert_int_equal(h.sum, UINT64_C(3600000040002));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds_grow_from_ten_microseconds_to_a_hundred_seconds),
		cmocka_unit_test(test_a_bound_belongs_to_its_bucket_and_what_is_above_to_the_next),
		cmocka_unit_test(test_it_keeps_count_and_sum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
