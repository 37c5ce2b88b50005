/* test_metric: metrics of a host in C: which names are taken, and who may go first.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "moonrabbit.h"

static const double bounds[] = {1, 2};

static const char *why(int type, const char *name, const char *label, size_t buckets)
{
	static mr_error error;
	mr_metric *m = NULL;
	const char *labels[] = {label};
	int st = mr_metric_new(type, name, "Help.", labels, label ? 1 : 0, bounds, buckets, &m,
		&error);
	mr_metric_free(m);
	return st == MR_OK ? "" : error.text;
}

static void assert_says(const char *text, const char *part)
{
	if (!strstr(text, part)) fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void test_names_are_those_of_prometheus(void **state)
{
	(void)state;
	assert_string_equal(why(MR_COUNTER, "paid_total", "status", 0), "");
	assert_string_equal(why(MR_GAUGE, "_x9", NULL, 0), "");
	assert_string_equal(why(MR_HISTOGRAM, "took", "x", 2), "");
	assert_says(why(MR_GAUGE, "9x", NULL, 0), "is no metric's name");
	assert_says(why(MR_GAUGE, "a-b", NULL, 0), "is no metric's name");
	assert_says(why(MR_GAUGE, "a:b", NULL, 0), "is no metric's name");
	assert_says(why(MR_GAUGE, "", NULL, 0), "is no metric's name");
	assert_says(why(MR_GAUGE, "moonrabbit_x", NULL, 0), "the runtime's own names");
	assert_says(why(MR_GAUGE, "process_x", NULL, 0), "the runtime's own names");
	assert_says(why(MR_COUNTER, "paid", NULL, 0), "ends with _total");
	assert_says(why(MR_GAUGE, "paid_total", NULL, 0), "only a counter's");
	assert_says(why(MR_GAUGE, "x", "__x", 0), "reserved");
	assert_says(why(MR_GAUGE, "x", "le", 0), "reserved");
	assert_says(why(MR_GAUGE, "x", "worker", 0), "reserved");
	assert_says(why(MR_GAUGE, "x", "a b", 0), "no label's name");
	assert_says(why(MR_GAUGE, "x", NULL, 1), "only a histogram");
	assert_says(why(MR_HISTOGRAM, "x", NULL, 0), "1 to 64 buckets");
}

static void test_bounds_ascend(void **state)
{
	(void)state;
	static const double falling[] = {2, 1}, open[] = {1, INFINITY};
	mr_error error;
	mr_metric *m;
	assert_int_equal(mr_metric_new(MR_HISTOGRAM, "x", "", NULL, 0, falling, 2, &m, &error),
		MR_BAD_ARGUMENT);
	assert_int_equal(mr_metric_new(MR_HISTOGRAM, "x", "", NULL, 0, open, 2, &m, NULL),
		MR_BAD_ARGUMENT);
}

static mr_metric *metric(int type, const char *name)
{
	mr_metric *m = NULL;
	assert_int_equal(mr_metric_new(type, name, "", NULL, 0, bounds,
				 type == MR_HISTOGRAM ? 2 : 0, &m, NULL),
		MR_OK);
	return m;
}

static void test_a_name_is_shown_once_and_either_may_go_first(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	mr_runtime *rt;
	mr_error error;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	mr_metric *h = metric(MR_HISTOGRAM, "took"), *again = metric(MR_GAUGE, "took"),
		  *sum = metric(MR_GAUGE, "took_sum"), *g = metric(MR_GAUGE, "g");
	assert_int_equal(mr_metric_show(rt, h, &error), MR_OK);
	assert_int_equal(mr_metric_show(rt, h, &error), MR_OK);
	assert_int_equal(mr_metric_show(rt, again, &error), MR_BAD_ARGUMENT);
	assert_says(error.text, "another metric has samples of the name \"took\"");
	assert_int_equal(mr_metric_show(rt, sum, NULL), MR_BAD_ARGUMENT);
	assert_int_equal(mr_metric_show(rt, g, &error), MR_OK);
	mr_metric_free(g); /* the runtime keeps it */
	mr_metric_free(again);
	mr_metric_free(sum);
	mr_runtime_free(rt, 5);
	mr_metric_words(h, NULL)[0] += 1; /* it outlives the runtime */
	mr_metric_free(h);
	assert_int_equal(mr_alloc_live(), live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_those_of_prometheus),
		cmocka_unit_test(test_bounds_ascend),
		cmocka_unit_test(test_a_name_is_shown_once_and_either_may_go_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
