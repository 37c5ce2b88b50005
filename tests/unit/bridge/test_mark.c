/* test_mark: what can be told of a host from its marks, and a traceback between two threads.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "bridge/mark.h"

static struct mr_mark_shared p;
static struct mr_mark_view v;

static int begin(void **state)
{
	(void)state;
	mr_mark_init(&p, 1000);
	return 0;
}

static void test_a_host_that_never_polled_is_busy_since_it_began(void **state)
{
	(void)state;
	mr_mark_look(&p, 4000, false, &v);
	assert_false(v.idle);
	assert_int_equal(v.busy_for, 3000);
	assert_int_equal(v.consumer, 0);
}

static void test_a_host_within_a_poll_is_idle(void **state)
{
	(void)state;
	mr_mark_enter(&p);
	mr_mark_look(&p, 90000, false, &v);
	assert_true(v.idle);
	assert_int_equal(v.busy_for, 0);
}

static void test_the_first_turn_counts_from_the_poll(void **state)
{
	(void)state;
	mr_mark_leave(&p, 5000, false);
	p.mark.turn++;
	p.mark.consumer = 7;
	mr_mark_look(&p, 5600, false, &v);
	assert_int_equal(v.busy_for, 600);
	assert_int_equal(v.consumer, 7);
}

static void test_a_later_turn_counts_from_the_look_that_saw_it(void **state)
{
	(void)state;
	mr_mark_leave(&p, 5000, false);
	p.mark.turn += 3;
	mr_mark_look(&p, 6000, false, &v);
	assert_int_equal(v.busy_for, 0);
	mr_mark_look(&p, 6500, false, &v);
	assert_int_equal(v.busy_for, 500);
	p.mark.turn++;
	mr_mark_look(&p, 7000, false, &v);
	assert_int_equal(v.busy_for, 0);
}

static void test_a_host_in_its_own_loop_is_busy_when_it_was_woken(void **state)
{
	(void)state;
	mr_mark_leave(&p, 5000, true);
	mr_mark_look(&p, 90000, true, &v);
	assert_true(v.idle);
	mr_mark_look(&p, 91000, false, &v); /* woken, and does not come */
	assert_false(v.idle);
	assert_int_equal(v.busy_for, 0);
	mr_mark_look(&p, 93000, false, &v);
	assert_int_equal(v.busy_for, 2000);
	p.mark.busy = 1; /* it has no loop of its own, so it is at something */
	mr_mark_look(&p, 94000, true, &v);
	assert_false(v.idle);
}

static void test_a_traceback_is_given_once_to_who_asked(void **state)
{
	(void)state;
	char longer[MR_TRACE_MAX + 100];
	memset(longer, 'x', sizeof longer);
	assert_false(mr_mark_give_trace(&p, "early", 5));
	assert_null(mr_mark_trace(&p));
	mr_mark_ask_trace(&p);
	assert_true(mr_mark_is_asked(&p));
	assert_true(mr_mark_give_trace(&p, "here", 4));
	assert_false(mr_mark_is_asked(&p));
	assert_string_equal(mr_mark_trace(&p), "here");
	assert_false(mr_mark_give_trace(&p, "again", 5));
	assert_string_equal(mr_mark_trace(&p), "here");
	mr_mark_ask_trace(&p);
	assert_null(mr_mark_trace(&p));
	assert_true(mr_mark_give_trace(&p, longer, sizeof longer));
	assert_int_equal(strlen(mr_mark_trace(&p)), MR_TRACE_MAX - 1);
	mr_mark_drop_trace(&p);
	assert_null(mr_mark_trace(&p));
	mr_mark_ask_trace(&p);
	mr_mark_drop_trace(&p);
	assert_false(mr_mark_give_trace(&p, "late", 4));
}

#define ROUNDS 20000

static void *answer(void *arg)
{
	char text[64];
	(void)arg;
	for (int n = 0; n < ROUNDS;) {
		memset(text, 'a' + n % 26, sizeof text);
		if (mr_mark_is_asked(&p) && mr_mark_give_trace(&p, text, sizeof text)) n++;
	}
	return NULL;
}

static void test_two_threads_never_share_the_text(void **state)
{
	pthread_t host;
	(void)state;
	assert_int_equal(pthread_create(&host, NULL, answer, NULL), 0);
	for (int n = 0; n < ROUNDS; n++) {
		const char *text = NULL;
		mr_mark_ask_trace(&p);
		while (!text) text = mr_mark_trace(&p);
		for (int i = 0; i < 64; i++) assert_int_equal(text[i], 'a' + n % 26);
	}
	pthread_join(host, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_host_that_never_polled_is_busy_since_it_began, begin),
		cmocka_unit_test_setup(test_a_host_within_a_poll_is_idle, begin),
		cmocka_unit_test_setup(test_the_first_turn_counts_from_the_poll, begin),
		cmocka_unit_test_setup(test_a_later_turn_counts_from_the_look_that_saw_it, begin),
		cmocka_unit_test_setup(test_a_host_in_its_own_loop_is_busy_when_it_was_woken,
			begin),
		cmocka_unit_test_setup(test_a_traceback_is_given_once_to_who_asked, begin),
		cmocka_unit_test_setup(test_two_threads_never_share_the_text, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
