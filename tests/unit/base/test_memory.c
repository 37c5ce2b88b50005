/* test_memory: alloc, buffer, arena, map, clock.
 * Covers: runtime/base/alloc.c by mr_alloc_fail_nth
 * Covers: runtime/base/arena.c by mr_arena_alloc
 * Covers: runtime/base/buffer.c by mr_buffer_reserve
 * Covers: runtime/base/clock.c by mr_clock_msec_of
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"

static void test_the_nth_allocation_fails_and_only_that(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	mr_alloc_fail_nth(2);
	void *first = mr_malloc(1), *second = mr_malloc(1), *third = mr_malloc(1);
	assert_non_null(first);
	assert_null(second);
	assert_non_null(third);
	mr_free(first);
	mr_free(third);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_an_overflowing_product_is_refused(void **state)
{
	(void)state;
	assert_null(mr_calloc(SIZE_MAX / 2, 3));
}

static void test_a_buffer_keeps_its_bytes_while_it_grows_and_is_consumed(void **state)
{
	struct mr_buffer b = {0};
	uint8_t in = 0, out = 0;
	(void)state;
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 37; i++, in++)
			assert_int_equal(mr_buffer_append(&b, &in, 1), MR_OK);
		for (int i = 0; i < 31; i++, out++) {
			assert_int_equal(*mr_buffer_data(&b), out);
			mr_buffer_consume(&b, 1);
		}
	}
	assert_int_equal(mr_buffer_size(&b), 6000);
	mr_buffer_consume(&b, 100000);
	assert_int_equal(mr_buffer_size(&b), 0);
	mr_buffer_trim(&b, 16);
	assert_int_equal(b.capacity, 0);
	mr_buffer_fini(&b);
}

static void *allocate(void *p)
{
	*(void **)p = mr_malloc(1);
	return NULL;
}

static void test_an_allocation_of_another_thread_may_be_left_alone(void **state)
{
	void *others = NULL;
	pthread_t thread;
	(void)state;
	mr_alloc_fail_nth_here(1);
	assert_int_equal(pthread_create(&thread, NULL, allocate, &others), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(mr_malloc(1));
	assert_non_null(others);
	mr_free(others);
	mr_alloc_fail_nth_here(1);
	mr_alloc_fail_nth(1); /* of any thread again */
	assert_int_equal(pthread_create(&thread, NULL, allocate, &others), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(others);
}

static void test_a_buffer_that_cannot_grow_keeps_what_it_has(void **state)
{
	struct mr_buffer b = {0};
	(void)state;
	assert_int_equal(mr_buffer_append(&b, "abc", 3), MR_OK);
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_buffer_reserve(&b, 100000), MR_NO_MEMORY);
	assert_int_equal(mr_buffer_reserve(&b, SIZE_MAX - 1), MR_NO_MEMORY);
	assert_memory_equal(mr_buffer_data(&b), "abc", 3);
	mr_alloc_fail_nth(0);
	mr_buffer_fini(&b);
}

static void test_an_arena_gives_aligned_memory_and_frees_it_all(void **state)
{
	long live = mr_alloc_live();
	struct mr_arena *arena = mr_arena_open(10);
	(void)state;
	for (size_t size = 0; size < 3000; size += 7) {
		char *p = mr_arena_alloc(arena, size);
		assert_int_equal((uintptr_t)p % 8, 0);
		memset(p, 0xff, size);
	}
	assert_non_null(mr_arena_alloc(arena, 1000000));
	assert_null(mr_arena_alloc(arena, SIZE_MAX));
	mr_arena_close(arena);
	mr_arena_close(NULL);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_a_map_finds_what_was_put_and_forgets_what_was_taken(void **state)
{
	struct mr_map map = {0};
	static int values[5000];
	(void)state;
	for (uint64_t k = 0; k < 5000; k++)
		assert_int_equal(mr_map_put(&map, k * 8, &values[k]), MR_OK);
	for (uint64_t k = 0; k < 5000; k += 2)
		assert_ptr_equal(mr_map_take(&map, k * 8), &values[k]);
	for (uint64_t k = 0; k < 5000; k++)
		assert_ptr_equal(mr_map_get(&map, k * 8), k % 2 ? (void *)&values[k] : NULL);
	assert_null(mr_map_get(&map, 3));
	assert_null(mr_map_take(&map, 3));
	assert_int_equal(map.count, 2500);
	mr_map_fini(&map);
}

static void test_a_map_used_as_a_queue_stays_small(void **state)
{
	struct mr_map map = {0};
	int value;
	(void)state;
	for (uint64_t k = 0; k < 100000; k++) {
		assert_int_equal(mr_map_put(&map, k, &value), MR_OK);
		if (k >= 10) assert_ptr_equal(mr_map_take(&map, k - 10), &value);
	}
	assert_true(map.capacity <= 128);
	mr_map_fini(&map);
}

static void test_a_map_may_lose_its_current_entry_while_it_is_walked(void **state)
{
	struct mr_map map = {0};
	int values[100], seen = 0;
	uint64_t key;
	size_t at = 0;
	(void)state;
	for (uint64_t k = 0; k < 100; k++) mr_map_put(&map, k, &values[k]);
	while (mr_map_next(&map, &at, &key)) {
		assert_non_null(mr_map_take(&map, key));
		seen++;
	}
	assert_int_equal(seen, 100);
	assert_int_equal(map.count, 0);
	mr_map_fini(&map);
}

static void test_a_map_out_of_memory_is_unchanged(void **state)
{
	struct mr_map map = {0};
	int value;
	(void)state;
	mr_map_put(&map, 1, &value);
	for (uint64_t k = 2; k < 100; k++) {
		mr_alloc_fail_nth(1);
		enum mr_status st = mr_map_put(&map, k, &value);
		mr_alloc_fail_nth(0);
		if (st == MR_OK) continue;
		assert_int_equal(st, MR_NO_MEMORY);
		assert_null(mr_map_get(&map, k));
		assert_ptr_equal(mr_map_get(&map, 1), &value);
		break;
	}
	mr_map_fini(&map);
}

static void test_seconds_become_milliseconds_rounded_up(void **state)
{
	(void)state;
	assert_int_equal(mr_clock_msec_of(1.5), 1500);
	assert_int_equal(mr_clock_msec_of(0.0001), 1);
	assert_int_equal(mr_clock_msec_of(0), 0);
	assert_int_equal(mr_clock_msec_of(-3), 0);
	assert_int_equal(mr_clock_msec_of(NAN), 0);
	assert_true(mr_clock_msec_of(1e300) < MR_NEVER / 2);
	assert_true(mr_clock_now() > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_nth_allocation_fails_and_only_that),
		cmocka_unit_test(test_an_allocation_of_another_thread_may_be_left_alone),
		cmocka_unit_test(test_an_overflowing_product_is_refused),
		cmocka_unit_test(test_a_buffer_keeps_its_bytes_while_it_grows_and_is_consumed),
		cmocka_unit_test(test_a_buffer_that_cannot_grow_keeps_what_it_has),
		cmocka_unit_test(test_an_arena_gives_aligned_memory_and_frees_it_all),
		cmocka_unit_test(test_a_map_finds_what_was_put_and_forgets_what_was_taken),
		cmocka_unit_test(test_a_map_used_as_a_queue_stays_small),
		cmocka_unit_test(test_a_map_may_lose_its_current_entry_while_it_is_walked),
		cmocka_unit_test(test_a_map_out_of_memory_is_unchanged),
		cmocka_unit_test(test_seconds_become_milliseconds_rounded_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
