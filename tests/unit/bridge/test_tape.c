/* test_tape: what is kept of a tape that is written on, and what another thread sees of it.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "bridge/tape.h"

static struct mr_tape tape;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(mr_tape_open(&tape, 64), MR_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_tape_close(&tape);
	return 0;
}

static void put(uint64_t number, const char *text)
{
	mr_tape_put(&tape, number * 10, MR_TAPE_IN, "basic.deliver", 3, 9, 77, number, 404,
		mr_slice_str(text));
}

static void test_an_event_is_read_as_it_was_written(void **state)
{
	struct mr_tape_event e;
	(void)state;
	put(1, "orders");
	struct mr_tape_view v = mr_tape_look(&tape);
	assert_true(mr_tape_back(&v, &e));
	assert_int_equal(e.time, 10);
	assert_int_equal(e.kind, MR_TAPE_IN);
	assert_string_equal(e.name, "basic.deliver");
	assert_int_equal(e.connection, 3);
	assert_int_equal(e.channel, 9);
	assert_int_equal(e.consumer, 77);
	assert_int_equal(e.number, 1);
	assert_int_equal(e.code, 404);
	assert_string_equal(e.text, "orders");
	assert_false(mr_tape_back(&v, &e));
}

static void test_texts_of_every_length_are_kept_or_cut(void **state)
{
	static const char all[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	char text[40];
	struct mr_tape_event e;
	(void)state;
	for (size_t n = 0; n < sizeof all; n++) {
		snprintf(text, sizeof text, "%.*s", (int)n, all);
		put(n, text);
		struct mr_tape_view v = mr_tape_look(&tape);
		assert_true(mr_tape_back(&v, &e));
		if (n > MR_TAPE_TEXT) text[MR_TAPE_TEXT] = '\0';
		assert_string_equal(e.text, text);
		assert_int_equal(e.text_size, strlen(text));
	}
}

static void test_a_rare_event_has_a_longer_text(void **state)
{
	char text[300];
	struct mr_tape_event e, told = {.kind = MR_TAPE_ERROR, .name = "lost", .time = 5};
	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	for (size_t n = 20; n < 200; n += 9) {
		put(n, "before");
		mr_tape_tell(&tape, &told, mr_slice_of(text, n));
		put(n, "after");
		struct mr_tape_view v = mr_tape_look(&tape);
		assert_true(mr_tape_back(&v, &e));
		assert_string_equal(e.text, "after");
		assert_true(mr_tape_back(&v, &e));
		assert_string_equal(e.name, "lost");
		assert_int_equal(e.text_size, n < MR_TAPE_TEXT_MAX ? n : MR_TAPE_TEXT_MAX);
		assert_memory_equal(e.text, text, e.text_size);
		assert_true(mr_tape_back(&v, &e));
		assert_string_equal(e.text, "before");
	}
}

static void test_a_rare_event_has_no_password_also_where_its_text_is_cut(void **state)
{
	struct mr_tape_event e, rare = {.kind = MR_TAPE_DEAD, .name = "given up"};
	char text[2 * MR_TAPE_TEXT_MAX + 1];
	(void)state;
	for (int before = 0; before < MR_TAPE_TEXT_MAX; before++) {
		snprintf(text, sizeof text, "%*s amqp://u:hunter2@h/", before, "");
		mr_tape_tell(&tape, &rare, mr_slice_str(text));
		struct mr_tape_view v = mr_tape_look(&tape);
		assert_true(mr_tape_back(&v, &e));
		assert_null(strstr(e.text, ":h"));
		assert_true(before || strcmp(e.text, " amqp://u:***@h/") == 0);
	}
}

static void test_the_last_ones_stay(void **state)
{
	struct mr_tape_event e;
	uint64_t number = 1000;
	(void)state;
	for (uint64_t i = 1; i <= number; i++) put(i, "");
	struct mr_tape_view v = mr_tape_look(&tape);
	for (int i = 0; i < 64; i++) {
		assert_true(mr_tape_back(&v, &e));
		assert_int_equal(e.number, number--);
	}
	assert_false(mr_tape_back(&v, &e));
}

static void run(uint64_t time, uint64_t number, const char *text)
{
	mr_tape_run(&tape, time, MR_TAPE_OUT, "basic.publish", 3, 9, 0, number, mr_slice_str(text));
}

static void next(struct mr_tape_view *v, uint64_t number, uint32_t count)
{
	struct mr_tape_event e;
	assert_true(mr_tape_back(v, &e));
	assert_int_equal(e.number, number);
	assert_int_equal(e.count, count);
	assert_string_equal(e.name, "basic.publish");
}

static void test_events_in_a_row_that_differ_in_their_numbers_only_are_counted_in_one(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 5; i++) run(1, i, "orders");
	run(1, 7, "orders"); /* the number is not the next one */
	run(1, 8, "bills");
	run(2, 9, "bills");
	mr_tape_run(&tape, 2, MR_TAPE_OUT, "basic.publish", 3, 8, 0, 10, mr_slice_str("bills"));
	run(3, 0, "");
	run(3, 0, "");
	run(3, 2, ""); /* 0 is no number, so none follows it */
	run(4, 0, "");
	run(4, 1, "");
	struct mr_tape_view v = mr_tape_look(&tape);
	next(&v, 1, 1);
	next(&v, 0, 1);
	next(&v, 2, 1);
	next(&v, 0, 2);
	next(&v, 10, 1);
	next(&v, 9, 1);
	next(&v, 8, 1);
	next(&v, 7, 1);
	next(&v, 1, 5);
}

