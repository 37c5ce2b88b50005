/* test_page: the text of /metrics: our own metrics, those of the host, and those of the process.
 * Covers: runtime/health/own_metrics.c by mr_own_metrics_write
 * Covers: runtime/health/process.c by mr_process_write
 * SPDX-License-Identifier: MIT */
#include "health/page.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/series.h"
#include "health/catalogue.h"
#include "health/own_metrics.h"
#include "health/process.h"

static struct mr_buffer buffer;
static struct mr_page page;

static int setup(void **state)
{
	(void)state;
	page = (struct mr_page){.out = &buffer};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_buffer_fini(&buffer);
	return 0;
}

static const char *text(void)
{
	assert_int_equal(page.status, MR_OK);
	assert_int_equal(mr_buffer_append(&buffer, "", 1), MR_OK);
	return (const char *)mr_buffer_data(&buffer);
}

static void test_names_begin_with_ours_but_for_the_process(void **state)
{
	(void)state;
	mr_page_count(&page, MR_METRIC_healthy, 1);
	mr_page_real(&page, MR_METRIC_process_cpu_seconds_total, 0.5);
	assert_string_equal(text(),
		"# HELP moonrabbit_healthy Whether every check holds, as /health says.\n"
		"# TYPE moonrabbit_healthy gauge\nmoonrabbit_healthy 1\n"
		"# HELP process_cpu_seconds_total CPU time of the process, user and system.\n"
		"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 0.500\n");
}

static void test_what_a_label_may_not_hold_is_escaped(void **state)
{
	(void)state;
	char out[MR_LABEL_SIZE];
	assert_string_equal(mr_page_label(out, "a\"b\\c"), "a\\\"b\\\\c");
	assert_null(strchr(mr_page_label(out, "a\nb\xff"), '\n'));
}

static void test_the_metrics_of_the_host(void **state)
{
	(void)state;
	static const char *const labels[] = {"status", "by"}, *const values[] = {"ok", "\"me\""};
	static const double bounds[] = {0.5, 10};
	struct mr_metric *c =
		mr_series_metric(MR_COUNTER, "paid_total", "A \\ and\nmore.", labels, 2, NULL, 0);
	struct mr_metric *h = mr_series_metric(MR_HISTOGRAM, "took", "T.", NULL, 0, bounds, 2);
	struct mr_metric *g = mr_series_metric(MR_GAUGE, "level", "L.", NULL, 0, NULL, 0);
	double *words = mr_series_of(h, NULL)->words;
	mr_series_of(c, values)->words[0] = 3;
	mr_series_of(g, NULL)->words[0] = -INFINITY;
	words[0] = 20.25;
	words[1] = 2;
	words[3] = 1;
	const struct mr_metric *all[] = {c, h, g};
	mr_own_metrics_write(&page, all, 3);
	assert_string_equal(text(),
		"# HELP paid_total A \\\\ and\\nmore.\n# TYPE paid_total counter\n"
		"paid_total{status=\"ok\",by=\"\\\"me\\\"\"} 3\n"
		"# HELP took T.\n# TYPE took histogram\n"
		"took_bucket{le=\"0.5\"} 2\ntook_bucket{le=\"10\"} 2\ntook_bucket{le=\"+Inf\"} 3\n"
		"took_sum 20.25\ntook_count 3\n"
		"# HELP level L.\n# TYPE level gauge\nlevel -Inf\n");
	mr_series_drop(c);
	mr_series_drop(h);
	mr_series_drop(g);
}

static void test_a_help_is_utf8_whatever_its_bytes_and_its_length(void **state)
{
	(void)state;
	char help[2004];
	for (size_t i = 0; i < 2000; i++)
		help[i] = "\xe2\x82\xac"[i % 3]; /* cut within a euro sign */
	strcpy(help + 2000, "\xe9.");
	struct mr_metric *g = mr_series_metric(MR_GAUGE, "level", help, NULL, 0, NULL, 0);
	const struct mr_metric *all[] = {g};
	mr_own_metrics_write(&page, all, 1);
	const char *at = strstr(text(), "level ") + strlen("level ");
	assert_memory_equal(at, help, 1998);
	assert_memory_equal(at + 1998, "\\\\xe2\\\\x82\\\\xe9.\n", 5 * 3 + 2);
	mr_series_drop(g);
}

static double value_of(const char *all, const char *name)
{
	const char *at = strstr(all, name);
	assert_non_null(at);
	return strtod(at + strlen(name), NULL);
}

static void test_the_process(void **state)
{
	(void)state;
	int pair[2];
	mr_process_write(&page);
	double before = value_of(text(), "\nprocess_open_fds ");
	assert_true(value_of(text(), "\nprocess_resident_memory_bytes ") > 100000);
	assert_true(value_of(text(), "\nprocess_virtual_memory_bytes ") >
		    value_of(text(), "\nprocess_resident_memory_bytes "));
	assert_true(value_of(text(), "\nprocess_max_fds ") >= before);
	double age = (double)time(NULL) - value_of(text(), "\nprocess_start_time_seconds ");
	assert_true(age > -2 && age < 600);
	assert_true(value_of(text(), "process_cpu_seconds_total ") >= 0);
	mr_buffer_fini(&buffer);
	assert_int_equal(pipe(pair), 0);
	mr_process_write(&page);
	assert_true(value_of(text(), "\nprocess_open_fds ") == before + 2);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_begin_with_ours_but_for_the_process,
			setup, teardown),
		cmocka_unit_test(test_what_a_label_may_not_hold_is_escaped),
		cmocka_unit_test_setup_teardown(test_the_metrics_of_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_help_is_utf8_whatever_its_bytes_and_its_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_process, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
