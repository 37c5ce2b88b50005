/* test_confirm: every publish ends exactly once; heartbeats are sent and judged.
 * Covers: runtime/amqp/heartbeat.c by mr_heartbeat_check
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "amqp/confirm.h"
#include "amqp/heartbeat.h"
#include "base/alloc.h"

#define MOST 5000
static int outcomes[MOST + 1]; /* 0: none yet; else the status + 1 */
static int calls, last_shift;

static void told(void *owner, uint64_t first, uint64_t last, enum mr_status outcome, int shift)
{
	(void)owner;
	last_shift = shift;
	calls++;
	for (uint64_t n = first; n <= last; n++) {
		assert_int_equal(outcomes[n], 0);
		outcomes[n] = (int)outcome + 1;
	}
}

static void add(struct mr_confirm *c, uint64_t content, uint64_t properties, mr_msec deadline)
{
	struct mr_identity id = {content, properties, properties, false};
	assert_int_equal(mr_confirm_add(c, content ? &id : NULL, deadline), MR_OK);
}

static void begin(struct mr_confirm *c, int count)
{
	memset(outcomes, 0, sizeof outcomes);
	calls = 0;
	mr_confirm_init(c, told, NULL);
	for (int i = 1; i <= count; i++) add(c, (uint64_t)i, 0, 1000 + i);
}

static uint64_t returned(struct mr_confirm *c, uint64_t content, uint64_t properties)
{
	struct mr_identity id = {content, properties, properties, false};
	bool lacks_memory = true;
	uint64_t number = mr_confirm_returned(c, &id, &lacks_memory);
	assert_false(lacks_memory);
	return number;
}

static void test_a_multiple_is_told_in_one_call(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 1000);
	assert_int_equal(mr_confirm_settle(&c, 1000, true, MR_OK), MR_OK);
	assert_int_equal(calls, 1);
	assert_int_equal(mr_confirm_outstanding(&c), 0);
	mr_confirm_fini(&c);
}

static void test_out_of_order_and_mixed_words_end_each_once(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 10);
	mr_confirm_settle(&c, 3, false, MR_OK);
	mr_confirm_settle(&c, 2, false, MR_NACKED);
	mr_confirm_settle(&c, 5, true, MR_OK);
	mr_confirm_settle(&c, 5, true, MR_OK); /* repeated: ignored */
	mr_confirm_settle(&c, 0, true, MR_NACKED);
	for (int n = 1; n <= 10; n++)
		assert_int_equal(outcomes[n], (n == 2 || n > 5 ? MR_NACKED : MR_OK) + 1);
	mr_confirm_fini(&c);
}

static void test_a_number_never_published_is_refused(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 3);
	assert_int_equal(mr_confirm_settle(&c, 4, false, MR_OK), MR_COMMAND_INVALID);
	assert_int_equal(mr_confirm_settle(&c, 0, false, MR_OK), MR_COMMAND_INVALID);
	mr_confirm_fini(&c);
}

static void test_a_returned_publish_ends_as_returned_when_it_is_acked(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 5);
	assert_int_equal(returned(&c, 3, 0), 3);
	assert_int_equal(returned(&c, 3, 0), 0);
	assert_int_equal(returned(&c, 99, 0), 0);
	mr_confirm_settle(&c, 5, true, MR_OK);
	for (int n = 1; n <= 5; n++)
		assert_int_equal(outcomes[n], (n == 3 ? MR_RETURNED : MR_OK) + 1);
	mr_confirm_fini(&c);
}

static void test_what_is_due_times_out_and_a_late_ack_is_ignored(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 5); /* deadlines 1001 .. 1005 */
	mr_confirm_expire(&c, 1000);
	assert_int_equal(calls, 0);
	mr_confirm_expire(&c, 1003);
	assert_int_equal(c.earliest, 1004);
	assert_int_equal(mr_confirm_settle(&c, 2, false, MR_OK), MR_OK);
	mr_confirm_lose(&c);
	for (int n = 1; n <= 5; n++)
		assert_int_equal(outcomes[n], (n <= 3 ? MR_TIMEOUT : MR_LOST) + 1);
	assert_int_equal(c.earliest, MR_NEVER);
	mr_confirm_fini(&c);
}

