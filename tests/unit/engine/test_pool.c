/* test_pool: the line before a pool: who is next, who is too late.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/pool.h"

static struct mr_pool_line line;
static struct {
	uint64_t token;
	enum mr_status status;
} told[64];
static int count;

static void tell(void *owner, uint64_t token, enum mr_status status)
{
	assert_ptr_equal(owner, &line);
	told[count].token = token;
	told[count++].status = status;
}

static int begin(void **state)
{
	(void)state;
	count = 0;
	mr_pool_line_init(&line, tell, &line);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_pool_line_fini(&line);
	return mr_alloc_live() == 0 ? 0 : -1;
}

static void is_told(int n, uint64_t token, enum mr_status status)
{
	assert_true(n < count);
	assert_int_equal(told[n].token, token);
	assert_int_equal(told[n].status, status);
}

static void test_places_go_out_in_the_order_of_coming(void **state)
{
	(void)state;
	for (uint64_t token = 1; token <= 3; token++) mr_pool_line_wait(&line, token, MR_NEVER);
	assert_int_equal(count, 0);
	for (int n = 0; n < 3; n++) {
		mr_pool_line_give(&line);
		assert_int_equal(count, n + 1);
		is_told(n, (uint64_t)n + 1, MR_OK);
	}
	assert_int_equal(line.places, 0);
}

static void test_a_place_that_nobody_wants_is_for_the_next(void **state)
{
	(void)state;
	mr_pool_line_give(&line);
	mr_pool_line_give(&line);
	mr_pool_line_wait(&line, 8, 5);
	is_told(0, 8, MR_OK);
	assert_int_equal(line.places, 1);
	assert_int_equal(line.earliest, MR_NEVER); /* it never waited */
	mr_pool_line_take_back(&line);
	mr_pool_line_wait(&line, 9, MR_NEVER);
	assert_int_equal(count, 1);
}

static void test_a_deadline_ends_a_wait_and_the_others_keep_their_order(void **state)
{
	(void)state;
	mr_pool_line_wait(&line, 1, 300);
	mr_pool_line_wait(&line, 2, 100);
	mr_pool_line_wait(&line, 3, MR_NEVER);
	mr_pool_line_wait(&line, 4, 100);
	assert_int_equal(line.earliest, 100);
	mr_pool_line_expire(&line, 99);
	assert_int_equal(count, 0);
	assert_int_equal(line.earliest, 100);
	mr_pool_line_expire(&line, 100);
	assert_int_equal(count, 2);
	is_told(0, 2, MR_TIMEOUT);
	is_told(1, 4, MR_TIMEOUT);
	assert_int_equal(line.earliest, 300);
	mr_pool_line_give(&line);
	is_told(2, 1, MR_OK);
	mr_pool_line_expire(&line, 1000); /* it has a place: its deadline is past */
	assert_int_equal(count, 3);
	assert_int_equal(line.earliest, MR_NEVER);
	mr_pool_line_give(&line);
	is_told(3, 3, MR_OK);
}

static void test_who_gave_up_gets_no_place(void **state)
{
	(void)state;
	mr_pool_line_wait(&line, 1, 10);
	mr_pool_line_expire(&line, 10);
	mr_pool_line_give(&line);
	assert_int_equal(count, 1);
	is_told(0, 1, MR_TIMEOUT);
	assert_int_equal(line.places, 1);
}

static void test_the_end_tells_all_and_keeps_no_place(void **state)
{
	(void)state;
	mr_pool_line_give(&line);
	mr_pool_line_end(&line, MR_CLOSED);
	assert_int_equal(line.places, 0);
	mr_pool_line_wait(&line, 1, MR_NEVER);
	mr_pool_line_wait(&line, 2, 50);
	mr_pool_line_end(&line, MR_CLOSED);
	is_told(0, 1, MR_CLOSED);
	is_told(1, 2, MR_CLOSED);
	mr_pool_line_wait(&line, 3, MR_NEVER); /* it can be used again */
	mr_pool_line_give(&line);
	is_told(2, 3, MR_OK);
}

static void come_again(void *owner, uint64_t token, enum mr_status status)
{
	tell(owner, token, status);
	if (token < 10) mr_pool_line_wait(&line, token + 10, MR_NEVER);
}

static void test_whoever_tells_may_come_again_at_once(void **state)
{
	(void)state;
	line.tell = come_again;
	mr_pool_line_wait(&line, 1, 10);
	mr_pool_line_wait(&line, 2, 10);
	mr_pool_line_expire(&line, 10);
	assert_int_equal(count, 2);
	mr_pool_line_give(&line);
	is_told(2, 11, MR_OK);
}

static void test_without_memory_a_wait_ends_and_the_line_goes_on(void **state)
{
	(void)state;
	mr_pool_line_wait(&line, 1, MR_NEVER);
	for (long n = 1; n < 100; n++) {
		int before = count;
		mr_alloc_fail_nth(n);
		mr_pool_line_wait(&line, (uint64_t)n + 1, 7);
		mr_alloc_fail_nth(0);
		if (count == before) {
			assert_true(n > 1); /* it did allocate */
			mr_pool_line_give(&line);
			is_told(before, 1, MR_OK);
			mr_pool_line_give(&line);
			is_told(before + 1, (uint64_t)n + 1, MR_OK);
			return;
		}
		is_told(before, (uint64_t)n + 1, MR_NO_MEMORY);
		assert_int_equal(line.earliest, MR_NEVER);
	}
	fail_msg("it never succeeded");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
	const struct CMUnitTest tests[] = {
		T(places_go_out_in_the_order_of_coming),
		T(a_place_that_nobody_wants_is_for_the_next),
		T(a_deadline_ends_a_wait_and_the_others_keep_their_order),
		T(who_gave_up_gets_no_place),
		T(the_end_tells_all_and_keeps_no_place),
		T(whoever_tells_may_come_again_at_once),
		T(without_memory_a_wait_ends_and_the_line_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
