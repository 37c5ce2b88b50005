/* test_backoff: how long a lost connection waits before each try.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "link/backoff.h"

#define S 1000 /* ms */

static const struct mr_retry jitter = {MR_RETRY_JITTER, 0, 0, 30 * S, -1};

static struct mr_retry kombu(mr_msec start, mr_msec step, mr_msec max)
{
	return (struct mr_retry){MR_RETRY_LINEAR, start * S, step * S, max * S, -1};
}

static void waits_are(const struct mr_retry *r, const mr_msec *seconds, int count)
{
	for (int n = 0; n < count; n++)
		for (double chance = 0; chance <= 1; chance += 0.25)
			assert_int_equal(mr_backoff(r, n, MR_STREAM_LOST, chance), seconds[n] * S);
}

static void test_from_nothing_by_twos_up_to_thirty(void **state)
{
	static const mr_msec expected[] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
		30, 30, 30, 30};
	struct mr_retry r = kombu(0, 2, 30);
	(void)state;
	waits_are(&r, expected, sizeof expected / sizeof *expected);
}

static void test_from_two_by_twos_never_above_thirty(void **state)
{
	static const mr_msec expected[] = {2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
		30, 30, 30};
	struct mr_retry r = kombu(2, 2, 30);
	(void)state;
	waits_are(&r, expected, sizeof expected / sizeof *expected);
}

static void test_one_one_one_is_a_second_each_time(void **state)
{
	static const mr_msec expected[] = {1, 1, 1, 1};
	struct mr_retry r = kombu(1, 1, 1);
	(void)state;
	waits_are(&r, expected, 4);
}

static void test_a_start_above_the_maximum_is_cut_and_no_step_stays(void **state)
{
	static const mr_msec cut[] = {30, 30, 30}, flat[] = {5, 5, 5}, none[] = {0, 0, 0};
	struct mr_retry over = kombu(60, 2, 30), still = kombu(5, 0, 30), never = kombu(0, 2, 0);
	(void)state;
	waits_are(&over, cut, 3);
	waits_are(&still, flat, 3);
	waits_are(&never, none, 3);
}

static void test_max_retries_counts_the_tries_after_the_first(void **state)
{
	struct mr_retry r = kombu(0, 2, 30);
	(void)state;
	assert_int_equal(mr_backoff(&r, 1000000, MR_STREAM_LOST, 0), 30 * S); /* nil: for ever */
	r.retries = 0;
	assert_int_equal(mr_backoff(&r, 0, MR_STREAM_LOST, 0), -1);
	r.retries = 3;
	assert_int_equal(mr_backoff(&r, 0, MR_STREAM_LOST, 0), 0);
	assert_int_equal(mr_backoff(&r, 2, MR_STREAM_LOST, 0), 4 * S);
	assert_int_equal(mr_backoff(&r, 3, MR_STREAM_LOST, 0), -1);
	assert_int_equal(mr_backoff(&r, 4, MR_STREAM_LOST, 0), -1);
}

static void test_an_end_of_tries_holds_for_every_style(void **state)
{
	struct mr_retry r = jitter;
	(void)state;
	r.retries = 2;
	assert_true(mr_backoff(&r, 1, MR_STREAM_LOST, 0.5) >= 0);
	assert_int_equal(mr_backoff(&r, 2, MR_STREAM_LOST, 0.5), -1);
	r.style = MR_RETRY_FIXED;
	assert_int_equal(mr_backoff(&r, 2, MR_STREAM_LOST, 0.5), -1);
}

/* pika: connection_attempts = 3, retry_delay = 5: two retries, five seconds before each. */
static void test_fixed_pauses_are_all_the_same(void **state)
{
	struct mr_retry r = {MR_RETRY_FIXED, 5 * S, 0, 5 * S, 2};
	(void)state;
	assert_int_equal(mr_backoff(&r, 0, MR_CONNECTION_REFUSED, 0.9), 5 * S);
	assert_int_equal(mr_backoff(&r, 1, MR_CONNECTION_REFUSED, 0.1), 5 * S);
	assert_int_equal(mr_backoff(&r, 2, MR_CONNECTION_REFUSED, 0), -1);
}