static void test_one_event_stands_for_so_many_at_most(void **state)
{
	struct mr_tape_event e;
	(void)state;
	for (uint64_t i = 1; i <= 2 * MR_TAPE_RUN + 3; i++) run(1, i, "a key of 24 bytes, or cut");
	struct mr_tape_view v = mr_tape_look(&tape);
	next(&v, 2 * MR_TAPE_RUN + 1, 3);
	next(&v, MR_TAPE_RUN + 1, MR_TAPE_RUN);
	next(&v, 1, MR_TAPE_RUN);
	assert_false(mr_tape_back(&v, &e));
}

static void test_a_longer_text_is_not_counted_with_another(void **state)
{
	struct mr_tape_event e, told = {.kind = MR_TAPE_OUT, .name = "basic.publish", .time = 1};
	(void)state;
	mr_tape_tell(&tape, &told, mr_slice_str("a longer text than there is room for"));
	mr_tape_run(&tape, 1, MR_TAPE_OUT, "basic.publish", 0, 0, 0, 0,
		mr_slice_str("a longer text than there is room for"));
	struct mr_tape_view v = mr_tape_look(&tape);
	next(&v, 0, 1);
	assert_true(mr_tape_back(&v, &e));
	assert_string_equal(e.text, "a longer text than there is room for");
}

static void test_a_tape_that_is_off_keeps_nothing(void **state)
{
	struct mr_tape off;
	struct mr_tape_event e = {.name = "x"};
	(void)state;
	assert_int_equal(mr_tape_open(&off, 0), MR_OK);
	mr_tape_put(&off, 1, MR_TAPE_OUT, "x", 1, 1, 1, 1, 0, mr_slice_str("x"));
	mr_tape_run(&off, 1, MR_TAPE_OUT, "x", 1, 1, 1, 1, mr_slice_str("x"));
	mr_tape_tell(&off, &e, mr_slice_str("x"));
	struct mr_tape_view v = mr_tape_look(&off);
	assert_false(mr_tape_back(&v, &e));
	mr_tape_close(&off);
}

static void *write_on(void *arg)
{
	char text[100];
	uint64_t count = *(const uint64_t *)arg;
	for (uint64_t i = 1; i <= count; i++) {
		struct mr_tape_event e = {.time = i,
			.kind = MR_TAPE_ERROR,
			.name = "told",
			.number = i,
			.connection = (uint32_t)i,
			.channel = (uint16_t)i,
			.consumer = (uint32_t)i};
		int n = snprintf(text, sizeof text, "%020llu %020llu %020llu",
			(unsigned long long)i, (unsigned long long)i, (unsigned long long)i);
		mr_tape_tell(&tape, &e, mr_slice_of(text, i % 2 ? (size_t)n : 20));
	}
	return NULL;
}

/* Each event has its number in all its words: half of one and half of another would show. */
static void check_whole(const struct mr_tape_event *e)
{
	unsigned long long n = 0;
	assert_string_equal(e->name, "told");
	assert_int_equal(e->time, e->number);
	assert_int_equal(e->connection, (uint32_t)e->number);
	assert_int_equal(e->consumer, (uint32_t)e->number);
	assert_int_equal(e->channel, (uint16_t)e->number);
	assert_int_equal(sscanf(e->text, "%llu", &n), 1);
	assert_int_equal(n, e->number);
}

static void test_another_thread_sees_whole_events_while_they_are_written(void **state)
{
	uint64_t count = 300000, seen = 0;
	struct mr_tape_event e;
	pthread_t writer;
	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_on, &count), 0);
	for (uint64_t last = 0; last < count;) {
		struct mr_tape_view v = mr_tape_look(&tape);
		for (uint64_t before = UINT64_MAX; mr_tape_back(&v, &e); seen++) {
			check_whole(&e);
			assert_true(e.number < before);
			if (before == UINT64_MAX) last = e.number;
			before = e.number;
		}
	}
	pthread_join(writer, NULL);
	assert_true(seen > 0);
}

static void *run_on(void *arg)
{
	uint64_t count = *(const uint64_t *)arg;
	for (uint64_t i = 1; i <= count; i++) run(i / 10, i, "orders");
	return NULL;
}

static void test_another_thread_sees_whole_events_while_they_are_counted(void **state)
{
	uint64_t count = 300000;
	struct mr_tape_event e;
	pthread_t writer;
	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, run_on, &count), 0);
	for (uint64_t last = 0; last < count;) {
		struct mr_tape_view v = mr_tape_look(&tape);
		for (bool is_newest = true; mr_tape_back(&v, &e); is_newest = false) {
			assert_int_equal(e.number / 10, e.time);
			assert_int_equal((e.number + e.count - 1) / 10, e.time);
			assert_string_equal(e.text, "orders");
			if (is_newest) last = e.number + e.count - 1;
		}
	}
	pthread_join(writer, NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_an_event_is_read_as_it_was_written),
		CASE(test_texts_of_every_length_are_kept_or_cut),
		CASE(test_a_rare_event_has_a_longer_text),
		CASE(test_a_rare_event_has_no_password_also_where_its_text_is_cut),
		CASE(test_the_last_ones_stay),
		CASE(test_events_in_a_row_that_differ_in_their_numbers_only_are_counted_in_one),
		CASE(test_one_event_stands_for_so_many_at_most),
		CASE(test_a_longer_text_is_not_counted_with_another),
		CASE(test_another_thread_sees_whole_events_while_they_are_counted),
		CASE(test_a_tape_that_is_off_keeps_nothing),
		CASE(test_another_thread_sees_whole_events_while_they_are_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
