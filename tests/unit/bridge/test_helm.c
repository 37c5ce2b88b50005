/* test_helm: the helm is never in two hands, and comes back from a host that stays away.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "bridge/helm.h"

static struct mr_helm helm;
static unsigned long turns; /* of whoever has the helm: plain, so that TSan sees two at once */
static atomic_bool is_over;
static unsigned long handed_over;

static int setup(void **state)
{
	(void)state;
	turns = handed_over = 0;
	atomic_store(&is_over, false);
	assert_int_equal(mr_helm_open(&helm, NULL), MR_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_helm_close(&helm);
	return 0;
}

static void *io_thread(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_over)) {
		if (mr_helm_is_asked_for(&helm)) {
			handed_over++;
			mr_helm_hand_over(&helm);
			mr_helm_wait(&helm);
		}
		turns++;
		sched_yield();
	}
	return NULL;
}

static void host_turn(void)
{
	mr_helm_ask(&helm);
	while (!mr_helm_take(&helm)) {
		mr_helm_ask(&helm); /* it has been taken back meanwhile */
		sched_yield();
	}
	turns++;
}

static void test_it_is_given_only_to_who_asked(void **state)
{
	(void)state;
	assert_false(mr_helm_is_asked_for(&helm));
	assert_false(mr_helm_take(&helm));
	mr_helm_ask(&helm);
	assert_true(mr_helm_is_asked_for(&helm));
	assert_false(mr_helm_take(&helm));
	mr_helm_hand_over(&helm);
	assert_false(mr_helm_is_asked_for(&helm));
	assert_true(mr_helm_take(&helm));
	assert_false(mr_helm_take(&helm));
	mr_helm_leave(&helm);
	assert_true(mr_helm_take(&helm));
	mr_helm_give_back(&helm);
	assert_false(mr_helm_take(&helm));
	mr_helm_leave(&helm); /* too late */
	assert_false(mr_helm_take(&helm));
	mr_helm_wait(&helm); /* returns at once */
}

static void test_who_gives_it_back_does_not_ask_any_more(void **state)
{
	(void)state;
	mr_helm_ask(&helm);
	mr_helm_give_back(&helm);
	assert_false(mr_helm_is_asked_for(&helm));
}

static void test_it_is_taken_back_from_a_host_that_stays_away(void **state)
{
	(void)state;
	mr_helm_ask(&helm);
	mr_helm_hand_over(&helm);
	assert_true(mr_helm_take(&helm));
	mr_helm_leave(&helm);
	mr_helm_wait(&helm);
	assert_false(mr_helm_take(&helm));
}

static void *wait_for_it(void *arg)
{
	mr_helm_wait(&helm);
	atomic_store(&is_over, true);
	return arg;
}

static void test_it_stays_with_a_host_that_shows_itself(void **state)
{
	pthread_t io;
	(void)state;
	mr_helm_set_patience(&helm, 500); /* a look each 100 ms, or 500 */
	assert_false(mr_helm_is_here(&helm));
	mr_helm_hand_over(&helm);
	assert_true(mr_helm_is_here(&helm));
	assert_int_equal(pthread_create(&io, NULL, wait_for_it, NULL), 0);
	uint64_t until = mr_clock_us() + 700000;
	while (mr_clock_us() < until) {
		mr_helm_show(&helm);
		sched_yield();
	}
	assert_false(atomic_load(&is_over));
	pthread_join(io, NULL); /* shows itself no more */
	assert_false(mr_helm_is_here(&helm));
}

/* Who gives it back may write after the I/O thread has looked by itself. */
static void test_a_late_word_takes_it_from_nobody(void **state)
{
	(void)state;
	assert_int_equal(eventfd_write(helm.back.fd, 1), 0);
	mr_helm_hand_over(&helm);
	uint64_t began = mr_clock_us();
	mr_helm_wait(&helm);
	assert_true(mr_clock_us() - began >= MR_HELM_TICK);
}

static void test_it_is_never_in_two_hands(void **state)
{
	pthread_t io;
	unsigned long mine = 0;
	(void)state;
	assert_int_equal(pthread_create(&io, NULL, io_thread, NULL), 0);
	for (int i = 0; i < 3000; i++, mine++) {
		host_turn();
		if (i % 3)
			mr_helm_leave(&helm);
		else
			mr_helm_give_back(&helm);
		uint64_t until = mr_clock_us() + (i % 50 ? 0 : 1500); /* away for long */
		while (mr_clock_us() < until) sched_yield();
	}
	atomic_store(&is_over, true);
	mr_helm_give_back(&helm);
	pthread_join(io, NULL);
	assert_true(turns > mine);
	assert_true(handed_over >= 1000);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_it_is_given_only_to_who_asked),
		CASE(test_who_gives_it_back_does_not_ask_any_more),
		CASE(test_it_is_taken_back_from_a_host_that_stays_away),
		CASE(test_it_stays_with_a_host_that_shows_itself),
		CASE(test_a_late_word_takes_it_from_nobody),
		CASE(test_it_is_never_in_two_hands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
