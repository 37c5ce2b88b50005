/* test_backlog: the counts of publishers, whose names are bounded.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "bridge/backlog.h"

static void test_what_the_host_counts_is_read(void **state)
{
	(void)state;
	mr_backlog seen;
	struct mr_backlog_entry *entry = mr_backlog_new(mr_slice_str("orders"));
	assert_non_null(entry);
	assert_string_equal(entry->publisher, "orders");
	mr_backlog_read(entry, &seen);
	assert_true(
		seen.in_line == 0 && seen.in_flight == 0 && seen.aside == 0 && seen.accepted == 0);
	entry->words = (mr_backlog){1, 2, 3, 4};
	mr_backlog_read(entry, &seen);
	assert_true(
		seen.in_line == 1 && seen.in_flight == 2 && seen.aside == 3 && seen.accepted == 4);
	mr_free(entry);
}

static void test_a_long_name_is_cut(void **state)
{
	char name[300];
	(void)state;
	memset(name, 'x', sizeof name);
	struct mr_backlog_entry *entry = mr_backlog_new(mr_slice_of(name, sizeof name));
	assert_non_null(entry);
	assert_int_equal(strlen(entry->publisher), sizeof entry->publisher - 1);
	mr_free(entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_host_counts_is_read),
		cmocka_unit_test(test_a_long_name_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
