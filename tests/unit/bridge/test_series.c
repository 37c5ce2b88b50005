/* test_series: metrics of the host: their series are bounded, and outlive who drops them first.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "bridge/series.h"

static struct mr_metric *counter(void)
{
	static const char *const labels[] = {"a", "b"};
	struct mr_metric *m = mr_series_metric(MR_COUNTER, "x_total", "X.", labels, 2, NULL, 0);
	assert_non_null(m);
	return m;
}

static struct mr_series *of(struct mr_metric *m, const char *a, const char *b)
{
	const char *values[] = {a, b};
	return mr_series_of(m, values);
}

static void test_one_series_for_each_set_of_values(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	struct mr_metric *m = counter();
	assert_null(mr_series_next(m, NULL));
	struct mr_series *first = of(m, "1", "23"), *second = of(m, "12", "3");
	assert_ptr_not_equal(first, second); /* the same letters, cut elsewhere */
	assert_ptr_equal(of(m, "1", "23"), first);
	first->words[0] += 2;
	assert_ptr_equal(mr_series_next(m, NULL), first);
	assert_ptr_equal(mr_series_next(m, first), second);
	assert_null(mr_series_next(m, second));
	assert_true(mr_series_read(first, 0) == 2 && mr_series_read(second, 0) == 0);
	mr_series_drop(m);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_the_number_of_series_is_bounded_but_for_the_rest(void **state)
{
	(void)state;
	char value[16];
	struct mr_metric *m = counter();
	for (int i = 0; i < MR_SERIES_MAX; i++) {
		snprintf(value, sizeof value, "%d", i);
		assert_non_null(of(m, value, ""));
	}
	assert_null(of(m, "one more", ""));
	assert_non_null(of(m, "7", ""));
	struct mr_series *other = of(m, MR_SERIES_OTHER, MR_SERIES_OTHER);
	assert_non_null(other);
	assert_ptr_equal(of(m, MR_SERIES_OTHER, MR_SERIES_OTHER), other);
	mr_series_drop(m);
}

static void test_long_values_are_cut(void **state)
{
	(void)state;
	char a[200], b[200];
	struct mr_metric *m = counter();
	memset(a, 'x', sizeof a - 1);
	a[sizeof a - 1] = '\0';
	memcpy(b, a, sizeof a);
	b[150] = 'y'; /* on the page they would be one */
	assert_ptr_equal(of(m, a, ""), of(m, b, ""));
	b[100] = 'y';
	assert_ptr_not_equal(of(m, a, ""), of(m, b, ""));
	mr_series_drop(m);
}

static void test_a_histogram_has_a_word_for_each_bucket(void **state)
{
	(void)state;
	static const double bounds[] = {1, 2, 4};
	struct mr_metric *m = mr_series_metric(MR_HISTOGRAM, "x", "X.", NULL, 0, bounds, 3);
	assert_int_equal(mr_series_words(m), 5);
	mr_series_of(m, NULL)->words[4] = 1;
	m->refs++;
	mr_series_drop(m); /* the runtime that shows it has one, too */
	assert_true(mr_series_read(mr_series_next(m, NULL), 4) == 1);
	mr_series_drop(m);
	mr_series_drop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_series_for_each_set_of_values),
		cmocka_unit_test(test_the_number_of_series_is_bounded_but_for_the_rest),
		cmocka_unit_test(test_long_values_are_cut),
		cmocka_unit_test(test_a_histogram_has_a_word_for_each_bucket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
