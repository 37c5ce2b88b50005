/* test_dead_letter: what becomes of a message that expired, was rejected or did not fit.
 * Covers: runtime/broker/store/message.c by mr_message_weight
 * Covers: runtime/broker/store/store.c by mr_store_has_more
 * SPDX-License-Identifier: MIT */
#include "queue_bench.h"

#include "broker/store/dead_letter.h"

static struct mr_queue *add(struct place *p, const char *name)
{
	struct mr_queue *q =
		mr_queue_new(p->q->store, mr_slice_str(name), (mr_slice){0}, &no_limits);
	assert_non_null(q);
	assert_int_equal(mr_vhost_add_queue(p->q->vhost, q), MR_OK);
	return q;
}

static void test_what_is_dropped_waits_until_it_is_buried(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_length = 1;
	limits.dead_exchange = mr_slice_str("");
	limits.dead_key = mr_slice_str("dead");
	begin(&p, limits);
	struct mr_queue *dead = add(&p, "dead");
	for (int i = 0; i < 3; i++) plain(&p, "a");
	mr_pump(p.q);
	assert_int_equal(p.q->ready, 1);
	assert_int_equal(dead->ready, 0);
	assert_true(mr_store_has_more(p.q->store));
	mr_dead_letter_bury(p.q->store);
	assert_int_equal(dead->ready, 2);
	assert_false(mr_store_has_more(p.q->store));
	assert_int_equal(p.q->out, 0);
	end(&p);
}

static void test_the_letters_of_a_queue_that_is_gone_are_still_sent(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.dead_exchange = mr_slice_str("");
	limits.dead_key = mr_slice_str("dead");
	begin(&p, limits);
	struct mr_queue *dead = add(&p, "dead");
	plain(&p, "a");
	mr_queue_drop(p.q, take(&p, "a"), MR_DEATH_REJECTED);
	mr_raze_queue(p.q);
	mr_dead_letter_bury(&p.b->store);
	assert_int_equal(dead->ready, 1);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_dropped_waits_until_it_is_buried),
		cmocka_unit_test(test_the_letters_of_a_queue_that_is_gone_are_still_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
