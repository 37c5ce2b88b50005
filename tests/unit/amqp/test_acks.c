/* test_acks: the fewest frames that settle, and never one too many.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/acks.h"

#define TAGS 300000

/* The broker's side: which tags it still counts as ours, and how many frames it got. */
struct wire {
	uint8_t out[TAGS];
	uint64_t delivered;
	int frames, multiples;
};

static enum mr_status write_frame(void *owner, uint64_t tag, int how, int flags)
{
	struct wire *w = owner;
	(void)how;
	w->frames++;
	assert_true(tag >= 1 && tag <= w->delivered);
	if (!(flags & MR_SETTLE_MULTIPLE)) {
		assert_int_equal(w->out[tag], 1); /* settled once only */
		w->out[tag] = 0;
		return MR_OK;
	}
	w->multiples++;
	bool any = false;
	for (uint64_t t = 1; t <= tag; t++) {
		any |= w->out[t] == 1;
		assert_int_not_equal(w->out[t],
			2); /* 2: the host holds it, a multiple must not cover it */
		w->out[t] = 0;
	}
	assert_true(any);
	return MR_OK;
}

static struct wire *new_wire(void) { return calloc(1, sizeof(struct wire)); }

static void deliver(struct mr_acks *a, struct wire *w, int count, bool no_ack)
{
	for (int i = 0; i < count; i++) {
		w->delivered++;
		assert_int_equal(mr_acks_delivered(a, w->delivered, no_ack), MR_OK);
		w->out[w->delivered] = no_ack ? 0 : 2;
	}
}

static void settle(struct mr_acks *a, struct wire *w, uint64_t tag, int how, int flags)
{
	if (w->out[tag] == 2) w->out[tag] = 1; /* given up by the host */
	assert_int_equal(mr_acks_settle(a, tag, how, flags, write_frame, w), MR_OK);
}

static void flush(struct mr_acks *a, struct wire *w)
{
	assert_int_equal(mr_acks_flush(a, write_frame, w), MR_OK);
}

static void end(struct mr_acks *a, struct wire *w)
{
	mr_acks_fini(a);
	free(w);
}

static void test_acks_in_order_leave_as_one_multiple(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 100, false);
	for (uint64_t t = 1; t <= 100; t++) settle(&a, w, t, MR_ACK, 0);
	assert_int_equal(w->frames, 0);
	flush(&a, w);
	assert_int_equal(w->frames, 1);
	assert_int_equal(w->multiples, 1);
	assert_int_equal(mr_acks_outstanding(&a), 0);
	flush(&a, w);
	assert_int_equal(w->frames, 1);
	end(&a, w);
}

static void test_a_hole_makes_acks_behind_it_single(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 10, false);
	for (uint64_t t = 2; t <= 10; t++) settle(&a, w, t, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->frames, 9);
	assert_int_equal(w->multiples, 0);
	settle(&a, w, 1, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->frames, 10);
	assert_int_equal(mr_acks_outstanding(&a), 0);
	end(&a, w);
}

static void test_what_is_not_outstanding_never_reaches_the_wire(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 2, false);
	settle(&a, w, 1, MR_NACK, MR_SETTLE_REQUEUE);
	assert_int_equal(mr_acks_settle(&a, 1, MR_ACK, 0, write_frame, w), MR_OK);
	assert_int_equal(mr_acks_settle(&a, 0, MR_ACK, 0, write_frame, w), MR_OK);
	assert_int_equal(mr_acks_settle(&a, 3, MR_ACK, 0, write_frame, w), MR_OK);
	flush(&a, w);
	assert_int_equal(w->frames, 1);
	end(&a, w);
}

static void test_deliveries_that_need_no_ack_count_as_settled(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 5, true);
	deliver(&a, w, 1, false);
	deliver(&a, w, 5, true);
	deliver(&a, w, 1, false);
	settle(&a, w, 6, MR_ACK, 0);
	settle(&a, w, 12, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->frames, 1);
	end(&a, w);
}

