/* test_pushes: which replies are messages of subscriptions, which confirm them, and how many do.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis/pushes.h"

#define S mr_slice_str

static void counts_the_replies_of_a_command(void **state)
{
	const mr_slice subscribe[] = {S("PSUBSCRIBE"), S("a*"), S("b*"), S("c*")};
	const mr_slice leave[] = {S("unsubscribe"), S("a")}, nothing[] = {S("UNSUBSCRIBE")};
	const mr_slice other[] = {S("SADD"), S("k"), S("a"), S("b")};
	(void)state;
	assert_int_equal(mr_pushes_replies(subscribe, 4), 3);
	assert_int_equal(mr_pushes_replies(leave, 2), 1);
	assert_int_equal(mr_pushes_replies(nothing, 1), 0);
	assert_int_equal(mr_pushes_replies(other, 4), 1);
}

static redisReply text(const char *bytes)
{
	return (redisReply){.type = REDIS_REPLY_STRING,
		.str = (char *)(uintptr_t)bytes,
		.len = strlen(bytes)};
}

static void tells_messages_from_confirmations(void **state)
{
	redisReply words[] = {text("message"), text("channel"), text("body"), text("more")};
	redisReply number = {.type = REDIS_REPLY_INTEGER, .integer = 5};
	redisReply *all[] = {&words[0], &words[1], &words[2], &words[3]};
	redisReply r = {.type = REDIS_REPLY_ARRAY, .elements = 3, .element = all};
	long long subscribed = 1;
	(void)state;
	assert_true(mr_pushes_is_message(&r));
	r.elements = 4;
	assert_false(mr_pushes_is_message(&r));
	words[0] = text("pmessage");
	assert_true(mr_pushes_is_message(&r));
	assert_false(mr_pushes_confirm(&r, &subscribed));
	r.elements = 3;
	words[0] = text("psubscribe");
	all[2] = &number;
	assert_false(mr_pushes_is_message(&r));
	assert_true(mr_pushes_confirm(&r, &subscribed));
	assert_int_equal(subscribed, 5);
	r.type = REDIS_REPLY_STATUS;
	assert_false(mr_pushes_confirm(&r, &subscribed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_the_replies_of_a_command),
		cmocka_unit_test(tells_messages_from_confirmations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