static void test_random_words_end_each_publish_once(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct mr_confirm c;
		begin(&c, 0);
		srand(seed);
		while (c.next <= MOST - 10) {
			for (int i = rand() % 8; i > 0; i--)
				assert_int_equal(mr_confirm_add(&c, NULL, 1000), MR_OK);
			if (c.next == 1) continue;
			uint64_t number = 1 + (uint64_t)rand() % (c.next - 1);
			mr_confirm_settle(&c, number, rand() % 4 == 0,
				rand() % 3 ? MR_OK : MR_NACKED);
		}
		mr_confirm_lose(&c);
		for (uint64_t n = 1; n < c.next; n++) assert_int_not_equal(outcomes[n], 0);
		mr_confirm_fini(&c);
	}
}

static void test_a_publish_that_memory_fails_is_not_counted(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 16);
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_confirm_add(&c, NULL, 1), MR_NO_MEMORY);
	mr_alloc_fail_nth(0);
	assert_int_equal(c.next, 17);
	mr_confirm_fini(&c);
}

/* ---- returns ---- */

/* FIELD-W1: the properties tell publishes of equal content apart, and no return is taken by one that is not mandatory. */
static void test_a_return_ends_the_publish_of_its_own_properties(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 0);
	for (uint64_t n = 1; n <= 200; n++) add(&c, n % 3 ? 7 : 0, n % 2, 1000);
	for (uint64_t n = 1; n <= 200; n++)
		if (n % 3 && n % 2) assert_int_equal(returned(&c, 7, 1), n);
	assert_int_equal(mr_confirm_settle(&c, 0, true, MR_OK), MR_OK);
	for (uint64_t n = 1; n <= 200; n++)
		assert_int_equal(outcomes[n], (n % 3 && n % 2 ? MR_RETURNED : MR_OK) + 1);
	mr_confirm_fini(&c);
}

/* FIELD-W1: properties that come back changed fall back to the content, and to the order. */
static void test_a_return_that_fits_nothing_exactly_is_the_next_of_its_content(void **state)
{
	struct mr_confirm c;
	struct mr_identity stripped = {7, 0, 30, true};
	(void)state;
	begin(&c, 0);
	for (uint64_t n = 1; n <= 3; n++) add(&c, 7, n, 1000);
	assert_int_equal(mr_confirm_add(&c, &stripped, 1000), MR_OK);
	add(&c, 7, 30, 1000);
	add(&c, 8, 1, 1000);
	assert_int_equal(returned(&c, 7, 2), 2);
	assert_int_equal(returned(&c, 7, 99),
		3); /* changed on the way; 1 is before what came back */
	assert_int_equal(returned(&c, 7, 30),
		5); /* as it was sent goes before what comes back changed */
	assert_int_equal(returned(&c, 7, 30), 4);
	assert_int_equal(returned(&c, 7, 98), 1);
	assert_int_equal(returned(&c, 7, 97), 0);
	mr_confirm_lose(&c);
	for (uint64_t n = 1; n <= 6; n++)
		assert_int_equal(outcomes[n], (n == 6 ? MR_LOST : MR_RETURNED) + 1);
	mr_confirm_fini(&c);
}

/* FIELD-W1: of publishes alike in every byte, the one whose ack comes first is the returned one, and a refused one never
 * is; those that went out after the return are not of the question. */
