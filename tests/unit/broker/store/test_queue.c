/* test_queue: messages in order, with their priorities, limits and times to live.
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include <stdio.h>
#include <unistd.h>

static const struct mr_limits no_limits = {.ttl = -1,
	.expires = -1,
	.max_length = -1,
	.max_bytes = -1};

struct place {
	long before;
	struct mr_broker *b;
	struct mr_queue *q;
};

static void begin(struct place *p, struct mr_limits limits)
{
	p->before = mr_alloc_live();
	p->b = new_broker();
	p->q = mr_queue_new(mr_broker_vhost(p->b, mr_slice_str("/")), mr_slice_str("q"),
		(mr_slice){0}, &limits);
	assert_non_null(p->q);
	assert_int_equal(mr_vhost_add_queue(p->q->vhost, p->q), MR_OK);
}

static void end(struct place *p)
{
	mr_broker_close(p->b);
	assert_int_equal(mr_alloc_live(), p->before);
}

static struct mr_entry *push(struct place *p, const char *body, uint8_t priority,
	uint64_t expiration)
{
	size_t size = strlen(body);
	struct mr_message *m =
		mr_message_new(mr_slice_str(""), mr_slice_str("q"), mr_slice_of("\0\0", 2), size);
	assert_non_null(m);
	m->body_size = size;
	m->priority = priority;
	m->expiration = expiration;
	memcpy(m->data + 1 + 2, body, size);
	mr_broker_grew(p->b, mr_message_weight(m));
	struct mr_entry *e = mr_queue_push(p->q, m, p->b->now);
	mr_broker_drop(p->b, m);
	assert_non_null(e);
	mr_broker_grew(p->b, sizeof *e); /* as mr_vhost_enqueue does */
	return e;
}

static struct mr_entry *plain(struct place *p, const char *body)
{
	return push(p, body, 0, MR_NO_EXPIRATION);
}

static struct mr_entry *take(struct place *p, const char *body)
{
	struct mr_entry *e = mr_queue_head(p->q);
	assert_non_null(e);
	mr_slice got = mr_message_body(e->message);
	if (!mr_slice_equal(got, mr_slice_str(body)))
		fail_msg("%.*s, not %s", (int)got.size, got.data, body);
	mr_queue_take(p->q, e);
	return e;
}

static void leaves(struct place *p, const char *body) { mr_vhost_forget(p->q, take(p, body)); }

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
	assert_int_equal(p.b->memory, 0);
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
	p.b->now = 101;
	assert_int_equal(mr_broker_deadline(p.b),
		MR_NEVER); /* nobody told the broker of the pushes */
	mr_vhost_queue_moved(p.q);
	assert_int_equal(p.q->ready, 0);
	end(&p);
}

static void test_each_priority_has_a_head_that_may_expire(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.max_priority = 1;
	begin(&p, limits);
	push(&p, "high", 1, 50);
	push(&p, "low", 0, 10);
	mr_vhost_queue_moved(p.q);
	assert_int_equal(mr_broker_deadline(p.b), 11);
	p.b->now = 11;
	mr_broker_tick(p.b);
	assert_int_equal(mr_broker_deadline(p.b), 51);
	leaves(&p, "high");
	end(&p);
}

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
	mr_vhost_queue_moved(p.q);
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
	mr_vhost_queue_moved(p.q);
	assert_int_equal(p.q->ready_bytes, 6);
	leaves(&p, "67890");
	p.q->limits.overflow = MR_REJECT_PUBLISH;
	assert_false(mr_queue_refuses(p.q, 9));
	assert_true(mr_queue_refuses(p.q, 10));
	mr_vhost_queue_moved(p.q);
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
	mr_vhost_queue_moved(p.q);
	assert_int_equal(p.q->ready, 0);
	assert_int_equal(p.b->memory, 0);
	end(&p);
}

static void test_an_unused_queue_goes_when_its_time_has_come(void **state)
{
	struct place p;
	struct mr_limits limits = no_limits;
	(void)state;
	limits.expires = 100;
	begin(&p, limits);
	assert_int_equal(mr_broker_deadline(p.b), 101);
	p.b->now = 60;
	mr_vhost_queue_used(p.q);
	assert_int_equal(mr_broker_deadline(p.b), 160);
	plain(&p, "a");
	struct mr_entry *e = take(&p, "a");
	p.b->now = 160;
	mr_broker_tick(p.b);
	assert_null(queue_of(p.b, "q"));
	assert_int_equal(mr_broker_deadline(p.b), MR_NEVER);
	mr_vhost_forget(p.q, e); /* what was out keeps it until now */
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
			mr_queue_new(p.q->vhost, mr_slice_str(name), (mr_slice){0}, &limits);
		assert_non_null(q);
		assert_int_equal(mr_vhost_add_queue(p.q->vhost, q), MR_OK);
		if (i % 3 == 0) mr_vhost_remove_queue(q);
	}
	assert_int_equal(p.b->heap_count, 666);
	while (p.b->heap_count) {
		assert_true(mr_broker_deadline(p.b) > last);
		last = p.b->now = mr_broker_deadline(p.b);
		mr_broker_tick(p.b);
	}
	assert_int_equal(p.q->vhost->queues.count, 1);
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
	b->watermark = 0;
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
	mr_vhost_remove_queue(queue_of(b, "q"));
	assert_int_equal(b->memory, 0);
	leave(&c);
	mr_broker_close(b);
	assert_int_equal(mr_alloc_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_leave_in_the_order_in_which_they_came),
		cmocka_unit_test(
			test_higher_priorities_leave_first_and_those_over_the_top_count_as_the_top),
		cmocka_unit_test(test_what_comes_back_takes_its_old_place_whatever_the_order),
		cmocka_unit_test(test_only_a_head_expires_and_the_shorter_time_counts),
		cmocka_unit_test(test_each_priority_has_a_head_that_may_expire),
		cmocka_unit_test(test_a_full_queue_drops_its_head_or_refuses),
		cmocka_unit_test(test_bytes_are_limited_by_bodies_alone),
		cmocka_unit_test(test_a_limit_of_nothing_keeps_nothing),
		cmocka_unit_test(test_an_unused_queue_goes_when_its_time_has_come),
		cmocka_unit_test(test_deadlines_of_many_queues_come_in_order),
		cmocka_unit_test(test_a_million_messages_of_1_KiB_fit_into_1300_MiB),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