static void test_a_tag_of_before_is_refused(void **state)
{
	struct mr_acks a;
	(void)state;
	mr_acks_init(&a);
	assert_int_equal(mr_acks_delivered(&a, 1, false), MR_OK);
	assert_int_equal(mr_acks_delivered(&a, 1, false), MR_COMMAND_INVALID);
	assert_int_equal(mr_acks_delivered(&a, 0, false), MR_COMMAND_INVALID);
	mr_acks_fini(&a);
}

/* FIELD-R19: what was passed over may be somebody's: nothing is settled along with others any more. */
static void test_tags_that_are_passed_over_are_never_settled_with_others(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	uint64_t far[] = {10, 11, 12, 20, 1000};
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 3, false);
	settle(&a, w, 2, MR_ACK, 0);
	for (size_t i = 0; i < 5; i++) {
		w->delivered = far[i];
		w->out[far[i]] = 2;
		assert_int_equal(mr_acks_delivered(&a, far[i], false), MR_OK);
	}
	assert_true(a.gaps == 3);
	assert_int_equal(mr_acks_outstanding(&a), 7);
	settle(&a, w, 1, MR_ACK, 0);
	settle(&a, w, 3, MR_NACK, 0);
	for (uint64_t t = 10; t <= 12; t++) w->out[t] = 1;
	settle(&a, w, 12, MR_ACK, MR_SETTLE_MULTIPLE);
	flush(&a, w);
	for (size_t i = 3; i < 5; i++) w->out[far[i]] = 1;
	settle(&a, w, 1000, MR_NACK, MR_SETTLE_MULTIPLE | MR_SETTLE_REQUEUE);
	flush(&a, w);
	assert_int_equal(w->multiples, 0);
	assert_int_equal(w->frames, 8);
	assert_int_equal(mr_acks_outstanding(&a), 0);
	end(&a, w);
}

/* RabbitMQ's answers by direct reply-to bear the next tag and do not use it up. */
static void test_deliveries_without_acks_may_be_counted_or_not(void **state)
{
	static const struct {
		uint64_t tag;
		bool no_ack;
		enum mr_status expected;
	} came[] = {{1, true, MR_OK}, {1, true, MR_OK}, {1, false, MR_OK}, {2, true, MR_OK},
		{2, true, MR_OK}, {3, true, MR_OK}, {4, true, MR_OK}, {5, false, MR_OK},
		{5, false, MR_COMMAND_INVALID}, {6, true, MR_OK}, {7, false, MR_OK}};
	struct mr_acks a;
	(void)state;
	mr_acks_init(&a);
	for (size_t i = 0; i < sizeof came / sizeof *came; i++)
		assert_int_equal(mr_acks_delivered(&a, came[i].tag, came[i].no_ack),
			came[i].expected);
	assert_int_equal(mr_acks_outstanding(&a), 3);
	assert_true(a.gaps == 0 && !a.single);
	mr_acks_fini(&a);
}

static void test_one_stuck_delivery_costs_little_memory(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 1, false); /* never settled until the end */
	for (uint64_t t = 2; t <= 200000; t++) {
		deliver(&a, w, 1, false);
		settle(&a, w, t, MR_ACK, 0);
		if (t % 100 == 0) flush(&a, w);
	}
	flush(&a, w);
	assert_int_equal(w->multiples, 0);
	assert_true(a.capacity <= 65536);
	assert_int_equal(mr_acks_outstanding(&a), 1);
	settle(&a, w, 1, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->out[1], 0);
	assert_int_equal(mr_acks_outstanding(&a), 0);
	deliver(&a, w, 10, false);
	for (uint64_t t = 200001; t <= 200010; t++) settle(&a, w, t, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->multiples, 1);
	end(&a, w);
}

