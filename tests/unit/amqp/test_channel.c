/* test_channel: what one channel asks, gets, confirms and closes; each request ends exactly once.
 * Covers: runtime/amqp/request.c by MR_M_CONFIRM_SELECT_OK
 * SPDX-License-Identifier: MIT */
#include "session_bench.h"

#include "amqp/session_state.h"

static void clear(struct bench *b)
{
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
	b->count = 0;
}

static void got(struct bench *b, uint64_t tag, const char *body)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_GET_OK,
			.tag = tag,
			.key = mr_slice_str("k"),
			.count = 7});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_str(body), FRAME_MAX);
}

static void publish(struct bench *b, uint64_t number, const char *body, int flags, mr_msec deadline)
{
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.number = number,
		.epoch = 1,
		.flags = flags,
		.deadline = deadline};
	p.exchange = mr_slice_str("x");
	p.routing_key = mr_slice_str("k");
	p.body = mr_slice_str(body);
	mr_session_publish(b->s, 1, &p);
}

static void confirming(struct bench *b)
{
	ready(b);
	ask(b, 5, MR_CONFIRM_SELECT, 0);
	say(b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	feed(b, 3);
	clear(b);
}

static void test_a_get_brings_a_message_or_says_the_queue_is_empty(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_GET, 0);
	ask(&b, 6, MR_BASIC_GET, 0);
	got(&b, 1, "found");
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_GET_EMPTY});
	feed(&b, 3);
	assert_int_equal(b.count, 2);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 5);
	assert_string_equal(b.body, "found");
	event_is(&b, 1, MR_EV_DONE, MR_EMPTY, 6);
	end(&b);
}

static void test_answers_may_overtake_each_other(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	ask(&b, 6, MR_QUEUE_DECLARE, 0);
	ask(&b, 7, MR_BASIC_GET, 0);
	clear(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_QUEUE_DECLARE_OK, .name = mr_slice_str("q")});
	got(&b, 1, "found");
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(&b, 3);
	assert_int_equal(b.count, 3);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 6);
	event_is(&b, 1, MR_EV_DONE, MR_OK, 7);
	event_is(&b, 2, MR_EV_DONE, MR_OK, 5);
	ask(&b, 8, MR_QUEUE_DECLARE, 0);
	ask(&b, 9, MR_BASIC_GET, 0);
	clear(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_GET_EMPTY});
	feed(&b, 4);
	say(&b, 1, (struct mr_method){.id = MR_M_QUEUE_DECLARE_OK, .name = mr_slice_str("q")});
	feed(&b, 5);
	event_is(&b, 0, MR_EV_DONE, MR_EMPTY, 9); /* no answer is told by its place */
	event_is(&b, 1, MR_EV_DONE, MR_OK, 8);
	assert_int_equal(b.stats.violations, 0);
	end(&b);
}

static void test_a_message_got_too_late_goes_back(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_GET, 0);
	mr_session_feed(b.s, (const uint8_t *)"\x08\0\0\0\0\0\0\xce", 8, 9000, &(size_t){0});
	mr_session_tick(b.s, 10000, true);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	clear(&b);
	got(&b, 1, "late");
	feed(&b, 10001);
	assert_int_equal(b.count, 0);
	assert_int_equal(said(&b, 0), MR_M_BASIC_NACK);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

static void test_confirms_are_told_as_runs(void **state)
{
	struct bench b;
	(void)state;
	confirming(&b);
	for (uint64_t n = 1; n <= 6; n++) publish(&b, n, "body", 0, 9000);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 3, .flags = 1});
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_NACK, .tag = 5});
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 6, .flags = 1});
	feed(&b, 4);
	assert_int_equal(b.count, 4);
	event_is(&b, 0, MR_EV_CONFIRM, MR_OK, 1);
	assert_int_equal(b.lasts[0], 3);
	event_is(&b, 1, MR_EV_CONFIRM, MR_NACKED, 5);
	event_is(&b, 2, MR_EV_CONFIRM, MR_OK, 4);
	event_is(&b, 3, MR_EV_CONFIRM, MR_OK, 6);
	assert_int_equal(b.stats.confirmed, 5);
	end(&b);
}

