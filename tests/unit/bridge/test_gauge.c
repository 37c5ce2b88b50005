/* test_gauge: a wish for room that races with the room itself.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "bridge/gauge.h"

#define ROUNDS 600000

struct race {
	struct mr_gauge gauge;
	atomic_uint begun,
		ended; /* rounds: the host says when, the I/O thread says it is through */
	bool took;
};

/* Waits without giving the processor away at first: both sides are to begin at the same moment. */
static void wait_for(atomic_uint *word, unsigned value)
{
	for (int spins = 0; atomic_load(word) != value; spins++)
		if (spins > 2000) sched_yield();
}

static void *run_io(void *arg)
{
	struct race *r = arg;
	for (unsigned n = 1; n <= ROUNDS; n++) {
		wait_for(&r->begun, n);
		mr_gauge_advance(&r->gauge, n);
		r->took = mr_gauge_take_want(&r->gauge);
		atomic_store(&r->ended, n);
	}
	return NULL;
}

/* FIELD-R7: either the host sees the room that was made, or the I/O thread sees that it wants to be told. */
static void test_room_is_seen_or_told_whatever_the_order(void **state)
{
	static struct race r;
	pthread_t io;
	unsigned lost = 0;
	(void)state;
	assert_int_equal(pthread_create(&io, NULL, run_io, &r), 0);
	for (unsigned n = 1; n <= ROUNDS; n++) {
		atomic_store(&r.begun, n);
		mr_gauge_want_room(&r.gauge);
		bool seen = mr_gauge_gone(&r.gauge) == n;
		wait_for(&r.ended, n);
		lost += !seen && !r.took;
		mr_gauge_take_want(&r.gauge);
	}
	pthread_join(io, NULL);
	assert_int_equal(lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_room_is_seen_or_told_whatever_the_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
