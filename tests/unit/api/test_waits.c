/* test_waits: the waits of a runtime: when the host is to be woken, and what it is told then.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/waits.h"
#include "base/alloc.h"

static struct mr_waits waits;
static struct mr_pool_line lines[2];
static struct mr_pool_waiter waiters[8]; /* by token */

static void tell(void *owner, struct mr_pool_waiter *waiter, enum mr_status status)
{
	mr_waits_end(owner, waiter, status);
}

static int begin(void **state)
{
	(void)state;
	memset(waiters, 0, sizeof waiters);
	mr_waits_init(&waits);
	for (int i = 0; i < 2; i++) {
		mr_pool_line_init(&lines[i], tell, &waits);
		lines[i].node = (struct mr_node){NULL, NULL};
		mr_list_append(&waits.lines, &lines[i].node);
	}
	for (uint64_t token = 0; token < 8; token++) waiters[token].token = token;
	return 0;
}

static void wait_in(int line, uint64_t token, mr_msec deadline)
{
	mr_waits_begin(&waits, &lines[line], &waiters[token], deadline);
}

static void alarm_is_set(mr_msec at)
{
	assert_true(mr_waits_want_alarm(&waits));
	assert_int_equal(waits.earliest, at);
	waits.alarm = at;
}

static void next_is(uint64_t token, int status)
{
	mr_event ev;
	assert_true(mr_waits_next(&waits, &ev));
	assert_int_equal(ev.type, MR_EV_DONE);
	assert_int_equal(ev.as.done.token, token);
	assert_int_equal(ev.status, status);
	assert_int_equal(ev.connection, 0);
	assert_true(status == MR_OK ? !ev.as.done.reply : ev.as.done.reply != NULL);
	if (ev.as.done.reply) assert_int_equal(ev.as.done.reply->error.kind, status);
	mr_free(ev.as.done.reply);
}

static void nothing_is_next(void)
{
	mr_event ev;
	assert_false(mr_waits_next(&waits, &ev));
}

static void test_one_alarm_serves_all_lines(void **state)
{
	(void)state;
	assert_false(mr_waits_want_alarm(&waits));
	wait_in(0, 1, MR_NEVER);
	assert_false(mr_waits_want_alarm(&waits));
	wait_in(0, 2, 300);
	alarm_is_set(300);
	wait_in(1, 3, 400); /* later: the alarm that is set is early enough */
	assert_false(mr_waits_want_alarm(&waits));
	wait_in(1, 4, 100);
	alarm_is_set(100);
	mr_waits_expire(&waits, 99);
	nothing_is_next();
	assert_false(mr_waits_want_alarm(&waits));
	mr_waits_expire(&waits, 350);
	next_is(2, MR_TIMEOUT);
	next_is(4, MR_TIMEOUT);
	nothing_is_next();
	alarm_is_set(400);
	mr_waits_expire(&waits, 400);
	next_is(3, MR_TIMEOUT);
	assert_false(mr_waits_want_alarm(&waits)); /* the one that is left has time for ever */
}

static void test_a_deadline_that_was_left_behind_rings_once(void **state)
{
	(void)state;
	wait_in(0, 1, 100);
	alarm_is_set(100);
	assert_true(mr_pool_line_give(&lines[0]));
	next_is(1, MR_OK);
	wait_in(0, 2, 250);
	assert_false(mr_waits_want_alarm(&waits)); /* it will ring before, for nothing */
	mr_waits_expire(&waits, 100);
	nothing_is_next();
	alarm_is_set(250);
}

static void test_what_has_ended_is_told_in_its_order_whatever_line_it_was_in(void **state)
{
	(void)state;
	wait_in(0, 1, MR_NEVER);
	wait_in(1, 2, MR_NEVER);
	wait_in(0, 3, MR_NEVER);
	assert_true(mr_pool_line_give(&lines[1]));
	mr_pool_line_end(&lines[0], MR_CLOSED);
	next_is(2, MR_OK);
	next_is(1, MR_CLOSED);
	next_is(3, MR_CLOSED);
	nothing_is_next();
}

/* The host is told all the same, without words. */
static void test_without_memory_an_end_is_told_by_its_status(void **state)
{
	mr_event ev;
	(void)state;
	wait_in(0, 1, 5);
	mr_waits_expire(&waits, 5);
	mr_alloc_fail_nth(1);
	assert_true(mr_waits_next(&waits, &ev));
	mr_alloc_fail_nth(0);
	assert_int_equal(ev.status, MR_TIMEOUT);
	assert_null(ev.as.done.reply);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(test_##name, begin)
	const struct CMUnitTest tests[] = {
		T(one_alarm_serves_all_lines),
		T(a_deadline_that_was_left_behind_rings_once),
		T(what_has_ended_is_told_in_its_order_whatever_line_it_was_in),
		T(without_memory_an_end_is_told_by_its_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