static void test_alike_publishes_are_told_apart_by_their_confirms(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 0);
	for (int i = 0; i < 3; i++) add(&c, 7, 1, 1000);
	assert_int_equal(returned(&c, 7, 1), 1);
	add(&c, 7, 1, 1000);
	mr_confirm_settle(&c, 4, false, MR_OK);
	mr_confirm_settle(&c, 1, false, MR_NACKED);
	mr_confirm_settle(&c, 3, false, MR_OK);
	assert_int_equal(last_shift, -2);
	mr_confirm_lose(&c);
	const int ends[] = {MR_NACKED, MR_LOST, MR_RETURNED, MR_OK};
	for (uint64_t n = 1; n <= 4; n++) assert_int_equal(outcomes[n], ends[n - 1] + 1);
	mr_confirm_fini(&c);
}

/* FIELD-W1: a return for one that timed out is not taken for another's. */
static void test_a_late_return_does_not_end_a_publish_like_it(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 0);
	add(&c, 7, 1, 1000);
	mr_confirm_expire(&c, 1000);
	assert_int_equal(mr_confirm_outstanding(&c), 0);
	add(&c, 7, 1, 2000);
	assert_int_equal(returned(&c, 7, 1), 1);
	mr_confirm_settle(&c, 2, true, MR_OK);
	assert_int_equal(outcomes[1], MR_TIMEOUT + 1);
	assert_int_equal(outcomes[2], MR_OK + 1);
	mr_confirm_fini(&c);
}

/* What the broker never answers costs a bounded number of entries. */
static void test_publishes_that_are_never_confirmed_are_forgotten(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 0);
	for (uint64_t n = 1; n <= MOST; n++) {
		add(&c, 7, n, (mr_msec)n);
		mr_confirm_expire(&c, (mr_msec)n);
	}
	assert_true(c.capacity <= 1024);
	mr_confirm_fini(&c);
}

static void test_a_return_that_memory_fails_is_told(void **state)
{
	struct mr_confirm c;
	bool lacks_memory = false;
	struct mr_identity id = {7, 1, 1, false};
	(void)state;
	begin(&c, 0);
	add(&c, 7, 1, 1000);
	mr_alloc_fail_nth(1);
	mr_confirm_returned(&c, &id, &lacks_memory);
	mr_alloc_fail_nth(0);
	assert_true(lacks_memory);
	mr_confirm_lose(&c);
	mr_confirm_fini(&c);
}

/* Claims do not pile up while some are always open. */
static void test_many_returns_keep_their_order_in_bounded_memory(void **state)
{
	struct mr_confirm c;
	(void)state;
	begin(&c, 0);
	add(&c, 7, 0, 100000);
	for (uint64_t n = 1; n < MOST; n++) {
		add(&c, 7, n, 100000);
		assert_int_equal(returned(&c, 7, n - 1), n);
		mr_confirm_settle(&c, n, false, MR_OK);
		assert_int_equal(outcomes[n], MR_RETURNED + 1);
		if (n % 2) assert_int_equal(returned(&c, 8, n), 0);
	}
	assert_true(c.claim_capacity <= 64);
	mr_confirm_fini(&c);
}

/* ---- what it costs ---- */

#define HUGE_COUNT 200000
static uint64_t ended_as_returned;

static void count_returned(void *owner, uint64_t first, uint64_t last, enum mr_status outcome,
	int shift)
{
	(void)owner;
	(void)shift;
	if (outcome == MR_RETURNED) ended_as_returned += last - first + 1;
}

enum way {
	SENT,    /* comes back as it was sent */
	CHANGED, /* without BCC */
	STAMPED, /* by a plug-in of the broker */
	WAYS
};
enum word {
	MULTIPLE,
	BACKWARDS,
	WITH_NACKS,
	AT_ONCE, /* each confirmed as soon as it came back */
	LATE,
	LOST,
	WORDS
};

static void come_back(struct mr_confirm *c, uint64_t number, enum way way)
{
	uint64_t properties = number * 3 + (way == STAMPED ? 1ull << 40 : 0);
	struct mr_identity id = {7 + number % 2 * number, properties, properties, true};
	bool lacks_memory;
	assert_int_not_equal(mr_confirm_returned(c, &id, &lacks_memory), 0);
	assert_false(lacks_memory);
}

