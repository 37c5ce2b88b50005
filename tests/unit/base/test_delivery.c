/* test_delivery: the memory of deliveries, and what the host holds of a connection's.
 * Covers: runtime/base/tally.c by mr_tally_is_over
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/delivery.h"

#define HALF_BYTES ((64ul << 20) / 2) /* of the bound in tally.c */
#define HALF_COUNT (65536 / 2)

static struct mr_delivery_pool *pool;
static long live;

static int open_pool(void **state)
{
	(void)state;
	live = mr_alloc_live();
	return mr_delivery_pool_open(&pool) == MR_OK ? 0 : -1;
}

/* Whatever a test leaves out goes with the pool. */
static int close_pool(void **state)
{
	(void)state;
	mr_delivery_pool_close(pool);
	return mr_alloc_live() == live ? 0 : -1;
}

static void test_a_small_delivery_costs_no_allocation_once_there_is_a_page(void **state)
{
	char *room;
	(void)state;
	mr_delivery_give(pool, mr_delivery_take(pool, 1, &room));
	long before = mr_alloc_live();
	mr_delivery *d = mr_delivery_take(pool, 256, &room);
	memset(room, 'x', 256);
	assert_int_equal(mr_alloc_live(), before);
	size_t bytes;
	assert_int_equal(mr_delivery_pool_out(pool, &bytes), 1);
	assert_int_equal(bytes, 0);
	mr_delivery_give(pool, d);
	assert_int_equal(mr_delivery_pool_out(pool, NULL), 0);
}

static void test_a_large_delivery_grows_and_keeps_its_bytes(void **state)
{
	char *room;
	size_t bytes;
	(void)state;
	mr_delivery *d = mr_delivery_take(pool, 1000, &room);
	memset(room, 'x', 1000);
	room = mr_delivery_grow(pool, d, 100000);
	for (int i = 0; i < 1000; i++) assert_int_equal(room[i], 'x');
	mr_delivery_pool_out(pool, &bytes);
	assert_int_equal(bytes, 100000);
	mr_delivery_give(pool, d);
	mr_delivery_pool_out(pool, &bytes);
	assert_int_equal(bytes, 0);
}

static void test_a_recycled_block_is_clean_but_keeps_its_generation(void **state)
{
	char *room;
	(void)state;
	mr_delivery *d = mr_delivery_take(pool, 1, &room);
	assert_int_equal(d->generation, 1);
	d->generation = 7;
	d->tag = 5;
	d->consumer = 3;
	d->body = room;
	d->body_size = 1;
	mr_delivery_give(pool, d);
	mr_delivery *again = mr_delivery_take(pool, 1, &room);
	assert_ptr_equal(again, d);
	assert_int_equal(again->generation, 7);
	assert_true(again->tag == 0 && again->consumer == 0 && !again->body);
	assert_int_equal(again->body_size, 0);
	mr_delivery_give(pool, again);
}

static void test_without_memory_nothing_is_taken_and_what_stands_stays(void **state)
{
	char *room;
	(void)state;
	mr_alloc_fail_nth(1);
	assert_null(mr_delivery_take(pool, 1, &room)); /* no page */
	mr_delivery *d = mr_delivery_take(pool, 1000, &room);
	mr_alloc_fail_nth(1);
	assert_null(mr_delivery_take(pool, 1000, &room)); /* no room */
	mr_alloc_fail_nth(1);
	assert_null(mr_delivery_grow(pool, d, 2000));
	size_t bytes;
	assert_int_equal(mr_delivery_pool_out(pool, &bytes), 1);
	assert_int_equal(bytes, 1000);
	mr_delivery_give(pool, d);
}

static void test_a_delivery_counts_once_until_it_is_given_back(void **state)
{
	char *room;
	(void)state;
	struct mr_tally *t = mr_tally_new();
	mr_delivery *bounded = mr_delivery_take(pool, 1000, &room);
	mr_delivery *loose = mr_delivery_take(pool, 2000, &room);
	mr_delivery_count(bounded, t, false);
	mr_delivery_count(loose, t, true);
	mr_delivery_count(loose, t, true);
	assert_true(t->bytes == 3000 && t->loose == 1 && t->loose_bytes == 2000);
	mr_delivery_give(pool, loose);
	assert_true(t->bytes == 1000 && t->loose == 0 && t->loose_bytes == 0);
	mr_delivery_give(pool, bounded);
	assert_true(t->bytes == 0 && t->refs == 1);
	mr_tally_release(t);
}

static void test_a_tally_outlives_its_owner_by_the_deliveries_that_count_in_it(void **state)
{
	char *room;
	(void)state;
	struct mr_tally *t = mr_tally_new();
	mr_delivery *d = mr_delivery_take(pool, 1, &room);
	mr_delivery_count(d, t, true);
	mr_tally_release(t);
	assert_int_equal(t->refs, 1);
	mr_delivery_give(pool, d); /* frees the tally: close_pool sees to it */
	mr_tally_release(NULL);
}

static void test_a_pool_that_closes_ends_the_counting_of_what_is_still_out(void **state)
{
	char *room;
	struct mr_delivery_pool *other;
	(void)state;
	struct mr_tally *t = mr_tally_new();
	assert_int_equal(mr_delivery_pool_open(&other), MR_OK);
	mr_delivery_count(mr_delivery_take(other, 1000, &room), t, true);
	mr_delivery_pool_close(other);
	assert_true(t->bytes == 0 && t->loose == 0 && t->refs == 1);
	mr_tally_release(t);
}

static void test_loose_messages_or_their_bytes_alone_put_a_tally_over_its_bound(void **state)
{
	(void)state;
	struct mr_tally t = {.loose = HALF_COUNT, .loose_bytes = HALF_BYTES, .refs = 1};
	assert_false(mr_tally_is_over(&t, MR_LOOSE_HALF));
	t.loose++;
	assert_true(mr_tally_is_over(&t, MR_LOOSE_HALF));
	assert_false(mr_tally_is_over(&t, MR_LOOSE_WHOLE));
	t.loose_bytes = HALF_BYTES * 2 + 1;
	assert_true(mr_tally_is_over(&t, MR_LOOSE_WHOLE));
	t = (struct mr_tally){.bytes = HALF_BYTES * 9, .refs = 1}; /* those are bounded */
	assert_false(mr_tally_is_over(&t, MR_LOOSE_HALF));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_small_delivery_costs_no_allocation_once_there_is_a_page),
		TEST(test_a_large_delivery_grows_and_keeps_its_bytes),
		TEST(test_a_recycled_block_is_clean_but_keeps_its_generation),
		TEST(test_without_memory_nothing_is_taken_and_what_stands_stays),
		TEST(test_a_delivery_counts_once_until_it_is_given_back),
		TEST(test_a_tally_outlives_its_owner_by_the_deliveries_that_count_in_it),
		TEST(test_a_pool_that_closes_ends_the_counting_of_what_is_still_out),
		TEST(test_loose_messages_or_their_bytes_alone_put_a_tally_over_its_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
