/* test_pump: messages that a queue has no room for.
 * SPDX-License-Identifier: MIT */
#include "queue_bench.h"

static void test_a_full_queue_drops_its_head_or_refuses(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_length = 2;
	begin(&p, limits);
	plain(&p, "a");
	plain(&p, "b");
	assert_null(mr_queue_surplus(p.q));
	plain(&p, "c");
	assert_ptr_equal(mr_queue_surplus(p.q), mr_queue_head(p.q));
	assert_false(mr_queue_refuses(p.q, 1));
	mr_pump(p.q);
	leaves(&p, "b");
	p.q->limits.overflow = MR_REJECT_PUBLISH;
	assert_false(mr_queue_refuses(p.q, 1));
	plain(&p, "d");
	assert_true(mr_queue_refuses(p.q, 0));
	end(&p);
}

static void test_bytes_are_limited_by_bodies_alone(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_bytes = 10;
	begin(&p, limits);
	plain(&p, "12345");
	plain(&p, "67890");
	plain(&p, ""); /* weighs nothing */
	assert_null(mr_queue_surplus(p.q));
	plain(&p, "x");
	mr_pump(p.q);
	assert_int_equal(p.q->ready_bytes, 6);
	leaves(&p, "67890");
	p.q->limits.overflow = MR_REJECT_PUBLISH;
	assert_false(mr_queue_refuses(p.q, 9));
	assert_true(mr_queue_refuses(p.q, 10));
	mr_pump(p.q);
	end(&p);
}

static void test_a_limit_of_nothing_keeps_nothing(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_length = 0;
	begin(&p, limits);
	plain(&p, "a");
	mr_pump(p.q);
	assert_int_equal(p.q->ready, 0);
	assert_int_equal(p.b->store.memory, 0);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_queue_drops_its_head_or_refuses),
		cmocka_unit_test(test_bytes_are_limited_by_bodies_alone),
		cmocka_unit_test(test_a_limit_of_nothing_keeps_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
