/* test_gather: which acks wait for others, for how long, and what they must not outlast.
 * SPDX-License-Identifier: MIT */
#include "amqp/gather.h"

#include "session_bench.h"

#define PREFETCH 64 /* an eighth are 8 */

static void ask_qos(struct bench *b, uint32_t prefetch, uint32_t flags)
{
	mr_request r = {.operation = MR_BASIC_QOS, .number = prefetch, .flags = flags};
	mr_session_request(b->s, 1, 4, 1, &r, 10000);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
}

static void forget_said(struct bench *b) { mr_outbox_consume(mr_session_output(b->s), SIZE_MAX); }

static void deliver_many(struct bench *b, uint64_t first, uint64_t last)
{
	for (uint64_t tag = first; tag <= last; tag++) deliver(b, tag, "body");
	feed(b, 10);
	b->count = 0;
}

/* A consumer with `count` deliveries; prefetch 0: it asks for none, so that it gets the usual one. */
static void consuming(struct bench *b, uint32_t prefetch, uint64_t count)
{
	ready(b);
	if (prefetch) ask_qos(b, prefetch, 0);
	ask(b, 5, MR_BASIC_CONSUME, 9);
	if (!prefetch) say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	deliver_many(b, 1, count);
	forget_said(b);
}

static void ack(struct bench *b, uint64_t first, uint64_t last, mr_msec now)
{
	for (uint64_t tag = first; tag <= last; tag++)
		mr_session_settle(b->s, 1, 1, tag, MR_ACK, 0);
	mr_session_flush_due(b->s, now);
}

static bool has_said(struct bench *b) { return mr_outbox_size(mr_session_output(b->s)) != 0; }

static void test_the_first_ack_of_a_millisecond_is_written_at_once(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b, PREFETCH, 10);
	for (uint64_t tag = 1; tag <= 10; tag++) {
		ack(&b, tag, tag, 20 + (mr_msec)tag);
		assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
		forget_said(&b);
	}
	end(&b);
}

static void test_those_after_it_wait_for_the_next_and_share_a_frame(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b, PREFETCH, 10);
	ack(&b, 1, 1, 20);
	forget_said(&b);
	for (uint64_t tag = 2; tag <= 6; tag++) {
		ack(&b, tag, tag, 20);
		assert_false(has_said(&b));
		assert_int_equal(mr_session_deadline(b.s), 21);
	}
	mr_session_flush_due(b.s, 21);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	assert_int_equal(said(&b, 1), 0);
	assert_true(mr_session_deadline(b.s) > 21);
	end(&b);
}

static void test_they_go_with_whatever_else_is_written(void **state)
{
	struct bench b;
	(void)state;
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.number = 1,
		.epoch = 1,
		.deadline = 9000};
	consuming(&b, PREFETCH, 10);
	ack(&b, 1, 1, 20);
	forget_said(&b);
	ack(&b, 2, 2, 20);
	assert_false(has_said(&b));
	mr_session_publish(b.s, 1, &p);
	mr_session_flush_due(b.s, 20);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK); /* it was given before */
	assert_int_equal(said(&b, 1), MR_M_BASIC_PUBLISH);
	forget_said(&b);
	ack(&b, 3, 3, 20);
	assert_false(has_said(&b));
	mr_session_settle(b.s, 1, 1, 4, MR_NACK, 0);
	mr_session_flush_due(b.s, 20);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	assert_int_equal(said(&b, 1), MR_M_BASIC_NACK);
	end(&b);
}

static void test_an_eighth_of_the_smallest_prefetch_waits_no_longer(void **state)
{
	static const struct {
		uint32_t prefetch;
		uint64_t least;
	} cases[] = {{1, 1}, {7, 1}, {15, 1}, {16, 2}, {PREFETCH, 8}, {10000, 32}, {0, 32}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		consuming(&b, cases[i].prefetch, 100);
		ack(&b, 1, 1, 20);
		forget_said(&b);
		for (uint64_t tag = 2; tag <= cases[i].least; tag++) {
			ack(&b, tag, tag, 20);
			assert_false(has_said(&b));
		}
		ack(&b, cases[i].least + 1, cases[i].least + 1, 20);
		assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
		end(&b);
	}
}

static void test_every_prefetch_that_was_ever_asked_for_counts(void **state)
{
	static const uint32_t flags[] = {0, MR_GLOBAL};
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct bench b;
		consuming(&b, 1000, 100);
		ask_qos(&b, 9, flags[i]);
		ask_qos(&b, 0, flags[i]); /* the consumers before it keep theirs */
		feed(&b, 11);
		forget_said(&b);
		for (uint64_t tag = 1; tag <= 3; tag++) {
			ack(&b, tag, tag, 20);
			assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
			forget_said(&b);
		}
		end(&b);
	}
}

