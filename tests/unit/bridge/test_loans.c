/* test_loans: the counts of a pool, and the next pool in its place.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "bridge/loans.h"

static void test_what_the_host_counts_is_read_until_the_pool_ends(void **state)
{
	(void)state;
	mr_pool_counts seen;
	int strategy;
	struct mr_loans *t = mr_loans_new();
	assert_non_null(t);
	assert_true(mr_loans_is_free(t));
	assert_false(mr_loans_read(t, &strategy, &seen));
	mr_loans_begin(t, MR_SHARED);
	assert_false(mr_loans_is_free(t));
	mr_loans_write(t, &(mr_pool_counts){4, 3, 2, 1});
	assert_true(mr_loans_read(t, &strategy, &seen));
	assert_int_equal(strategy, MR_SHARED);
	assert_true(seen.limit == 4 && seen.active == 3 && seen.idle == 2 && seen.waiting == 1);
	mr_loans_end(t);
	assert_true(mr_loans_is_free(t));
	mr_loans_begin(t, MR_POOLED);
	assert_true(mr_loans_read(t, &strategy, &seen));
	assert_int_equal(strategy, MR_POOLED);
	assert_true(seen.limit == 0 && seen.active == 0 && seen.idle == 0 && seen.waiting == 0);
	mr_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_host_counts_is_read_until_the_pool_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