static void confirm_all(struct mr_confirm *c, enum word word)
{
	if (word == LOST) mr_confirm_lose(c);
	if (word == MULTIPLE) mr_confirm_settle(c, 0, true, MR_OK);
	for (uint64_t n = 1; n <= HUGE_COUNT && word != LOST && word != MULTIPLE; n++) {
		bool is_refused = word == WITH_NACKS && n % 4 == 0;
		mr_confirm_settle(c, word == BACKWARDS ? HUGE_COUNT + 1 - n : n, false,
			is_refused ? MR_NACKED : MR_OK);
		mr_confirm_is_waiting(c);
	}
}

/* Half of very many publishes come back. Processor time, not the clock's: others may be at work. */
static void spend(enum way way, enum word word)
{
	struct mr_confirm c;
	clock_t began = clock();
	ended_as_returned = 0;
	mr_confirm_init(&c, count_returned, NULL);
	for (uint64_t n = 1; n <= HUGE_COUNT; n++) {
		struct mr_identity id = {7 + n % 2 * n, 0, 0, way == CHANGED};
		*(way == CHANGED ? &id.lasting : &id.properties) = n * 3;
		assert_int_equal(mr_confirm_add(&c, &id, word == LATE ? 1 : 1000), MR_OK);
	}
	if (word == LATE) mr_confirm_expire(&c, 1);
	for (uint64_t n = 1; n <= HUGE_COUNT; n += 2) {
		come_back(&c, n, way);
		if (word == AT_ONCE) mr_confirm_settle(&c, n + 1, true, MR_OK);
		mr_confirm_is_waiting(&c);
	}
	if (word != AT_ONCE) confirm_all(&c, word);
	assert_int_equal(mr_confirm_outstanding(&c), 0);
	assert_int_equal(ended_as_returned, word == LATE ? 0 : HUGE_COUNT / 2);
	mr_confirm_fini(&c);
	assert_true((clock() - began) / CLOCKS_PER_SEC < 10);
}

/* FIELD-W1: what comes back is found among very many that are out, and their confirms end them, at once each. */
static void test_returns_and_confirms_of_very_many_publishes_search_nothing(void **state)
{
	(void)state;
	for (enum way way = SENT; way < WAYS; way++)
		for (enum word word = MULTIPLE; word < WORDS; word++) spend(way, word);
}

/* FIELD-W1: of alike publishes, those whose returns turned out to be of others may come back themselves. */
static void test_as_many_of_the_alike_end_as_returned_as_came_back(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct mr_confirm c;
		int came = 0, ended = 0;
		begin(&c, 0);
		srand(seed);
		for (int n = 1; n <= 60; n++) add(&c, 7, 1, 1000);
		for (uint64_t n = 1; n <= 60; n++) {
			uint64_t number = 1 + n * 7 % 61 % 60; /* in no order */
			if (rand() % 2) came += returned(&c, 7, 1) != 0;
			mr_confirm_settle(&c, number, false, MR_OK);
		}
		mr_confirm_settle(&c, 0, true, MR_OK);
		for (int n = 1; n <= 60; n++) ended += outcomes[n] == MR_RETURNED + 1;
		assert_int_equal(ended, came);
		mr_confirm_fini(&c);
	}
}

/* ---- heartbeats ---- */

static void test_a_beat_is_due_when_nothing_was_sent_for_half_the_interval(void **state)
{
	struct mr_heartbeat hb;
	(void)state;
	mr_heartbeat_init(&hb, 2000, 0);
	assert_int_equal(mr_heartbeat_deadline(&hb), 1000);
	assert_int_equal(mr_heartbeat_check(&hb, 999), MR_BEAT_QUIET);
	assert_int_equal(mr_heartbeat_check(&hb, 1000), MR_BEAT_SEND);
	mr_heartbeat_sent(&hb, 1000);
	mr_heartbeat_heard(&hb, 1500);
	assert_int_equal(mr_heartbeat_check(&hb, 1999), MR_BEAT_QUIET);
}