static void give_back(struct bench *b, const char *body)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_RETURN,
			.code = 312,
			.text = mr_slice_str("NO_ROUTE"),
			.name = mr_slice_str("x"),
			.key = mr_slice_str("k")});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_str(body), FRAME_MAX);
}

static void test_a_returned_publish_is_told_apart_by_its_number(void **state)
{
	struct bench b;
	(void)state;
	confirming(&b);
	publish(&b, 1, "one", MR_MANDATORY, 9000);
	publish(&b, 2, "two", MR_MANDATORY, 9000);
	publish(&b, 3, "two", 0, 9000); /* not mandatory: cannot be the one */
	give_back(&b, "two");
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 3, .flags = 1});
	feed(&b, 4);
	event_is(&b, 0, MR_EV_RETURN, MR_NO_ROUTE, 2);
	event_is(&b, 1, MR_EV_CONFIRM, MR_OK, 1);
	event_is(&b, 2, MR_EV_CONFIRM, MR_RETURNED, 2);
	event_is(&b, 3, MR_EV_CONFIRM, MR_OK, 3);
	end(&b);
}

static void test_a_confirm_times_out_once_and_late_words_are_ignored(void **state)
{
	struct bench b;
	(void)state;
	confirming(&b);
	publish(&b, 1, "body", 0, 1000);
	publish(&b, 2, "body", 0, 1500);
	assert_int_equal(mr_session_deadline(b.s), 1000);
	mr_session_tick(b.s, 1000, true);
	assert_int_equal(b.count, 1);
	event_is(&b, 0, MR_EV_CONFIRM, MR_TIMEOUT, 1);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 2, .flags = 1});
	feed(&b, 1001);
	assert_int_equal(b.count, 2);
	event_is(&b, 1, MR_EV_CONFIRM, MR_OK, 2);
	end(&b);
}

static void test_a_closing_channel_says_nothing_but_close_ok(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("a")});
	feed(&b, 3);
	mr_session_request(b.s, 1, 6, 1, &(mr_request){.operation = MR_BASIC_CONSUME, .number = 10},
		1000);
	mr_session_tick(b.s, 1000, true); /* the second consume has timed out */
	mr_session_channel_close(b.s, 1, 7, 1, 9000);
	clear(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL, .name = mr_slice_str("a")});
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("b")});
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_FLOW, .flags = 1});
	feed(&b, 1001);
	assert_int_equal(said(&b, 0), 0);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE, .code = 404});
	feed(&b, 1002);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE_OK);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 1003);
	assert_int_equal(b.ends[7], 1);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

static void test_a_closing_channel_keeps_count_of_delivery_tags(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(&b, 3);
	ask(&b, 6, MR_BASIC_GET, 0);
	mr_session_channel_close(b.s, 1, 7, 1, 9000);
	clear(&b);
	deliver(&b, 1, "body"); /* crossed our close */
	got(&b, 2, "found");
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 4);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 6);
	event_is(&b, 1, MR_EV_DONE, MR_OK, 7);
	end(&b);
}

static void test_deliveries_of_a_late_consumer_are_known_as_its_own(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_request r = {.operation = MR_BASIC_CONSUME, .number = 9, .flags = MR_NO_ACK};
	mr_session_request(b.s, 1, 5, 1, &r, 1000);
	mr_session_tick(b.s, 1000, true);
	clear(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	deliver(&b, 1, "body"); /* before the broker saw our cancel */
	feed(&b, 1001);
	assert_int_equal(said(&b, 0), MR_M_BASIC_CANCEL);
	mr_session_settle(b.s, 1, 1, 1, MR_NACK, MR_SETTLE_REQUEUE); /* what a host may do */
	assert_int_equal(said(&b, 1), 0); /* no_ack: a settlement would close the channel */
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag")});
	feed(&b, 1002);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	assert_int_equal(b.ends[5], 1);
	end(&b);
}

static void test_a_channel_that_opens_too_late_is_closed_again(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_channel_open(b.s, 2, 5, 2, 1000);
	mr_session_tick(b.s, 1000, true);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	clear(&b);
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	feed(&b, 1001);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE);
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 1002);
	assert_int_equal(b.ends[5], 1);
	open_channel(&b, 2);
	feed(&b, 1003);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 102);
	end(&b);
}

