/* test_recorder: two tapes as one list, and what a filter lets through.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/recorder.h"

static struct mr_recorder r;
static mr_recorded list[64];

static int setup(void **state)
{
	(void)state;
	assert_int_equal(mr_recorder_open(&r), MR_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_recorder_close(&r);
	mr_recorder_set_size(MR_TAPE_EVENTS);
	return 0;
}

static void put(struct mr_tape *tape, uint64_t time, const char *name, uint32_t consumer,
	const char *text)
{
	mr_tape_put(tape, time, MR_TAPE_SETTLE, name, 1, 2, consumer, time, 0, mr_slice_str(text));
}

static void test_both_threads_events_come_in_the_order_of_their_time(void **state)
{
	(void)state;
	put(&r.io, 1, "a", 0, "");
	put(&r.host, 2, "b", 0, "");
	put(&r.io, 3, "c", 0, "");
	put(&r.io, 4, "d", 0, "");
	put(&r.host, 5, "e", 0, "");
	assert_int_equal(mr_recorder_read(&r, NULL, SIZE_MAX, list, 64), 5);
	for (size_t i = 0; i < 5; i++) assert_int_equal(list[i].name[0], "abcde"[i]);
	assert_int_equal(mr_recorder_read(&r, NULL, SIZE_MAX, list, 2), 2);
	assert_string_equal(list[0].name, "d");
}

static void test_all_words_of_a_filter_must_fit(void **state)
{
	(void)state;
	put(&r.io, 1, "ack", 7 | MR_CONSUMER_OWN, "orders");
	put(&r.io, 2, "nack", 8, "orders.eu");
	put(&r.host, 3, "reject", 7, "bills");
	assert_int_equal(mr_recorder_read(&r, "settle", SIZE_MAX, list, 64), 3);
	assert_int_equal(mr_recorder_read(&r, "orders", SIZE_MAX, list, 64), 2);
	assert_int_equal(mr_recorder_read(&r, " orders  consumer=7 ", SIZE_MAX, list, 64), 1);
	assert_string_equal(list[0].name, "ack");
	assert_int_equal(
		mr_recorder_read(&r, "connection=1 channel=2 number=3", SIZE_MAX, list, 64), 1);
	assert_int_equal(mr_recorder_read(&r, "connection=2", SIZE_MAX, list, 64), 0);
	assert_int_equal(mr_recorder_read(&r, "a=b", SIZE_MAX, list, 64), 0);
	assert_int_equal(mr_recorder_read(&r, "", SIZE_MAX, list, 64), 3);
}

static void test_a_key_takes_a_number_only(void **state)
{
	(void)state;
	assert_null(mr_recorder_objection(NULL));
	assert_null(mr_recorder_objection("basic.ack connection=12 x=y"));
	assert_non_null(mr_recorder_objection("connection=one"));
	assert_non_null(mr_recorder_objection("ack channel="));
	assert_non_null(mr_recorder_objection("number=99999999999999999999"));
}

static void test_a_filter_has_few_words_and_few_events_are_looked_at(void **state)
{
	char longest[MR_RECORDER_FILTER + 2];
	(void)state;
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_non_null(mr_recorder_objection(longest));
	longest[MR_RECORDER_FILTER] = '\0';
	assert_null(mr_recorder_objection(longest));
	assert_null(mr_recorder_objection("1 2 3 4 5 6 7 8 "));
	assert_non_null(mr_recorder_objection("1 2 3 4 5 6 7 8 9"));
	put(&r.io, 1, "a", 0, "");
	for (uint64_t i = 2; i <= 6; i++) put(i % 2 ? &r.io : &r.host, i, "b", 0, "");
	assert_int_equal(mr_recorder_read(&r, "number=1", 5, list, 64), 0);
	assert_int_equal(mr_recorder_read(&r, "number=1", 6, list, 64), 1);
}

static void test_a_number_is_found_among_those_that_are_counted_in_one_event(void **state)
{
	(void)state;
	for (uint64_t i = 5; i <= 9; i++)
		mr_tape_run(&r.io, 1, MR_TAPE_SETTLE, "ack", 1, 2, 0, i, mr_slice_str(""));
	for (uint64_t i = 0; i < 2; i++)
		mr_tape_run(&r.io, 1, MR_TAPE_OUT, "basic.publish", 1, 2, 0, 0, mr_slice_str("k"));
	assert_int_equal(mr_recorder_read(&r, "number=4", SIZE_MAX, list, 64), 0);
	assert_int_equal(mr_recorder_read(&r, "number=5", SIZE_MAX, list, 64), 1);
	assert_int_equal(mr_recorder_read(&r, "number=9 ack", SIZE_MAX, list, 64), 1);
	assert_int_equal(list[0].number, 5);
	assert_int_equal(list[0].count, 5);
	assert_int_equal(mr_recorder_read(&r, "number=10", SIZE_MAX, list, 64), 0);
	assert_int_equal(mr_recorder_read(&r, "number=0", SIZE_MAX, list, 64), 1);
	assert_int_equal(mr_recorder_read(&r, "number=1", SIZE_MAX, list, 64), 0);
}

static void test_an_event_is_a_line_of_json_without_what_it_has_not(void **state)
{
	struct mr_buffer out = {0};
	mr_recorded e = {.time = 1.25, .kind = "error", .name = "lost", .connection = 2};
	(void)state;
	memcpy(e.text, "a \"b\"\n", 7);
	assert_int_equal(mr_recorder_json(&out, &e, "q"), MR_OK);
	assert_int_equal(mr_buffer_append(&out, "", 1), MR_OK);
	assert_string_equal((const char *)mr_buffer_data(&out),
		"{\"time\":1.250000,\"kind\":\"error\",\"name\":\"lost\",\"connection\":2,"
		"\"queue\":\"q\",\"text\":\"a \\\"b\\\"\\n\"}");
	mr_buffer_fini(&out);
	e = (mr_recorded){.time = 1, .kind = "settle", .name = "ack", .number = 5, .count = 3};
	assert_int_equal(mr_recorder_json(&out, &e, NULL), MR_OK);
	assert_int_equal(mr_buffer_append(&out, "", 1), MR_OK);
	assert_string_equal((const char *)mr_buffer_data(&out),
		"{\"time\":1.000000,\"kind\":\"settle\",\"name\":\"ack\",\"number\":5,\"count\":3}");
	mr_buffer_fini(&out);
}

static void test_its_size_is_chosen_before(void **state)
{
	struct mr_recorder small;
	(void)state;
	mr_recorder_set_size(20);
	assert_int_equal(mr_recorder_open(&small), MR_OK);
	for (uint64_t i = 1; i < 100; i++) put(&small.io, i, "x", 0, "");
	assert_int_equal(mr_recorder_read(&small, NULL, SIZE_MAX, list, 64), 32);
	mr_recorder_close(&small);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_both_threads_events_come_in_the_order_of_their_time),
		CASE(test_all_words_of_a_filter_must_fit),
		CASE(test_a_number_is_found_among_those_that_are_counted_in_one_event),
		CASE(test_a_key_takes_a_number_only),
		CASE(test_a_filter_has_few_words_and_few_events_are_looked_at),
		CASE(test_an_event_is_a_line_of_json_without_what_it_has_not),
		CASE(test_its_size_is_chosen_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
