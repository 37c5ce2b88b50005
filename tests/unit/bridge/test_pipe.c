/* test_pipe: bytes from one thread to another, in order, bounded, and with no wake lost.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "base/alloc.h"
#include "bridge/pipe.h"

#define MANY 200000

static long live;

static int setup(void **state)
{
	(void)state;
	live = mr_alloc_live();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(mr_alloc_live(), live);
	return 0;
}

static void drop(struct mr_pipe *p)
{
	mr_pipe_drop(p);
	mr_pipe_drop(p);
}

static void takes_all_of_it_or_nothing(void **state)
{
	char out[16];
	struct mr_pipe *p = mr_pipe_new(8);
	(void)state;
	assert_true(mr_pipe_write(p, "abcde", 5));
	assert_false(mr_pipe_write(p, "fghi", 4));
	assert_true(mr_pipe_write(p, "fgh", 3));
	assert_false(mr_pipe_write(p, "i", 1));
	assert_true(mr_pipe_write(p, "", 0));
	assert_int_equal(mr_pipe_read(p, out, 6), 6);
	assert_memory_equal(out, "abcdef", 6);
	assert_true(mr_pipe_write(p, "ijklmn", 6)); /* around the end */
	assert_int_equal(mr_pipe_read(p, out, sizeof out), 8);
	assert_memory_equal(out, "ghijklmn", 8);
	assert_int_equal(mr_pipe_read(p, out, sizeof out), 0);
	assert_false(mr_pipe_write(p, "123456789", 9)); /* more than ever fits */
	drop(p);
}

static void is_over_when_its_last_bytes_are_read(void **state)
{
	char out[4];
	struct mr_pipe *p = mr_pipe_new(8);
	(void)state;
	assert_false(mr_pipe_is_over(p));
	mr_pipe_write(p, "x", 1);
	mr_pipe_end(p);
	assert_false(mr_pipe_is_over(p));
	assert_false(mr_pipe_sleep(p)); /* there is something to read */
	assert_int_equal(mr_pipe_read(p, out, sizeof out), 1);
	assert_true(mr_pipe_is_over(p));
	assert_false(mr_pipe_sleep(p)); /* and the end to be seen */
	drop(p);
}

static void tells_one_that_sleeps_once(void **state)
{
	struct mr_pipe *p = mr_pipe_new(8);
	(void)state;
	assert_false(mr_pipe_take_sleep(p));
	assert_true(mr_pipe_sleep(p));
	mr_pipe_write(p, "x", 1);
	assert_true(mr_pipe_take_sleep(p));
	assert_false(mr_pipe_take_sleep(p));
	drop(p);
}

/* ---- two threads ---- */

static sem_t alarm_clock;

static void *write_many(void *pipe)
{
	struct mr_pipe *p = pipe;
	for (uint32_t i = 1; i <= MANY;) {
		if (mr_pipe_write(p, (const char *)&i, sizeof i)) i++;
		if (mr_pipe_take_sleep(p)) sem_post(&alarm_clock);
	}
	mr_pipe_end(p);
	if (mr_pipe_take_sleep(p)) sem_post(&alarm_clock);
	mr_pipe_drop(p);
	return NULL;
}

/* With a wake that is lost the reader would sleep for ever. */
static void loses_neither_bytes_nor_wakes(void **state)
{
	uint32_t expected = 1, seen;
	size_t have = 0;
	pthread_t writer;
	struct mr_pipe *p = mr_pipe_new(61); /* numbers go around its end */
	(void)state;
	sem_init(&alarm_clock, 0, 0);
	assert_int_equal(pthread_create(&writer, NULL, write_many, p), 0);
	while (!mr_pipe_is_over(p)) {
		size_t n = mr_pipe_read(p, (char *)&seen + have, sizeof seen - have);
		have += n;
		if (have == sizeof seen) {
			assert_int_equal(seen, expected++);
			have = 0;
		}
		if (!n && mr_pipe_sleep(p)) sem_wait(&alarm_clock);
	}
	pthread_join(writer, NULL);
	assert_int_equal(expected, MANY + 1);
	mr_pipe_drop(p);
	sem_destroy(&alarm_clock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(takes_all_of_it_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(is_over_when_its_last_bytes_are_read, setup,
			teardown),
		cmocka_unit_test_setup_teardown(tells_one_that_sleeps_once, setup, teardown),
		cmocka_unit_test_setup_teardown(loses_neither_bytes_nor_wakes, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