static void test_a_channel_may_be_closed_before_it_is_open(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_channel_open(b.s, 2, 5, 2, 9000);
	mr_session_channel_close(b.s, 2, 6, 2, 9000);
	mr_session_channel_close(b.s, 2, 7, 2, 9000); /* is closing already */
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 3);
	assert_int_equal(b.count, 3);
	event_is(&b, 0, MR_EV_DONE, MR_CLOSED, 7);
	event_is(&b, 1, MR_EV_DONE, MR_OK, 5);
	event_is(&b, 2, MR_EV_DONE, MR_OK, 6);
	end(&b);
}

/* ---- a publish whose body lies in a block of its own ---- */

#define LARGE 40000

static void publish_block(struct bench *b, uint64_t number, size_t size)
{
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.number = number,
		.epoch = 1,
		.deadline = 9000};
	p.block = mr_calloc(1, size);
	p.body = mr_slice_of(p.block, size);
	mr_session_publish(b->s, 1, &p);
}

static void test_a_large_body_is_written_from_its_block(void **state)
{
	struct bench b;
	struct iovec places[8];
	(void)state;
	confirming(&b);
	publish(&b, 1, "before it", 0, 9000);
	long live = mr_alloc_live();
	publish_block(&b, 2, 5000); /* too small to be worth it */
	assert_int_equal(mr_outbox_view(mr_session_output(b.s), places, 8), 1);
	assert_int_equal(mr_alloc_live(), live);
	publish_block(&b, 3, LARGE);
	publish(&b, 4, "after it", 0, 9000);
	assert_int_equal(mr_alloc_live(), live + 2); /* the block, and the list of such parts */
	assert_int_equal(mr_outbox_view(mr_session_output(b.s), places, 8), 3);
	assert_int_equal(places[1].iov_len, LARGE);
	const uint8_t *rest = places[2].iov_base;
	assert_int_equal(rest[0], MR_FRAME_END);
	assert_int_equal(rest[1], MR_FRAME_METHOD);
	clear(&b); /* written */
	assert_int_equal(mr_alloc_live(), live + 1);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 4, .flags = MR_SETTLE_MULTIPLE});
	feed(&b, 3);
	event_is(&b, 0, MR_EV_CONFIRM, MR_OK, 1);
	end(&b);
}

/* By TLS each part would be a record, and each head of a frame another one. */
static void test_a_large_body_in_small_frames_is_copied(void **state)
{
	struct bench b;
	struct iovec places[8];
	(void)state;
	confirming(&b);
	b.s->outlet.frame_max = 16 * 1024;
	publish(&b, 1, "before it", 0, 9000);
	long live = mr_alloc_live();
	publish_block(&b, 2, LARGE);
	assert_int_equal(mr_alloc_live(), live);
	assert_int_equal(mr_outbox_view(mr_session_output(b.s), places, 8), 1);
	end(&b);
}

static void test_the_block_of_a_publish_that_cannot_be_sent_is_freed(void **state)
{
	struct bench b;
	(void)state;
	long live = mr_alloc_live();
	confirming(&b);
	publish_block(&b, 1, LARGE); /* it is never written */
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 404,
			.text = mr_slice_str("no")});
	feed(&b, 3);
	event_is(&b, 0, MR_EV_CONFIRM, MR_LOST, 1);
	size_t before = mr_outbox_size(mr_session_output(b.s));
	publish_block(&b, 2, LARGE);
	event_is(&b, 2, MR_EV_CONFIRM, MR_LOST, 2);
	assert_int_equal(mr_outbox_size(mr_session_output(b.s)), before);
	end(&b);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_a_large_publish_without_memory_leaves_nothing_on_the_wire(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	for (long n = 1; n <= 4; n++) {
		struct bench b;
		confirming(&b);
		mr_outbox_fini(mr_session_output(b.s)); /* so that writing allocates, too */
		mr_alloc_fail_nth(n + 1);               /* the first one is the block */
		publish_block(&b, 1, LARGE);
		mr_alloc_fail_nth(0);
		bool has_failed = said(&b, 0) != MR_M_BASIC_PUBLISH;
		assert_int_equal(mr_session_state(b.s) == MR_SESSION_OPEN, !has_failed);
		assert_int_equal(mr_outbox_size(mr_session_output(b.s)) > LARGE, !has_failed);
		assert_true(has_failed || n > 2);
		end(&b);
		assert_int_equal(mr_alloc_live(), live);
	}
}

