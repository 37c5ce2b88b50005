/* test_greet: what a Redis is told first, and what its answers mean.
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis/greet.h"

/* The words of all steps, as "AUTH u p|PING". */
static void expect(const struct mr_redis_options *o, const char *text)
{
	char said[256] = "";
	for (int step = 0; step < MR_GREET_END; step++) {
		struct mr_greet g;
		mr_greet_words(&g, (enum mr_greet_step)step, o);
		if (g.count && *said) strcat(said, "|");
		for (size_t i = 0; i < g.count; i++) {
			if (i) strcat(said, " ");
			strncat(said, g.words[i].data, g.words[i].size);
		}
	}
	assert_string_equal(said, text);
}

static void says_what_the_options_need(void **state)
{
	(void)state;
	expect(&(struct mr_redis_options){0}, "CLIENT SETNAME moonrabbit|PING");
	expect(&(struct mr_redis_options){.user = "", .password = ""},
		"CLIENT SETNAME moonrabbit|PING");
	expect(&(struct mr_redis_options){.password = "p"},
		"AUTH p|CLIENT SETNAME moonrabbit|PING");
	expect(&(struct mr_redis_options){.user = "u", .db = 3},
		"AUTH u |CLIENT SETNAME moonrabbit|SELECT 3|PING");
	expect(&(struct mr_redis_options){.user = "u", .password = "p", .sentinel_count = 1},
		"AUTH u p|CLIENT SETNAME moonrabbit|ROLE|PING");
}

static enum mr_status judge(enum mr_greet_step step, enum mr_status kind)
{
	mr_error why = {0}, out = {0};
	mr_error_set(&why, kind, MR_SCOPE_CONNECTION, 0, "Redis: no");
	enum mr_status st = mr_greet_judge(step, NULL, &why, &out);
	assert_int_equal(st, out.kind);
	if (st != MR_OK) assert_string_equal(out.text, "Redis: no");
	return st;
}

static void tells_a_refusal_from_what_is_not_needed(void **state)
{
	static const enum mr_greet_step not_needed[] = {MR_GREET_NAME, MR_GREET_ROLE,
		MR_GREET_PING};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(judge(not_needed[i], MR_ACCESS_REFUSED), MR_OK);
		assert_int_equal(judge(not_needed[i], MR_NOT_IMPLEMENTED), MR_OK);
		assert_int_equal(judge(not_needed[i], MR_CONNECTION_FORCED), MR_CONNECTION_FORCED);
		assert_int_equal(judge(not_needed[i], MR_AUTHENTICATION_FAILED),
			MR_AUTHENTICATION_FAILED);
	}
	assert_int_equal(judge(MR_GREET_AUTH, MR_ACCESS_REFUSED), MR_AUTHENTICATION_FAILED);
	assert_int_equal(judge(MR_GREET_SELECT, MR_ACCESS_REFUSED), MR_VHOST_ACCESS_REFUSED);
	assert_int_equal(judge(MR_GREET_SELECT, MR_NOT_FOUND), MR_NOT_FOUND);
}

static void a_replica_is_no_master(void **state)
{
	mr_error out = {0};
	redisReply word = {.type = REDIS_REPLY_STRING, .str = "slave", .len = 5};
	redisReply *words[] = {&word};
	redisReply role = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = words};
	(void)state;
	assert_int_equal(mr_greet_judge(MR_GREET_ROLE, &role, NULL, &out), MR_CONNECTION_FORCED);
	assert_non_null(strstr(out.text, "is a replica"));
	word.str = "master";
	word.len = 6;
	assert_int_equal(mr_greet_judge(MR_GREET_ROLE, &role, NULL, &out), MR_OK);
	assert_int_equal(mr_greet_judge(MR_GREET_PING, &word, NULL, &out), MR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_the_options_need),
		cmocka_unit_test(tells_a_refusal_from_what_is_not_needed),
		cmocka_unit_test(a_replica_is_no_master),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
