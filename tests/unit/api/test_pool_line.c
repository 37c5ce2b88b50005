/* test_pool_line: the line before a pool: who is next, who is too late.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/pool_line.h"

static struct mr_pool_line line;
static struct mr_pool_waiter waiters[64]; /* by token */
static struct {
	uint64_t token;
	enum mr_status status;
} told[64];
static int count;

static void tell(void *owner, struct mr_pool_waiter *waiter, enum mr_status status)
{
	assert_ptr_equal(owner, &line);
	assert_null(waiter->node.next); /* it may be put elsewhere */
	told[count].token = (uint64_t)(waiter - waiters);
	told[count++].status = status;
}

static void wait_until(uint64_t token, mr_msec deadline)
{
	mr_pool_line_wait(&line, &waiters[token], deadline);
}

static int begin(void **state)
{
	(void)state;
	count = 0;
	memset(waiters, 0, sizeof waiters);
	mr_pool_line_init(&line, tell, &line);
	return 0;
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
	for (uint64_t token = 1; token <= 3; token++) wait_until(token, MR_NEVER);
	assert_int_equal(count, 0);
	for (int n = 0; n < 3; n++) {
		assert_true(mr_pool_line_give(&line));
		assert_int_equal(count, n + 1);
		is_told(n, (uint64_t)n + 1, MR_OK);
	}
	assert_false(mr_pool_line_give(&line));
}

static void test_a_place_that_nobody_wants_stays_where_it_is(void **state)
{
	(void)state;
	assert_false(mr_pool_line_give(&line));
	wait_until(8, 5);
	assert_int_equal(count, 0); /* nothing was kept for it */
	assert_true(mr_pool_line_give(&line));
	is_told(0, 8, MR_OK);
	assert_false(mr_pool_line_give(&line));
	assert_int_equal(count, 1);
}

static void test_a_deadline_ends_a_wait_and_the_others_keep_their_order(void **state)
{
	(void)state;
	wait_until(1, 300);
	wait_until(2, 100);
	wait_until(3, MR_NEVER);
	wait_until(4, 100);
	assert_int_equal(line.earliest, 100);
	mr_pool_line_expire(&line, 99);
	assert_int_equal(count, 0);
	assert_int_equal(line.earliest, 100);
	mr_pool_line_expire(&line, 100);
	assert_int_equal(count, 2);
	is_told(0, 2, MR_TIMEOUT);
	is_told(1, 4, MR_TIMEOUT);
	assert_int_equal(line.earliest, 300);
	assert_true(mr_pool_line_give(&line));
	is_told(2, 1, MR_OK);
	mr_pool_line_expire(&line, 1000); /* it has a place: its deadline is past */
	assert_int_equal(count, 3);
	assert_int_equal(line.earliest, MR_NEVER);
	assert_true(mr_pool_line_give(&line));
	is_told(3, 3, MR_OK);
}

static void test_who_gave_up_gets_no_place(void **state)
{
	(void)state;
	wait_until(1, 10);
	mr_pool_line_expire(&line, 10);
	assert_false(mr_pool_line_give(&line));
	assert_int_equal(count, 1);
	is_told(0, 1, MR_TIMEOUT);
}

static void test_the_end_tells_all(void **state)
{
	(void)state;
	wait_until(1, MR_NEVER);
	wait_until(2, 50);
	mr_pool_line_end(&line, MR_CLOSED);
	assert_int_equal(count, 2);
	is_told(0, 1, MR_CLOSED);
	is_told(1, 2, MR_CLOSED);
	wait_until(3, MR_NEVER); /* it can be used again */
	assert_true(mr_pool_line_give(&line));
	is_told(2, 3, MR_OK);
}

static void come_again(void *owner, struct mr_pool_waiter *waiter, enum mr_status status)
{
	tell(owner, waiter, status);
	uint64_t token = (uint64_t)(waiter - waiters);
	if (token < 10) wait_until(token + 10, MR_NEVER);
}

static void test_whoever_tells_may_come_again_at_once(void **state)
{
	(void)state;
	line.tell = come_again;
	wait_until(1, 10);
	wait_until(2, 10);
	mr_pool_line_expire(&line, 10);
	assert_int_equal(count, 2);
	assert_true(mr_pool_line_give(&line));
	is_told(2, 11, MR_OK);
}

static void test_a_wait_that_has_ended_may_begin_again(void **state)
{
	(void)state;
	wait_until(1, 10);
	wait_until(2, MR_NEVER);
	mr_pool_line_expire(&line, 10);
	wait_until(1, 20);
	assert_int_equal(line.earliest, 20);
	assert_true(mr_pool_line_give(&line)); /* behind the other one, by now */
	is_told(1, 2, MR_OK);
	mr_pool_line_expire(&line, 20);
	is_told(2, 1, MR_TIMEOUT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(test_##name, begin)
	const struct CMUnitTest tests[] = {
		T(places_go_out_in_the_order_of_coming),
		T(a_place_that_nobody_wants_stays_where_it_is),
		T(a_deadline_ends_a_wait_and_the_others_keep_their_order),
		T(who_gave_up_gets_no_place),
		T(the_end_tells_all),
		T(whoever_tells_may_come_again_at_once),
		T(a_wait_that_has_ended_may_begin_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
