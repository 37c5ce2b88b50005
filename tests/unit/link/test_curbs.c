/* test_curbs: of which queues a link's consumers may be curbed.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "link/curbs.h"

#define MANY 5000 /* more than are kept */

static void declared(struct mr_link *link, const char *queue, bool is_single_active)
{
	link->options.declared(link, mr_slice_str(queue), is_single_active);
}

static bool may(struct mr_link *link, const char *queue)
{
	return link->options.may_curb(link, mr_slice_str(queue));
}

static void test_all_may_but_those_of_a_single_active_consumer(void **state)
{
	struct mr_link link = {0};
	(void)state;
	mr_curbs_hear(&link);
	assert_true(may(&link, "q"));
	declared(&link, "p", true);
	declared(&link, "q", true);
	declared(&link, "q", true); /* by every program that uses it */
	declared(&link, "r", true);
	declared(&link, "s", false);
	assert_false(may(&link, "p"));
	assert_false(may(&link, "q"));
	assert_false(may(&link, "r"));
	assert_true(may(&link, "s"));
	declared(&link, "q", false); /* it was deleted */
	assert_true(may(&link, "q"));
	assert_false(may(&link, "p"));
	assert_false(may(&link, "r"));
	mr_buffer_fini(&link.singles);
}

static void test_none_may_once_the_broker_has_refused_one(void **state)
{
	struct mr_link link = {.curbs_refused = true};
	(void)state;
	mr_curbs_hear(&link);
	assert_false(may(&link, "q"));
}

static void test_none_may_without_memory_to_know_which(void **state)
{
	struct mr_link link = {0};
	(void)state;
	mr_curbs_hear(&link);
	mr_alloc_fail_nth(1);
	declared(&link, "q", true);
	mr_alloc_fail_nth(0);
	assert_false(may(&link, "q"));
	mr_buffer_fini(&link.singles);
}

static void test_what_another_link_knows_comes_with_its_declares(void **state)
{
	struct mr_link link = {0}, from = {0};
	(void)state;
	mr_curbs_hear(&link);
	mr_curbs_hear(&from);
	declared(&from, "p", true);
	declared(&from, "q", true);
	declared(&link, "q", true);
	declared(&link, "r", true);
	mr_curbs_inherit(&link, &from);
	assert_false(may(&link, "p"));
	assert_false(may(&link, "q"));
	assert_false(may(&link, "r"));
	declared(&link, "q", false);
	assert_true(may(&link, "q"));
	mr_buffer_fini(&link.singles);
	mr_buffer_fini(&from.singles);
}

static void test_of_very_many_those_of_long_ago_are_forgotten(void **state)
{
	struct mr_link link = {0};
	char name[20];
	(void)state;
	mr_curbs_hear(&link);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "q%d", i);
		declared(&link, name, true);
		declared(&link, "in use", true);
	}
	assert_true(may(&link, "q0"));
	assert_false(may(&link, "q2000"));
	assert_false(may(&link, "q4999"));
	assert_false(may(&link, "in use"));
	assert_true(mr_buffer_size(&link.singles) <= 4096 * sizeof(uint64_t));
	mr_buffer_fini(&link.singles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_may_but_those_of_a_single_active_consumer),
		cmocka_unit_test(test_none_may_once_the_broker_has_refused_one),
		cmocka_unit_test(test_none_may_without_memory_to_know_which),
		cmocka_unit_test(test_what_another_link_knows_comes_with_its_declares),
		cmocka_unit_test(test_of_very_many_those_of_long_ago_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
