/* test_log_tail: the last lines of the log, read while they are replaced.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "bridge/log_tail.h"

#define MANY 200000

static struct mr_log_tail tail;
static char out[MR_LOG_TAIL_SIZE];

static int setup(void **state)
{
	(void)state;
	tail = (struct mr_log_tail){0};
	return 0;
}

static void keeps_the_last_lines(void **state)
{
	char line[32];
	(void)state;
	assert_int_equal(mr_log_tail_last(&tail), 0);
	assert_int_equal(mr_log_tail_read(&tail, 0, out), 0);
	assert_int_equal(mr_log_tail_read(&tail, 1, out), 0);
	for (int i = 1; i <= MR_LOG_TAIL_LINES + 5; i++)
		mr_log_tail_add(&tail, line, (size_t)snprintf(line, sizeof line, "line %d", i));
	assert_int_equal(mr_log_tail_last(&tail), MR_LOG_TAIL_LINES + 5);
	assert_int_equal(mr_log_tail_read(&tail, 5, out), 0); /* replaced */
	assert_int_equal(mr_log_tail_read(&tail, 6, out), 6);
	assert_memory_equal(out, "line 6", 6);
	assert_int_equal(mr_log_tail_read(&tail, MR_LOG_TAIL_LINES + 6, out), 0); /* to come */
}

static void cuts_a_long_line_between_characters(void **state)
{
	char line[2 * MR_LOG_TAIL_SIZE];
	(void)state;
	memset(line, 'x', sizeof line);
	mr_log_tail_add(&tail, line, sizeof line);
	assert_int_equal(mr_log_tail_read(&tail, 1, out), MR_LOG_TAIL_SIZE);
	memcpy(line + MR_LOG_TAIL_SIZE - 1, "\xC3\xA9", 2);
	mr_log_tail_add(&tail, line, sizeof line);
	assert_int_equal(mr_log_tail_read(&tail, 2, out), MR_LOG_TAIL_SIZE - 1);
}

static void hides_passwords_also_where_it_cuts(void **state)
{
	static const char text[] = "amqp://u:hunter2@h/";
	char line[2 * MR_LOG_TAIL_SIZE];
	(void)state;
	memset(line, ' ', sizeof line);
	for (size_t before = 0; before <= strlen(text); before++) {
		memcpy(line + MR_LOG_TAIL_SIZE - before, text, strlen(text));
		mr_log_tail_add(&tail, line, sizeof line);
		size_t size = mr_log_tail_read(&tail, mr_log_tail_last(&tail), out);
		assert_true(size > 0);
		assert_null(memmem(out, size, ":h", 2));
	}
	mr_log_tail_add(&tail, text, strlen(text));
	assert_int_equal(mr_log_tail_read(&tail, mr_log_tail_last(&tail), out), 15);
	assert_memory_equal(out, "amqp://u:***@h/", 15);
}

/* Each line is one letter, as often as another thread can write it. */
static void *write_many(void *arg)
{
	char line[200];
	(void)arg;
	for (int i = 0; i < MANY; i++) {
		size_t size = 1 + (size_t)i % sizeof line;
		memset(line, 'a' + i % 26, sizeof line);
		mr_log_tail_add(&tail, line, size);
	}
	return NULL;
}

static void gives_whole_lines_while_they_are_replaced(void **state)
{
	pthread_t writer;
	uint64_t last = 0, found = 0;
	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_many, NULL), 0);
	while (last < MANY) {
		last = mr_log_tail_last(&tail);
		uint64_t oldest = last > MR_LOG_TAIL_LINES ? last - MR_LOG_TAIL_LINES : 0;
		for (uint64_t n = oldest; n <= last; n++) {
			size_t size = mr_log_tail_read(&tail, n, out);
			if (!size) continue;
			found++;
			assert_int_equal(size, 1 + (n - 1) % 200);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(out[i], 'a' + (int)((n - 1) % 26));
		}
	}
	pthread_join(writer, NULL);
	assert_true(found > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(keeps_the_last_lines, setup),
		cmocka_unit_test_setup(cuts_a_long_line_between_characters, setup),
		cmocka_unit_test_setup(hides_passwords_also_where_it_cuts, setup),
		cmocka_unit_test_setup(gives_whole_lines_while_they_are_replaced, setup)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