static void test_a_request_without_memory_leaves_nothing_on_the_wire(void **state)
{
	static const int operations[] = {MR_QUEUE_DECLARE, MR_BASIC_CONSUME, 0, -1};
	(void)state;
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		for (long n = 1; n <= 3; n++) {
			struct bench b;
			ready(&b);
			mr_outbox_fini(mr_session_output(b.s)); /* so that writing allocates, too */
			mr_alloc_fail_nth(n);
			if (operations[i] > 0)
				ask(&b, 5, operations[i], 1);
			else if (operations[i] == 0)
				mr_session_channel_open(b.s, 2, 5, 2, 9000);
			else
				mr_session_channel_close(b.s, 1, 5, 1, 9000);
			mr_alloc_fail_nth(0);
			bool failed = b.count == 1;
			assert_int_equal(said(&b, 0) == 0, failed);
			assert_int_equal(b.ends[5], failed ? 1 : 0);
			assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
			end(&b);
			assert_int_equal(b.ends[5], 1);
		}
	}
}

static void test_what_the_host_may_not_ask_is_refused_without_a_word_to_the_broker(void **state)
{
	struct bench b;
	char longer[300];
	(void)state;
	memset(longer, 'q', sizeof longer);
	ready(&b);
	mr_request r = {.operation = MR_QUEUE_DECLARE, .name = {longer, sizeof longer}};
	mr_session_request(b.s, 1, 5, 1, &r, 9000);
	event_is(&b, 0, MR_EV_DONE, MR_BAD_ARGUMENT, 5);
	mr_session_request(b.s, 1, 6, 99, &r, 9000);
	event_is(&b, 1, MR_EV_DONE, MR_CLOSED, 6);
	mr_session_request(b.s, 3, 7, 1, &r, 9000);
	event_is(&b, 2, MR_EV_DONE, MR_CLOSED, 7);
	mr_session_channel_open(b.s, 1, 8, 2, 9000);
	event_is(&b, 3, MR_EV_DONE, MR_CHANNEL_LIMIT_REACHED, 8);
	mr_session_channel_open(b.s, 101, 9, 2, 9000);
	event_is(&b, 4, MR_EV_DONE, MR_CHANNEL_LIMIT_REACHED, 9);
	mr_session_channel_open(b.s, 0, 10, 2, 9000);
	event_is(&b, 5, MR_EV_DONE, MR_CHANNEL_LIMIT_REACHED, 10);
	assert_int_equal(said(&b, 0), 0);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_large_body_is_written_from_its_block),
		cmocka_unit_test(test_a_large_body_in_small_frames_is_copied),
		cmocka_unit_test(test_the_block_of_a_publish_that_cannot_be_sent_is_freed),
		cmocka_unit_test(test_a_large_publish_without_memory_leaves_nothing_on_the_wire),
		cmocka_unit_test(test_a_get_brings_a_message_or_says_the_queue_is_empty),
		cmocka_unit_test(test_answers_may_overtake_each_other),
		cmocka_unit_test(test_a_message_got_too_late_goes_back),
		cmocka_unit_test(test_confirms_are_told_as_runs),
		cmocka_unit_test(test_a_returned_publish_is_told_apart_by_its_number),
		cmocka_unit_test(test_a_confirm_times_out_once_and_late_words_are_ignored),
		cmocka_unit_test(test_a_closing_channel_says_nothing_but_close_ok),
		cmocka_unit_test(test_a_closing_channel_keeps_count_of_delivery_tags),
		cmocka_unit_test(test_deliveries_of_a_late_consumer_are_known_as_its_own),
		cmocka_unit_test(test_a_channel_that_opens_too_late_is_closed_again),
		cmocka_unit_test(test_a_channel_may_be_closed_before_it_is_open),
		cmocka_unit_test(test_a_request_without_memory_leaves_nothing_on_the_wire),
		cmocka_unit_test(
			test_what_the_host_may_not_ask_is_refused_without_a_word_to_the_broker),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