static void test_jitter_never_leaves_its_doubling_bound(void **state)
{
	(void)state;
	for (int64_t n = 0; n < 200; n++) {
		mr_msec bound = n < 6 ? (mr_msec)500 << n : 30 * S, most = 0;
		if (bound > 30 * S) bound = 30 * S;
		for (int i = 0; i <= 1000; i++) {
			mr_msec wait = mr_backoff(&jitter, n, MR_STREAM_LOST, i / 1000.0);
			assert_true(wait >= most && wait <= bound); /* grows with chance, too */
			most = wait;
		}
		assert_int_equal(most, bound);
		assert_int_equal(mr_backoff(&jitter, n, MR_STREAM_LOST, 0), 0);
	}
}

static void test_a_small_cap_bounds_the_first_wait_too(void **state)
{
	struct mr_retry r = jitter;
	(void)state;
	r.max = 100;
	assert_int_equal(mr_backoff(&r, 0, MR_STREAM_LOST, 1), 100);
	assert_int_equal(mr_backoff(&r, 50, MR_STREAM_LOST, 1), 100);
}

static void test_a_refusal_waits_between_half_the_cap_and_the_cap(void **state)
{
	static const int kinds[] = {MR_AUTHENTICATION_FAILED, MR_VHOST_ACCESS_REFUSED};
	(void)state;
	for (int k = 0; k < 2; k++)
		for (int64_t n = 0; n < 40; n++)
			for (int i = 0; i <= 100; i++) {
				mr_msec wait = mr_backoff(&jitter, n, kinds[k], i / 100.0);
				assert_true(wait >= 15 * S && wait <= 30 * S);
			}
	assert_int_equal(mr_backoff(&jitter, 0, MR_AUTHENTICATION_FAILED, 0), 15 * S);
	assert_int_equal(mr_backoff(&jitter, 0, MR_AUTHENTICATION_FAILED, 1), 30 * S);
}

static void test_a_billion_tries_overflow_nothing(void **state)
{
	struct mr_retry far = {MR_RETRY_LINEAR, 0, 3600 * S, INT64_C(1) << 50, -1};
	struct mr_retry near = kombu(2, 2, 30);
	(void)state;
	for (int64_t n = 1; n <= INT64_C(1000000000); n = n * 3 + 1) {
		assert_int_equal(mr_backoff(&near, n > 14 ? n : 14, MR_STREAM_LOST, 0), 30 * S);
		assert_in_range(mr_backoff(&far, n, MR_STREAM_LOST, 0), 0, far.max);
		assert_in_range(mr_backoff(&jitter, n, MR_STREAM_LOST, 1), 0, 30 * S);
	}
	assert_int_equal(mr_backoff(&near, INT64_MAX, MR_STREAM_LOST, 0), 30 * S);
	assert_int_equal(mr_backoff(&jitter, INT64_MAX, MR_STREAM_LOST, 1), 30 * S);
}

/* Without luck or lack of it: the i-th of n connections has its chance at any i * 0.618 modulo 1. */
static void test_those_lost_together_do_not_try_together(void **state)
{
	static int in_100_ms[2000];
	(void)state;
	for (int n = 10; n <= 10000; n *= 10) {
		struct mr_crowd crowd = {0};
		int most = 0;
		memset(in_100_ms, 0, sizeof in_100_ms);
		for (int i = 0; i < n; i++) {
			double chance = i * 0.6180339887 - (int)(i * 0.6180339887);
			double bound = 500 + (double)mr_backoff_join(&crowd, 5000);
			int at = (int)(bound * chance / 100);
			if (++in_100_ms[at] > most) most = in_100_ms[at];
		}
		if (n >= 1000) assert_true(most * 10 <= n);
		assert_int_equal(mr_backoff_join(&crowd, 6000), 4 * n);
		assert_int_equal(mr_backoff_join(&crowd, 6001), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_nothing_by_twos_up_to_thirty),
		cmocka_unit_test(test_from_two_by_twos_never_above_thirty),
		cmocka_unit_test(test_one_one_one_is_a_second_each_time),
		cmocka_unit_test(test_a_start_above_the_maximum_is_cut_and_no_step_stays),
		cmocka_unit_test(test_max_retries_counts_the_tries_after_the_first),
		cmocka_unit_test(test_an_end_of_tries_holds_for_every_style),
		cmocka_unit_test(test_fixed_pauses_are_all_the_same),
		cmocka_unit_test(test_jitter_never_leaves_its_doubling_bound),
		cmocka_unit_test(test_a_small_cap_bounds_the_first_wait_too),
		cmocka_unit_test(test_a_refusal_waits_between_half_the_cap_and_the_cap),
		cmocka_unit_test(test_a_billion_tries_overflow_nothing),
		cmocka_unit_test(test_those_lost_together_do_not_try_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
