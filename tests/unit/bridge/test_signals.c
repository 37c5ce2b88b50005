/* test_signals: a host's signals wait while they are held, and the loop hears of those that have a handler.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "bridge/signals.h"

static struct mr_signals s;
static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	(void)number;
	handled++;
}

static int setup(void **state)
{
	(void)state;
	handled = 0;
	signal(SIGUSR1, on_signal);
	assert_int_equal(mr_signals_open(&s, NULL), MR_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_signals_let(&s);
	mr_signals_close(&s);
	signal(SIGUSR1, SIG_DFL);
	return 0;
}

static bool is_readable(void)
{
	struct pollfd pfd = {.fd = s.fd, .events = POLLIN};
	return poll(&pfd, 1, 0) == 1;
}

static void test_a_signal_waits_until_it_is_let(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		mr_signals_hold(&s);
		mr_signals_hold(&s);
		assert_false(is_readable());
		raise(SIGUSR1);
		assert_true(is_readable());
		assert_true(mr_signals_are_caught(&s));
		assert_int_equal(handled, i);
		mr_signals_let(&s);
		mr_signals_let(&s);
		assert_int_equal(handled, i + 1);
		raise(SIGUSR1);
		assert_int_equal(handled--, i + 2);
	}
}

static void test_a_sleep_with_the_mask_is_ended_by_what_waits(void **state)
{
	const struct timespec long_time = {20, 0};
	(void)state;
	assert_null(mr_signals_mask(&s));
	mr_signals_hold(&s);
	raise(SIGUSR1);
	assert_int_equal(ppoll(NULL, 0, &long_time, mr_signals_mask(&s)), -1);
	assert_int_equal(handled, 1);
}

static void test_what_has_no_handler_has_its_effect_at_once(void **state)
{
	(void)state;
	mr_signals_hold(&s);
	raise(SIGCHLD);
	assert_true(is_readable());
	assert_false(mr_signals_are_caught(&s));
	assert_false(is_readable());
	raise(SIGUSR1); /* they are held as before */
	assert_int_equal(handled, 0);
}

static void test_what_the_host_blocks_is_not_told(void **state)
{
	sigset_t blocked, before;
	int number;
	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	raise(SIGUSR1);
	mr_signals_hold(&s);
	assert_false(is_readable());
	mr_signals_let(&s);
	assert_int_equal(handled, 0);
	assert_int_equal(sigwait(&blocked, &number), 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	mr_signals_hold(&s); /* it is told of that one again */
	raise(SIGUSR1);
	assert_true(is_readable());
}

static void test_faults_are_not_held(void **state)
{
	sigset_t now;
	(void)state;
	mr_signals_hold(&s);
	sigprocmask(SIG_SETMASK, NULL, &now);
	assert_int_equal(sigismember(&now, SIGSEGV), 0);
	assert_int_equal(sigismember(&now, SIGTERM), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_a_signal_waits_until_it_is_let),
		CASE(test_a_sleep_with_the_mask_is_ended_by_what_waits),
		CASE(test_what_has_no_handler_has_its_effect_at_once),
		CASE(test_what_the_host_blocks_is_not_told),
		CASE(test_faults_are_not_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