/* Another channel, with a consumer and a delivery. */
static void consuming_on(struct bench *b, uint16_t number)
{
	mr_request r = {.operation = MR_BASIC_CONSUME, .number = number, .name = mr_slice_str("q")};
	open_channel(b, number);
	feed(b, 9);
	mr_session_request(b->s, number, 5, number, &r, 10000);
	say(b, number, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	say(b, number,
		(struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	say(b, number,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str("tag"),
			.tag = 1,
			.name = mr_slice_str("x"),
			.key = mr_slice_str("k")});
	mr_frame_put_content(&b->server, number, mr_slice_of("\0\0", 2), mr_slice_str("body"),
		FRAME_MAX);
	feed(b, 9);
}

static void test_acks_of_many_channels_together_wait_no_longer(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b, 0, 1);
	for (uint16_t number = 2; number <= 18; number++) consuming_on(&b, number);
	ack(&b, 1, 1, 20);
	forget_said(&b);
	for (uint16_t number = 2; number <= 18; number++) {
		mr_session_settle(b.s, number, number, 1, MR_ACK, 0);
		mr_session_flush_due(b.s, 20);
		assert_int_equal(has_said(&b), number == 18); /* 17 channels, and an ack of each */
	}
	for (int i = 0; i < 17; i++) assert_int_equal(said(&b, i), MR_M_BASIC_ACK);
	end(&b);
}

static void test_they_do_not_outlast_a_request_or_an_end(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct bench b;
		consuming(&b, PREFETCH, 10);
		ack(&b, 1, 1, 20);
		forget_said(&b);
		ack(&b, 2, 2, 20);
		assert_false(has_said(&b));
		if (i == 0) ask(&b, 6, MR_QUEUE_DECLARE, 0);
		if (i == 1) mr_session_channel_close(b.s, 1, 6, 1, 10000);
		if (i == 2) mr_session_shutdown(b.s);
		if (i == 3) mr_session_flush(b.s);
		assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
		mr_session_flush_due(b.s, 20);
		assert_true(mr_session_deadline(b.s) > 21); /* nothing waits: no timer for it */
		end(&b);
	}
}

static void test_a_protocol_error_leaves_no_deadline_behind(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b, PREFETCH, 10);
	ack(&b, 1, 1, 20);
	ack(&b, 2, 2, 20);
	forget_said(&b);
	ack(&b, 3, 3, 20);
	assert_int_equal(mr_session_deadline(b.s), 21);
	say(&b, 77, (struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("x")});
	feed(&b, 20);
	assert_int_not_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	assert_true(mr_session_deadline(b.s) > 21);
	end(&b);
}

/* Random acks, writes and pauses: none waits beyond its time, and the broker has seven eighths. */
static void test_whatever_the_order_each_ack_is_written_in_time(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct bench b;
		const uint32_t prefetch = 1u << (seed % 11);
		const uint64_t share = prefetch / 8 > 32 ? 32 : prefetch / 8;
		uint64_t tag = 1, waiting = 0;
		mr_msec now = 20, since = 0;
		srand(seed);
		consuming(&b, prefetch, 400);
		while (tag <= 400) {
			unsigned many = (unsigned)rand() % 4;
			now += rand() % 3 == 0;
			if (!waiting) since = now;
			for (unsigned i = 0; i < many && tag <= 400; i++, waiting++, tag++)
				mr_session_settle(b.s, 1, 1, tag, MR_ACK, 0);
			mr_session_flush_due(b.s, now);
			if (has_said(&b)) waiting = 0;
			if (rand() % 4) forget_said(&b); /* or the socket takes nothing now */
			assert_true(waiting == 0 || waiting < share);
			assert_true(waiting == 0 || since == now);
			assert_true(waiting == 0 || mr_session_deadline(b.s) == now + 1);
		}
		mr_session_flush_due(b.s, now + 1);
		assert_int_equal(b.stats.settled, 400);
		end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_ack_of_a_millisecond_is_written_at_once),
		cmocka_unit_test(test_those_after_it_wait_for_the_next_and_share_a_frame),
		cmocka_unit_test(test_they_go_with_whatever_else_is_written),
		cmocka_unit_test(test_an_eighth_of_the_smallest_prefetch_waits_no_longer),
		cmocka_unit_test(test_every_prefetch_that_was_ever_asked_for_counts),
		cmocka_unit_test(test_acks_of_many_channels_together_wait_no_longer),
		cmocka_unit_test(test_they_do_not_outlast_a_request_or_an_end),
		cmocka_unit_test(test_a_protocol_error_leaves_no_deadline_behind),
		cmocka_unit_test(test_whatever_the_order_each_ack_is_written_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
