/* test_receiver: whose turn it is at a queue.
 * SPDX-License-Identifier: MIT */
#include "queue_bench.h"

#include "broker/store/receiver.h"

struct taker {
	struct mr_receiver receiver; /* first */
	bool is_full;
	int got, cancels;
};

static bool takes(const struct mr_receiver *r)
{
	return !mr_container(r, const struct taker, receiver)->is_full;
}

static size_t room(const struct mr_receiver *r, size_t most)
{
	(void)r;
	return most;
}

static bool deliver(struct mr_receiver *r, struct mr_entry *e)
{
	mr_container(r, struct taker, receiver)->got++;
	mr_queue_forget(r->queue, e);
	return true;
}

static void cancelled(struct mr_receiver *r)
{
	mr_container(r, struct taker, receiver)->cancels++;
	mr_receiver_leave(r);
}

static const struct mr_receiver_class class = {takes, room, deliver, NULL, cancelled};

static void join(struct place *p, struct taker *t, int64_t priority)
{
	*t = (struct taker){.receiver = {.class = &class, .priority = priority}};
	mr_receiver_join(&t->receiver, p->q);
}

static void test_receivers_of_one_priority_take_turns_before_those_of_less(void **state)
{
	struct place p;
	struct taker low, one, other;
	(void)state;
	begin(&p, no_limits);
	join(&p, &low, -1);
	join(&p, &one, 0);
	join(&p, &other, 0);
	for (int i = 0; i < 6; i++) plain(&p, "a");
	mr_pump(p.q);
	assert_int_equal(one.got, 3);
	assert_int_equal(other.got, 3);
	assert_int_equal(low.got, 0);
	one.is_full = other.is_full = true;
	plain(&p, "a");
	mr_pump(p.q);
	assert_int_equal(low.got, 1);
	end(&p);
	assert_int_equal(low.cancels + one.cancels + other.cancels, 3); /* the queue went */
}

static void test_the_single_active_receiver_gets_all_until_it_leaves(void **state)
{
	struct place p;
	struct taker first, second;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.single_active = true;
	begin(&p, limits);
	join(&p, &first, 0);
	join(&p, &second, 0);
	first.is_full = true;
	plain(&p, "a");
	mr_pump(p.q);
	assert_int_equal(p.q->ready, 1); /* it waits for the one, though the other would take it */
	assert_false(mr_receiver_leave(&second.receiver));
	join(&p, &second, 0);
	assert_true(mr_receiver_leave(&first.receiver));
	mr_pump(p.q);
	assert_int_equal(second.got, 1);
	assert_int_equal(p.q->consumer_count, 1);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receivers_of_one_priority_take_turns_before_those_of_less),
		cmocka_unit_test(test_the_single_active_receiver_gets_all_until_it_leaves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
