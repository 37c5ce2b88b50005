/* test_figures: where a connection to Redis goes, and how long an answer takes.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis/figures.h"

static void is(const struct mr_redis_options *o, const char *host, uint16_t port, const char *text)
{
	char place[MR_FIGURES_PLACE];
	mr_figures_place(place, o, host, port);
	assert_string_equal(place, text);
}

static void names_the_place_without_a_password(void **state)
{
	static const struct mr_redis_host sentinel = {"s1", 26379};
	const struct mr_redis_options tcp = {.host = "r.example",
		.port = 6379,
		.db = 3,
		.user = "me",
		.password = "secret"};
	const struct mr_redis_options six = {.host = "::1", .port = 6379};
	const struct mr_redis_options path = {.path = "/run/redis.sock", .db = 1};
	const struct mr_redis_options found = {.sentinels = &sentinel,
		.sentinel_count = 1,
		.service = "mymaster"};
	(void)state;
	is(&tcp, "", 0, "r.example:6379/3");
	is(&six, "", 0, "[::1]:6379/0");
	is(&path, "", 0, "/run/redis.sock/1");
	is(&found, "", 0, "mymaster");
	is(&found, "10.0.0.7", 6380, "10.0.0.7:6380/0");
}

static void measures_a_command_that_was_alone(void **state)
{
	struct mr_redis_figures f = {0};
	(void)state;
	mr_figures_asked(&f, mr_clock_us() - 5000);
	mr_figures_asked(&f, 0);
	mr_figures_answered(&f);
	uint64_t first = f.round_trip;
	assert_true(first >= 5000);
	mr_figures_answered(&f);
	assert_int_equal(f.round_trip, first);
	assert_int_equal(f.commands, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_place_without_a_password),
		cmocka_unit_test(measures_a_command_that_was_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