static void test_silence_is_death_only_after_a_second_look(void **state)
{
	struct mr_heartbeat hb;
	(void)state;
	mr_heartbeat_init(&hb, 2000, 0);
	assert_int_equal(mr_heartbeat_check(&hb, 60000), MR_BEAT_LOOK); /* a very late loop */
	mr_heartbeat_heard(&hb, 60000);
	mr_heartbeat_sent(&hb, 60000);
	assert_int_equal(mr_heartbeat_check(&hb, 60001), MR_BEAT_QUIET);
	mr_heartbeat_sent(&hb, 63500);
	assert_int_equal(mr_heartbeat_check(&hb, 63999),
		MR_BEAT_QUIET); /* FIELD-R3: two intervals */
	assert_int_equal(mr_heartbeat_check(&hb, 64000), MR_BEAT_LOOK);
	assert_int_equal(mr_heartbeat_check(&hb, 64000), MR_BEAT_DEAD);
}

static void test_a_deaf_side_does_not_count_silence(void **state)
{
	struct mr_heartbeat hb;
	(void)state;
	mr_heartbeat_init(&hb, 2000, 0);
	mr_heartbeat_deaf(&hb, true, 100);
	assert_int_equal(mr_heartbeat_check(&hb, 50000), MR_BEAT_SEND);
	mr_heartbeat_sent(&hb, 50000);
	mr_heartbeat_deaf(&hb, false, 50000);
	assert_int_equal(mr_heartbeat_check(&hb, 50999), MR_BEAT_QUIET);
	assert_int_equal(mr_heartbeat_check(&hb, 54000), MR_BEAT_LOOK);
}

static void test_no_interval_means_no_heartbeats(void **state)
{
	struct mr_heartbeat hb;
	(void)state;
	mr_heartbeat_init(&hb, 0, 0);
	assert_int_equal(mr_heartbeat_check(&hb, 1000000), MR_BEAT_QUIET);
	assert_int_equal(mr_heartbeat_deadline(&hb), MR_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_multiple_is_told_in_one_call),
		cmocka_unit_test(test_out_of_order_and_mixed_words_end_each_once),
		cmocka_unit_test(test_a_number_never_published_is_refused),
		cmocka_unit_test(test_a_returned_publish_ends_as_returned_when_it_is_acked),
		cmocka_unit_test(test_what_is_due_times_out_and_a_late_ack_is_ignored),
		cmocka_unit_test(test_random_words_end_each_publish_once),
		cmocka_unit_test(test_a_publish_that_memory_fails_is_not_counted),
		cmocka_unit_test(test_a_return_ends_the_publish_of_its_own_properties),
		cmocka_unit_test(
			test_a_return_that_fits_nothing_exactly_is_the_next_of_its_content),
		cmocka_unit_test(test_alike_publishes_are_told_apart_by_their_confirms),
		cmocka_unit_test(test_a_late_return_does_not_end_a_publish_like_it),
		cmocka_unit_test(test_publishes_that_are_never_confirmed_are_forgotten),
		cmocka_unit_test(test_a_return_that_memory_fails_is_told),
		cmocka_unit_test(test_many_returns_keep_their_order_in_bounded_memory),
		cmocka_unit_test(test_returns_and_confirms_of_very_many_publishes_search_nothing),
		cmocka_unit_test(test_as_many_of_the_alike_end_as_returned_as_came_back),
		cmocka_unit_test(test_a_beat_is_due_when_nothing_was_sent_for_half_the_interval),
		cmocka_unit_test(test_silence_is_death_only_after_a_second_look),
		cmocka_unit_test(test_a_deaf_side_does_not_count_silence),
		cmocka_unit_test(test_no_interval_means_no_heartbeats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
