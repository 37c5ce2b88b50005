/* test_watchdog: a host in C that does not poll: reported while it is away, asked by its signal where it is.
 * Covers: runtime/health/stall.c by stalled
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit.h"

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
	(void)number;
	asked = 1;
}

/* Standard error into a file, until text_of_errors. */
static int kept_errors, errors_file;

static void keep_errors(void)
{
	char path[] = "/tmp/mr-watchdog-XXXXXX";
	errors_file = mkstemp(path);
	assert_true(errors_file >= 0);
	unlink(path);
	kept_errors = dup(2);
	dup2(errors_file, 2);
}

static const char *text_of_errors(void)
{
	static char text[8192];
	dup2(kept_errors, 2);
	close(kept_errors);
	ssize_t n = pread(errors_file, text, sizeof text - 1, 0);
	close(errors_file);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* As a handler of a consumer's. The I/O thread reads these: TSan wants atomic stores. */
static void take_up(mr_runtime *rt, uint32_t consumer)
{
	mr_mark *mark = mr_runtime_mark(rt);
	double turn = mark->turn + 1;
	__atomic_store_n(&mark->consumer, consumer, __ATOMIC_RELAXED);
	__atomic_store(&mark->turn, &turn, __ATOMIC_RELAXED);
}

/* Does not poll; `wanted` ends it. */
static void spin(mr_runtime *rt, double seconds, bool (*wanted)(const mr_runtime *))
{
	double ends = mr_now() + seconds;
	while (mr_now() < ends && !wanted(rt)) {}
}

static bool never(const mr_runtime *rt)
{
	(void)rt;
	return false;
}

static bool is_asked(const mr_runtime *rt) { return asked && mr_runtime_wants_trace(rt); }

static void test_a_host_that_is_away_is_asked_and_reported(void **state)
{
	struct sigaction action = {.sa_handler = on_signal};
	mr_runtime *rt;
	mr_event ev;
	(void)state;
	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	keep_errors();
	assert_int_equal(mr_runtime_watchdog(rt, 0.1, SIGUSR1), MR_OK);
	assert_int_equal(mr_consumer_describe(rt, 7, "jobs", "main.c:12", 0, 0), MR_OK);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0.001), 0);
	assert_false(mr_runtime_trace(rt, "nobody asked", 12));
	take_up(rt, 7);
	spin(rt, 10, is_asked);
	assert_true(mr_runtime_trace(rt, "in spin()", 9));
	spin(rt, 0.1, never);
	take_up(rt, 0);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0.1), 0);
	mr_runtime_free(rt, 1);
	const char *text = text_of_errors();
	assert_non_null(strstr(text, "msg=\"the script is stalled\" seconds=0."));
	assert_non_null(
		strstr(text, "queue=jobs origin=main.c:12 doing=running traceback=\"in spin()\""));
	assert_non_null(strstr(text, "msg=\"the script goes on after a stall\" seconds=0."));
	signal(SIGUSR1, SIG_DFL);
}

static void test_a_consumer_may_be_left_alone_and_so_may_all(void **state)
{
	mr_runtime *rt;
	mr_event ev;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	keep_errors();
	assert_int_equal(mr_runtime_watchdog(rt, 0.05, 0), MR_OK);
	assert_int_equal(mr_consumer_describe(rt, 7, "jobs", NULL, -1, 0), MR_OK);
	mr_runtime_poll(rt, &ev, 1, 0.001);
	take_up(rt, 7);
	spin(rt, 0.2, never);
	take_up(rt, 0);
	mr_runtime_poll(rt, &ev, 1, 0.001);
	assert_int_equal(mr_runtime_watchdog(rt, 0, 0), MR_OK);
	mr_runtime_poll(rt, &ev, 1, 0.02); /* it has been heard */
	spin(rt, 0.2, never);
	mr_runtime_free(rt, 1);
	assert_string_equal(text_of_errors(), "");
}

static void test_what_makes_no_sense_is_refused(void **state)
{
	mr_runtime *rt;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	assert_int_equal(mr_runtime_watchdog(rt, -1, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_runtime_watchdog(rt, 1, -1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_runtime_watchdog(rt, 1, 4711), MR_BAD_ARGUMENT);
	assert_int_equal(mr_consumer_describe(rt, 0, "q", "", 0, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_consumer_describe(rt, 9, NULL, NULL, 0, 0), MR_OK); /* nobody knew it */
	assert_false(mr_runtime_wants_trace(rt));
	mr_runtime_free(rt, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_host_that_is_away_is_asked_and_reported),
		cmocka_unit_test(test_a_consumer_may_be_left_alone_and_so_may_all),
		cmocka_unit_test(test_what_makes_no_sense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
