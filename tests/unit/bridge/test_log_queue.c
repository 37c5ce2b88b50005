/* test_log_queue: lines of two threads, in order and bounded; those without room are counted.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "bridge/log_queue.h"

#define LINES 200000

static struct mr_log_queue queue;
static struct mr_wake host;

static int begin(void **state)
{
	(void)state;
	queue = (struct mr_log_queue){0};
	assert_int_equal(mr_wake_open(&host, NULL), MR_OK);
	assert_int_equal(mr_log_queue_open(&queue, &host), MR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_log_queue_close(&queue);
	mr_wake_close(&host);
	return 0;
}

static void *storm(void *arg)
{
	char text[32];
	(void)arg;
	for (int i = 1; i <= LINES; i++) {
		int n = snprintf(text, sizeof text, "%d", i);
		mr_log_queue_io_sink(&queue, MR_LOG_WARN, text, (size_t)n);
	}
	return NULL;
}

static void test_a_storm_of_the_other_thread_is_taken_or_counted(void **state)
{
	pthread_t thread;
	int last = 0, level;
	uint64_t got = 0;
	size_t size;
	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, storm, NULL), 0);
	while (got + mr_log_queue_dropped(&queue) < LINES || !mr_log_queue_is_empty(&queue)) {
		const char *line = mr_log_queue_next(&queue, &level, &size);
		if (!line) continue;
		char text[32];
		assert_true(size < sizeof text);
		memcpy(text, line, size);
		text[size] = '\0';
		int number = (int)strtol(text, NULL, 10);
		assert_true(number > last); /* in order, none twice */
		assert_int_equal(level, MR_LOG_WARN);
		last = number;
		mr_log_queue_taken(&queue, true);
		got++;
	}
	pthread_join(thread, NULL);
	assert_int_equal(got + mr_log_queue_dropped(&queue), LINES);
	assert_true(got > 0);
}

static void test_without_a_reader_the_first_lines_wait_and_the_rest_is_counted(void **state)
{
	size_t size;
	int level;
	(void)state;
	storm(NULL);
	uint64_t dropped = mr_log_queue_untold(&queue);
	assert_in_range(LINES - dropped, 500, 20000);
	mr_log_queue_told(&queue, dropped);
	assert_int_equal(mr_log_queue_untold(&queue), 0);
	const char *line = mr_log_queue_next(&queue, &level, &size);
	assert_int_equal(size, 1);
	assert_int_equal(*line, '1');
	mr_log_queue_taken(&queue, false); /* its reader had no memory for it */
	assert_int_equal(mr_log_queue_untold(&queue), 1);
}

static void test_lines_of_both_threads_come_by_time(void **state)
{
	char all[64] = "";
	size_t size;
	int level;
	(void)state;
	for (int i = 0; i < 5; i++) {
		uint64_t now = mr_clock_us();
		mr_log_queue_push(&queue, MR_LOG_INFO, "h", 1);
		while (mr_clock_us() == now) continue;
		now = mr_clock_us();
		mr_log_queue_io_sink(&queue, MR_LOG_ERROR, "io", 2);
		while (mr_clock_us() == now) continue;
	}
	for (const char *line; (line = mr_log_queue_next(&queue, &level, &size));) {
		assert_int_equal(level, size == 1 ? MR_LOG_INFO : MR_LOG_ERROR);
		strncat(all, line, size);
		mr_log_queue_taken(&queue, true);
	}
	assert_string_equal(all, "hiohiohiohiohio");
}

static void test_one_that_is_not_open_is_empty(void **state)
{
	struct mr_log_queue none = {0};
	size_t size;
	int level;
	(void)state;
	assert_true(mr_log_queue_is_empty(&none));
	assert_null(mr_log_queue_next(&none, &level, &size));
	mr_log_queue_close(&none);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_a_storm_of_the_other_thread_is_taken_or_counted),
		TEST(test_without_a_reader_the_first_lines_wait_and_the_rest_is_counted),
		TEST(test_lines_of_both_threads_come_by_time),
		TEST(test_one_that_is_not_open_is_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
