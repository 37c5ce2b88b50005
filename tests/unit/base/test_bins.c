/* test_bins: nodes by their hash, in the order of putting, whatever is put and taken.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bins.h"

#define NODES 2000

static struct mr_bin_node nodes[NODES];

/* How many there are of a hash; each must come after the one before it in `nodes`. */
static size_t count_in_order(const struct mr_bins *bins, uint64_t hash)
{
	size_t count = 0;
	const struct mr_bin_node *last = NULL;
	for (const struct mr_bin_node *n = NULL; (n = mr_bins_next(bins, hash, n)) != NULL;
		last = n) {
		assert_true(n->hash == hash);
		if (last) assert_true(n > last);
		count++;
	}
	return count;
}

static void test_an_empty_table_finds_and_takes_nothing(void **state)
{
	struct mr_bins bins = {0};
	struct mr_bin_node node = {0};
	(void)state;
	assert_null(mr_bins_next(&bins, 7, NULL));
	mr_bins_take(&bins, &node);
	assert_int_equal(bins.count, 0);
	mr_bins_fini(&bins);
}

static void test_nodes_of_one_hash_come_in_the_order_of_putting(void **state)
{
	struct mr_bins bins = {0};
	(void)state;
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(mr_bins_put(&bins, &nodes[i], i % 50), MR_OK);
	assert_int_equal(bins.count, NODES);
	for (uint64_t hash = 0; hash < 50; hash++)
		assert_int_equal(count_in_order(&bins, hash), NODES / 50);
	assert_null(mr_bins_next(&bins, 50, NULL));
	mr_bins_fini(&bins);
}

static void test_a_node_that_was_taken_is_not_found_and_may_be_taken_again(void **state)
{
	struct mr_bins bins = {0};
	(void)state;
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(mr_bins_put(&bins, &nodes[i], i % 50), MR_OK);
	for (size_t i = 0; i < NODES;
		i += 100) { /* all of hash 0 are at 0, 50, 100...: every second one */
		mr_bins_take(&bins, &nodes[i]);
		mr_bins_take(&bins, &nodes[i]);
	}
	assert_int_equal(bins.count, NODES - NODES / 100);
	assert_int_equal(count_in_order(&bins, 0), NODES / 100);
	assert_ptr_equal(mr_bins_next(&bins, 0, NULL), &nodes[50]);
	assert_int_equal(mr_bins_put(&bins, &nodes[0], 0), MR_OK); /* it is the last one now */
	const struct mr_bin_node *last = NULL;
	for (const struct mr_bin_node *n = NULL; (n = mr_bins_next(&bins, 0, n)) != NULL;) last = n;
	assert_ptr_equal(last, &nodes[0]);
	mr_bins_fini(&bins);
}

static void test_nodes_are_out_of_a_table_that_has_ended(void **state)
{
	struct mr_bins bins = {0};
	(void)state;
	assert_int_equal(mr_bins_put(&bins, &nodes[0], 1), MR_OK);
	mr_bins_fini(&bins);
	mr_bins_take(&bins, &nodes[0]); /* no-op */
	assert_int_equal(mr_bins_put(&bins, &nodes[0], 1), MR_OK);
	assert_ptr_equal(mr_bins_next(&bins, 1, NULL), &nodes[0]);
	mr_bins_fini(&bins);
}

static void test_a_put_without_memory_changes_nothing(void **state)
{
	struct mr_bins bins = {0};
	(void)state;
	mr_alloc_fail_nth_here(1);
	assert_int_equal(mr_bins_put(&bins, &nodes[0], 1), MR_NO_MEMORY);
	mr_alloc_fail_nth_here(0);
	assert_int_equal(bins.count, 0);
	assert_null(mr_bins_next(&bins, 1, NULL));
	assert_int_equal(mr_bins_put(&bins, &nodes[0], 1), MR_OK);
	assert_int_equal(bins.count, 1);
	mr_bins_fini(&bins);
}

static void test_a_full_table_takes_more_when_it_cannot_grow(void **state)
{
	struct mr_bins bins = {0};
	size_t full = 0;
	(void)state;
	do assert_int_equal(mr_bins_put(&bins, &nodes[full], 1), MR_OK);
	while (++full < bins.capacity);
	mr_alloc_fail_nth_here(1);
	assert_int_equal(mr_bins_put(&bins, &nodes[full], 1), MR_OK);
	mr_alloc_fail_nth_here(0);
	assert_int_equal(bins.capacity, full);
	assert_int_equal(count_in_order(&bins, 1), full + 1);
	mr_bins_fini(&bins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_table_finds_and_takes_nothing),
		cmocka_unit_test(test_nodes_of_one_hash_come_in_the_order_of_putting),
		cmocka_unit_test(test_a_node_that_was_taken_is_not_found_and_may_be_taken_again),
		cmocka_unit_test(test_nodes_are_out_of_a_table_that_has_ended),
		cmocka_unit_test(test_a_put_without_memory_changes_nothing),
		cmocka_unit_test(test_a_full_table_takes_more_when_it_cannot_grow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
