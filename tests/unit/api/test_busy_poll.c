/* test_busy_poll: when a poll looks for its answer, by what came of the looks before.
 * SPDX-License-Identifier: MIT */
#include "api/busy_poll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct mr_busy_poll b;

static int setup(void **state)
{
	(void)state;
	mr_busy_poll_init(&b);
	b.has_cores = true;
	return 0;
}

/* How many waits there are before one with a look. */
static unsigned rests(void)
{
	unsigned count = 0;
	while (!mr_busy_poll_next(&b)) count++;
	return count;
}

static void look_in_vain(int times)
{
	for (int i = 0; i < times; i++) mr_busy_poll_learn(&b, false);
}

static void test_it_goes_on_while_the_answers_are_found(void **state)
{
	(void)state;
	assert_int_equal(rests(), 16);
	for (int i = 0; i < 1000; i++) {
		mr_busy_poll_learn(&b, i % 3 == 0); /* every third is enough */
		assert_int_equal(mr_busy_poll_next(&b), 30);
	}
}

static void test_what_is_in_vain_is_tried_less_and_less(void **state)
{
	static const unsigned expected[] = {16, 32, 64, 128, 256, 512, 1024, 1024, 1024};
	(void)state;
	assert_int_equal(rests(), 16);
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		look_in_vain(2);
		assert_int_equal(mr_busy_poll_next(&b), 30);
		look_in_vain(1);
		assert_int_equal(rests(), expected[i]);
	}
	for (int i = 0; i < 15; i++) mr_busy_poll_learn(&b, true);
	look_in_vain(3);
	assert_int_equal(rests(), 1024);
	for (int i = 0; i < 16; i++) mr_busy_poll_learn(&b, true);
	look_in_vain(3);
	assert_int_equal(rests(), 16); /* the broker is a quick one now */
}

static void test_on_one_core_it_never_looks_by_itself(void **state)
{
	(void)state;
	b.has_cores = false;
	for (int i = 0; i < 100; i++) assert_int_equal(mr_busy_poll_next(&b), 0);
}

static void test_what_the_host_says_is_done_whatever_comes_of_it(void **state)
{
	(void)state;
	assert_true(mr_busy_poll_tell(&b, 0.0001));
	b.has_cores = false; /* its peer may be elsewhere */
	for (int i = 0; i < 100; i++) {
		mr_busy_poll_learn(&b, false);
		assert_int_equal(mr_busy_poll_next(&b), 100);
	}
	assert_true(mr_busy_poll_tell(&b, 0));
	for (int i = 0; i < 100; i++) assert_int_equal(mr_busy_poll_next(&b), 0);
	assert_true(mr_busy_poll_tell(&b, 0.0005));
	assert_int_equal(mr_busy_poll_next(&b), 500);
	assert_true(mr_busy_poll_tell(&b, -1)); /* by itself again */
	b.has_cores = true;
	assert_int_equal(rests(), 16);
	assert_false(mr_busy_poll_tell(&b, 0.00051));
	assert_false(mr_busy_poll_tell(&b, 0.0 / 0.0));
	assert_int_equal(mr_busy_poll_next(&b), 30); /* as before */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_it_goes_on_while_the_answers_are_found, setup),
		cmocka_unit_test_setup(test_what_is_in_vain_is_tried_less_and_less, setup),
		cmocka_unit_test_setup(test_on_one_core_it_never_looks_by_itself, setup),
		cmocka_unit_test_setup(test_what_the_host_says_is_done_whatever_comes_of_it, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
