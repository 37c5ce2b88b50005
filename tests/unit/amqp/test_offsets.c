/* test_offsets: where a stream's consumer goes on after a loss (FIELD C3).
 * SPDX-License-Identifier: MIT */
#include "amqp/offsets.h"

#include "odd_bench.h"

static uint64_t resumed(const struct mr_offsets *o)
{
	uint64_t at;
	assert_true(mr_offsets_resume(o, &at));
	return at;
}

static void test_the_lowest_offset_without_ack_is_where_it_goes_on(void **state)
{
	struct mr_offsets o = {0};
	uint64_t at;
	(void)state;
	assert_false(mr_offsets_resume(&o, &at));
	for (uint64_t tag = 1; tag <= 5; tag++)
		assert_int_equal(mr_offsets_delivered(&o, tag, tag + 99), MR_OK);
	assert_int_equal(resumed(&o), 100);
	mr_offsets_acked(&o, 2, false);
	mr_offsets_acked(&o, 4, false);
	assert_int_equal(resumed(&o), 100);
	mr_offsets_acked(&o, 1, false);
	assert_int_equal(resumed(&o), 102);
	mr_offsets_acked(&o, 5, true);
	assert_int_equal(resumed(&o), 105);
	mr_offsets_fini(&o);
	assert_false(mr_offsets_resume(&o, &at));
}

/* Offset 0 is one like any other. */
static void test_the_first_message_of_a_stream(void **state)
{
	struct mr_offsets o = {0};
	(void)state;
	assert_int_equal(mr_offsets_delivered(&o, 1, 0), MR_OK);
	assert_int_equal(resumed(&o), 0);
	mr_offsets_acked(&o, 1, false);
	assert_int_equal(resumed(&o), 1);
	mr_offsets_fini(&o);
}

/* Against a list of all of them. */
static void test_random_acks_as_a_list_has_it(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct mr_offsets o = {0};
		bool acked[400] = {false};
		uint64_t count = 0;
		srand(seed);
		for (int step = 0; step < 800; step++) {
			if (count < 399 && rand() % 2) {
				count++;
				mr_offsets_delivered(&o, count, count * 3);
			} else if (count) {
				uint64_t tag = 1 + (uint64_t)rand() % count;
				bool multiple = rand() % 10 == 0;
				mr_offsets_acked(&o, tag, multiple);
				acked[tag] = true;
				for (uint64_t t = 1; multiple && t < tag; t++) acked[t] = true;
			}
			uint64_t low = 1;
			while (low <= count && acked[low]) low++;
			if (count)
				assert_int_equal(resumed(&o),
					low <= count ? low * 3 : count * 3 + 1);
		}
		mr_offsets_fini(&o);
	}
}

/* flags: headers; a table of one field */
static mr_slice headers(char *room, const char *key, char type, uint64_t number)
{
	char *at = room;
	size_t size = strlen(key), field = 1 + size + 1 + 8;
	*at++ = 0x20;
	*at++ = 0;
	for (int shift = 24; shift >= 0; shift -= 8) *at++ = (char)(field >> shift);
	*at++ = (char)size;
	memcpy(at, key, size);
	at += size;
	*at++ = type;
	for (int shift = 56; shift >= 0; shift -= 8) *at++ = (char)(number >> shift);
	return mr_slice_of(room, (size_t)(at - room));
}

static void test_the_offset_is_read_from_the_header(void **state)
{
	char room[64];
	uint64_t offset = 7;
	(void)state;
	assert_true(mr_offsets_read(headers(room, "x-stream-offset", 'l', 1234567890123), &offset));
	assert_true(offset == 1234567890123);
	assert_false(mr_offsets_read(headers(room, "x-stream-offset", 'l', UINT64_MAX), &offset));
	assert_false(mr_offsets_read(headers(room, "x-stream-offset", 'd', 5), &offset));
	assert_false(mr_offsets_read(headers(room, "x-stream-offseT", 'l', 5), &offset));
	assert_false(mr_offsets_read(mr_slice_of("\0\0", 2), &offset));
	assert_false(mr_offsets_read(mr_slice_of("", 0), &offset));
}

/* ---- a session ---- */

static struct mr_resume told[8];
static int tells;

static void on_resume(void *owner, const struct mr_resume *at)
{
	(void)owner;
	if (tells < 8) told[tells++] = *at;
}

static void deliver_of_stream(struct bench *b, uint64_t tag, const char *consumer, uint64_t offset,
	size_t size)
{
	static const char body[4096];
	char room[64];
	mr_slice properties = headers(room, "x-stream-offset", 'l', offset);
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str(consumer),
			.tag = tag});
	mr_frame_put_content(&b->server, 1, properties, mr_slice_of(body, size), FRAME_MAX);
}

static void consuming(struct bench *b)
{
	ready(b);
	tells = 0;
	b->options.resume = on_resume;
	b->options.max_message_size = 1000;
	ask(b, 4, MR_BASIC_QOS, 10);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	ask_named(b, 5, MR_BASIC_CONSUME, "q", "s");
	ask_named(b, 6, MR_BASIC_CONSUME, "q", "t");
	say_named(b, MR_M_BASIC_CONSUME_OK, "s");
	say_named(b, MR_M_BASIC_CONSUME_OK, "t");
	feed(b, 3);
}

static void ack(struct bench *b, uint64_t tag) { mr_session_settle(b->s, 1, 1, tag, MR_ACK, 0); }

/* FIELD-C3: by the broker's cancel, and by the end of the connection. */
static void test_a_consumer_that_ends_tells_where_it_was(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b);
	for (uint64_t n = 1; n <= 3; n++) deliver_of_stream(&b, n, "s", 40 + n, 1);
	deliver_to(&b, 4, "t");
	feed(&b, 4);
	ack(&b, 1);
	ack(&b, 3);
	ack(&b, 4);
	say_named(&b, MR_M_BASIC_CANCEL, "s");
	feed(&b, 5);
	assert_int_equal(tells, 1);
	assert_true(told[0].is_known);
	assert_int_equal(told[0].consumer, 5);
	assert_int_equal(told[0].offset, 42);
	end(&b);
	assert_int_equal(tells, 2);
	assert_false(told[1].is_known); /* of another queue */
	assert_int_equal(told[1].consumer, 6);
}

/* A reject would end the connection (540). */
static void test_a_message_over_the_limit_is_acked(void **state)
{
	struct bench b;
	(void)state;
	consuming(&b);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	deliver_of_stream(&b, 1, "s", 7, 2000);
	feed(&b, 4);
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	end(&b);
	assert_int_equal(told[0].consumer, 5);
	assert_int_equal(told[0].offset, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_lowest_offset_without_ack_is_where_it_goes_on),
		cmocka_unit_test(test_the_first_message_of_a_stream),
		cmocka_unit_test(test_random_acks_as_a_list_has_it),
		cmocka_unit_test(test_the_offset_is_read_from_the_header),
		cmocka_unit_test(test_a_consumer_that_ends_tells_where_it_was),
		cmocka_unit_test(test_a_message_over_the_limit_is_acked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