static void test_what_is_hidden_is_left_out_of_what_settles_many(void **state)
{
	static const int ways[] = {MR_ACK, MR_NACK};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mr_acks a;
		struct wire *w = new_wire();
		mr_acks_init(&a);
		deliver(&a, w, 2, false);
		deliver(&a, w, 70000, true); /* the first two are put aside */
		deliver(&a, w, 3, false);
		uint64_t last = w->delivered, hidden[] = {1, last - 1, last + 9};
		for (size_t n = 0; n < 3; n++) mr_acks_hide(&a, hidden[n], true);
		w->out[2] = w->out[last - 2] = 1;
		settle(&a, w, last, ways[i], MR_SETTLE_MULTIPLE);
		for (size_t n = 0; n < 3; n++) mr_acks_hide(&a, hidden[n], false);
		assert_int_equal(mr_acks_flush(&a, write_frame, w), MR_OK);
		assert_int_equal(w->frames, 3);
		assert_int_equal(mr_acks_outstanding(&a), 2);
		settle(&a, w, 1, MR_ACK, 0);
		settle(&a, w, last - 1, MR_NACK, 0);
		assert_int_equal(mr_acks_flush(&a, write_frame, w), MR_OK);
		assert_int_equal(mr_acks_outstanding(&a), 0);
		mr_acks_fini(&a);
		free(w);
	}
}

static void test_recover_makes_all_before_it_foreign(void **state)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	(void)state;
	mr_acks_init(&a);
	deliver(&a, w, 5, false);
	settle(&a, w, 3, MR_ACK, 0);
	mr_acks_forget(&a);
	settle(&a, w, 1, MR_ACK, 0);
	flush(&a, w);
	assert_int_equal(w->frames, 0);
	end(&a, w);
}

/* The host's multiple: gives up everything up to the tag. */
static void settle_up_to(struct mr_acks *a, struct wire *w, uint64_t tag, int how)
{
	if (w->out[tag] != 2) return;
	for (uint64_t t = 1; t <= tag; t++)
		if (w->out[t] == 2) w->out[t] = 1;
	settle(a, w, tag, how, MR_SETTLE_MULTIPLE);
}

static void random_run(unsigned seed)
{
	struct mr_acks a;
	struct wire *w = new_wire();
	mr_acks_init(&a);
	srand(seed);
	for (int step = 0; step < 4000; step++) {
		int what = rand() % 20;
		uint64_t tag = w->delivered ? 1 + (uint64_t)rand() % w->delivered : 0;
		if (rand() % 2 && w->delivered > 20) tag = w->delivered - (uint64_t)rand() % 20;
		if (what < 8)
			deliver(&a, w, 1 + rand() % 3, rand() % 7 == 0);
		else if (what < 16 && tag && w->out[tag] == 2)
			settle(&a, w, tag, rand() % 6 ? MR_ACK : MR_REJECT, 0);
		else if (what == 16 && tag)
			settle_up_to(&a, w, tag, rand() % 2 ? MR_ACK : MR_NACK);
		else
			flush(&a, w);
	}
	flush(&a, w);
	size_t held = 0;
	for (uint64_t t = 1; t <= w->delivered; t++) {
		assert_int_not_equal(w->out[t], 1); /* what the host settled, the broker knows */
		held += w->out[t] == 2;
	}
	assert_int_equal(mr_acks_outstanding(&a), held);
	end(&a, w);
}

static void test_random_runs_agree_with_a_naive_broker(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) random_run(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acks_in_order_leave_as_one_multiple),
		cmocka_unit_test(test_a_hole_makes_acks_behind_it_single),
		cmocka_unit_test(test_what_is_not_outstanding_never_reaches_the_wire),
		cmocka_unit_test(test_deliveries_that_need_no_ack_count_as_settled),
		cmocka_unit_test(test_a_tag_of_before_is_refused),
		cmocka_unit_test(test_tags_that_are_passed_over_are_never_settled_with_others),
		cmocka_unit_test(test_deliveries_without_acks_may_be_counted_or_not),
		cmocka_unit_test(test_one_stuck_delivery_costs_little_memory),
		cmocka_unit_test(test_what_is_hidden_is_left_out_of_what_settles_many),
		cmocka_unit_test(test_recover_makes_all_before_it_foreign),
		cmocka_unit_test(test_random_runs_agree_with_a_naive_broker),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
