/* test_queue: messages in order, with their priorities, limits and times to live.
 * Covers: runtime/broker/store/entry.c by mr_store_drop
 * Covers: runtime/broker/store/vhost.c by mr_vhost_add_queue
 * SPDX-License-Identifier: MIT */
#include "queue_bench.h"

#include <stdio.h>
#include <unistd.h>

static void test_messages_leave_in_the_order_in_which_they_came(void **state)
{
	struct place p;
	char body[8];
	(void)state;
	begin(&p, no_limits);
	for (int i = 0; i < 1000; i++) {
		snprintf(body, sizeof body, "%d", i);
		plain(&p, body);
	}
	assert_int_equal(p.q->ready, 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(body, sizeof body, "%d", i);
		leaves(&p, body);
	}
	assert_null(mr_queue_head(p.q));
	assert_int_equal(p.q->ready_bytes, 0);
	assert_int_equal(p.b->store.memory, 0);
	end(&p);
}

static void test_higher_priorities_leave_first_and_those_over_the_top_count_as_the_top(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_priority = 3;
	begin(&p, limits);
	push(&p, "low", 0, MR_NO_EXPIRATION);
	push(&p, "top 1", 3, MR_NO_EXPIRATION);
	push(&p, "middle", 2, MR_NO_EXPIRATION);
	push(&p, "top 2", 9, MR_NO_EXPIRATION);
	push(&p, "top 3", 3, MR_NO_EXPIRATION);
	leaves(&p, "top 1");
	leaves(&p, "top 2");
	struct mr_entry *e = take(&p, "top 3");
	leaves(&p, "middle");
	mr_queue_requeue(p.q, e);
	leaves(&p, "top 3");
	leaves(&p, "low");
	end(&p);
}

static void test_what_came_back_more_often_than_the_limit_is_given_up(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.deliveries = 2;
	begin(&p, limits);
	plain(&p, "a");
	for (int i = 0; i < 2; i++) {
		struct mr_entry *e = take(&p, "a");
		assert_false(mr_queue_gives_up(p.q, e));
		mr_queue_requeue(p.q, e);
	}
	struct mr_entry *e = take(&p, "a");
	assert_true(mr_queue_gives_up(p.q, e));
	p.q->limits.deliveries = -1;
	assert_false(mr_queue_gives_up(p.q, e));
	mr_queue_requeue(p.q, e);
	leaves(&p, "a");
	end(&p);
}

static void test_what_comes_back_takes_its_old_place_whatever_the_order(void **state)
{
	struct place p;
	struct mr_entry *taken[4];
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	(void)state;
	begin(&p, no_limits);
	for (int i = 0; i < 6; i++) plain(&p, names[i]);
	for (int i = 0; i < 4; i++) taken[i] = take(&p, names[i]);
	assert_int_equal(p.q->out, 4);
	mr_queue_requeue(p.q, taken[2]);
	mr_queue_requeue(p.q, taken[0]);
	mr_queue_requeue(p.q, taken[3]);
	mr_queue_requeue(p.q, taken[1]);
	assert_int_equal(p.q->out, 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(mr_queue_head(p.q)->redelivered, i < 4);
		leaves(&p, names[i]);
	}
	end(&p);
}

static void test_only_a_head_expires_and_the_shorter_time_counts(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.ttl = 100;
	begin(&p, limits);
	struct mr_entry *first = plain(&p, "queue's time");
	push(&p, "own, shorter", 0, 10);
	push(&p, "own, longer", 0, 1000);
	assert_int_equal(mr_queue_next_expiry(p.q), 101);
	assert_null(mr_queue_expired(p.q, 50)); /* it stands behind one that has time */
	assert_null(mr_queue_expired(p.q, 100));
	assert_ptr_equal(mr_queue_expired(p.q, 101), first);
	p.b->store.now = 101;
	assert_int_equal(mr_deadline_next(&p.b->store),
		MR_NEVER); /* nobody told the broker of the pushes */
	mr_pump(p.q);
	assert_int_equal(p.q->ready, 0);
	end(&p);
}

/* ---- a great many messages ---- */

static size_t resident(void)
{
	unsigned long all, here = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &here), 2);
	fclose(f);
	return here * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_a_million_messages_of_1_KiB_fit_into_1300_MiB(void **state)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	skip(); /* shadow memory counts as well */
#endif
	enum { TURNS = 1000, EACH = 1000 };
	long before = mr_alloc_live();
	struct mr_broker *b = new_broker();
	struct client c;
	char body[1024] = {0};
	size_t want = 0, empty;
	(void)state;
#ifdef __SANITIZE_ADDRESS__
	int turns = TURNS / 50; /* with its own memory around each block */
#else
	int turns = TURNS;
#endif
	b->store.watermark = 0;
	ready(&c, b);
	QUEUE_DECLARE(&c, 1, "q", 0, NULL);
	feed(&c);
	for (int i = 0; i < EACH; i++)
		publish(&c, 1, "", "q", 0, NULL, mr_slice_of(body, sizeof body));
	empty = resident();
	for (int i = 0; i < turns; i++)
		assert_int_equal(mr_broker_session_feed(c.session, mr_buffer_data(&c.in),
					 mr_buffer_size(&c.in), &want),
			mr_buffer_size(&c.in));
	size_t used = resident() - empty;
	assert_int_equal(queue_of(b, "q")->ready, turns * EACH);
	if (turns == TURNS && used > (size_t)1300 << 20) fail_msg("%zu MiB", used >> 20);
	mr_raze_queue(queue_of(b, "q"));
	assert_int_equal(b->store.memory, 0);
	leave(&c);
	mr_turn_finish(b);
	mr_broker_close(b);
	assert_int_equal(mr_alloc_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_leave_in_the_order_in_which_they_came),
		cmocka_unit_test(
			test_higher_priorities_leave_first_and_those_over_the_top_count_as_the_top),
		cmocka_unit_test(test_what_came_back_more_often_than_the_limit_is_given_up),
		cmocka_unit_test(test_what_comes_back_takes_its_old_place_whatever_the_order),
		cmocka_unit_test(test_only_a_head_expires_and_the_shorter_time_counts),
		cmocka_unit_test(test_a_million_messages_of_1_KiB_fit_into_1300_MiB),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
