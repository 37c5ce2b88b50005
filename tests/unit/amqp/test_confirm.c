/* test_confirm: every publish ends exactly once; heartbeats are sent and judged.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/confirm.h"
#include "amqp/heartbeat.h"
#include "base/alloc.h"

#define MOST 5000
static int outcomes[MOST + 1]; /* 0: none yet; else the status + 1 */
static int calls;

static void told(void *owner, uint64_t first, uint64_t last, enum mr_status outcome)
{
	(void)owner;
	calls++;
	for (uint64_t n = first; n <= last; n++) {
		assert_int_equal(outcomes[n], 0);
		outcomes[n] = (int)outcome + 1;
	}
}

static void begin(struct mr_confirm *c, int count)
{
	memset(outcomes, 0, sizeof outcomes);
	calls = 0;
	mr_confirm_init(c, told, NULL);
	for (int i = 1; i <= count; i++)
		assert_int_equal(mr_confirm_add(c, (uint64_t)i, 1000 + i), MR_OK);
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
	assert_int_equal(mr_confirm_returned(&c, 3), 3);
	assert_int_equal(mr_confirm_returned(&c, 3), 0);
	assert_int_equal(mr_confirm_returned(&c, 99), 0);
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
				assert_int_equal(mr_confirm_add(&c, 0, 1000), MR_OK);
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
	assert_int_equal(mr_confirm_add(&c, 1, 1), MR_NO_MEMORY);
	mr_alloc_fail_nth(0);
	assert_int_equal(c.next, 17);
	mr_confirm_fini(&c);
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
	assert_int_equal(mr_heartbeat_check(&hb, 62000), MR_BEAT_LOOK);
	assert_int_equal(mr_heartbeat_check(&hb, 62000), MR_BEAT_DEAD);
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
	assert_int_equal(mr_heartbeat_check(&hb, 52000), MR_BEAT_LOOK);
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
		cmocka_unit_test(test_a_beat_is_due_when_nothing_was_sent_for_half_the_interval),
		cmocka_unit_test(test_silence_is_death_only_after_a_second_look),
		cmocka_unit_test(test_a_deaf_side_does_not_count_silence),
		cmocka_unit_test(test_no_interval_means_no_heartbeats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
