/* test_deadline: when queues next want to be looked at.
 * SPDX-License-Identifier: MIT */
#include "queue_bench.h"

static void test_each_priority_has_a_head_that_may_expire(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_priority = 1;
	begin(&p, limits);
	push(&p, "high", 1, 50);
	push(&p, "low", 0, 10);
	mr_pump(p.q);
	assert_int_equal(mr_deadline_next(&p.b->store), 11);
	p.b->store.now = 11;
	mr_turn_tick(p.b);
	assert_int_equal(mr_deadline_next(&p.b->store), 51);
	leaves(&p, "high");
	end(&p);
}

static void test_an_unused_queue_goes_when_its_time_has_come(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.expires = 100;
	begin(&p, limits);
	assert_int_equal(mr_deadline_next(&p.b->store), 101);
	p.b->store.now = 60;
	mr_deadline_renew(p.q);
	assert_int_equal(mr_deadline_next(&p.b->store), 160);
	plain(&p, "a");
	struct mr_entry *e = take(&p, "a");
	p.b->store.now = 160;
	mr_turn_tick(p.b);
	assert_null(queue_of(p.b, "q"));
	assert_int_equal(mr_deadline_next(&p.b->store), MR_NEVER);
	mr_queue_forget(p.q, e); /* what was out keeps it until now */
	end(&p);
}

static void test_deadlines_of_many_queues_come_in_order(void **state)
{
	struct place p;
	mr_msec last = 0;
	uint32_t seed = 7;
	(void)state;
	begin(&p, no_limits);
	for (int i = 0; i < 1000; i++) {
		struct mr_limits limits = no_limits;
		char name[16];
		seed = seed * 1664525u + 1013904223u;
		limits.expires = 1 + (seed >> 8) % 5000;
		snprintf(name, sizeof name, "e%d", i);
		struct mr_queue *q =
			mr_queue_new(p.q->store, mr_slice_str(name), (mr_slice){0}, &limits);
		assert_non_null(q);
		assert_int_equal(mr_vhost_add_queue(p.q->vhost, q), MR_OK);
		if (i % 3 == 0) mr_raze_queue(q);
	}
	assert_int_equal(p.b->store.heap_count, 666);
	while (p.b->store.heap_count) {
		assert_true(mr_deadline_next(&p.b->store) > last);
		last = p.b->store.now = mr_deadline_next(&p.b->store);
		mr_turn_tick(p.b);
	}
	assert_int_equal(p.q->vhost->queues.count, 1);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_priority_has_a_head_that_may_expire),
		cmocka_unit_test(test_an_unused_queue_goes_when_its_time_has_come),
		cmocka_unit_test(test_deadlines_of_many_queues_come_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
