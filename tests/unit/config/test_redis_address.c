/* test_redis_address: the URLs of a Redis.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "config/redis_address.h"
#include "config/uri.h"

static struct mr_redis_address good(const char *url)
{
	struct mr_redis_address a = {0};
	mr_error error = {0};
	if (mr_redis_address_parse(&a, mr_slice_str(url), &error) != MR_OK)
		fail_msg("%s: %s", url, error.text);
	return a;
}

static void bad(const char *url, int kind, const char *text)
{
	struct mr_redis_address a = {0};
	mr_error error = {0};
	assert_int_equal(mr_redis_address_parse(&a, mr_slice_str(url), &error), kind);
	if (!strstr(error.text, text)) fail_msg("%s: %s", url, error.text);
	assert_null(strstr(error.text, "hop"));
}

static void has_kombus_defaults(void **state)
{
	struct mr_redis_address a = good("redis://");
	(void)state;
	assert_string_equal(a.host, "localhost");
	assert_int_equal(a.port, 6379);
	assert_null(a.path);
	assert_null(a.user);
	assert_null(a.password);
	assert_false(a.use_tls);
	assert_int_equal(a.db, 0);
	assert_int_equal(a.visibility_timeout, 3600000);
	assert_string_equal(a.global_keyprefix, "");
	assert_int_equal(a.priority_step_count, 4);
	assert_int_equal(a.priority_steps[3], 9);
	assert_int_equal(a.socket_timeout, 0);
	assert_int_equal(a.health_check_interval, 25000);
	assert_string_equal(a.fanout_prefix, "/{db}.");
	assert_true(a.fanout_patterns);
	mr_redis_address_fini(&a);
}

static void reads_where_it_is(void **state)
{
	(void)state;
	struct mr_redis_address a = good("REDISS://rab%62it:h%40p@[::1]:7000/12");
	assert_string_equal(a.host, "::1");
	assert_int_equal(a.port, 7000);
	assert_string_equal(a.user, "rabbit");
	assert_string_equal(a.password, "h@p");
	assert_true(a.use_tls);
	assert_int_equal(a.db, 12);
	mr_redis_address_fini(&a);
	a = good("redis://:hop@redis.example");
	assert_string_equal(a.user, "");
	assert_string_equal(a.password, "hop");
	assert_string_equal(a.host, "redis.example");
	mr_redis_address_fini(&a);
	a = good("redis+socket://:hop@/run/my%20redis/r.sock?virtual_host=3");
	assert_string_equal(a.path, "/run/my redis/r.sock");
	assert_null(a.host);
	assert_string_equal(a.password, "hop");
	assert_int_equal(a.db, 3);
	mr_redis_address_fini(&a);
}

static void reads_the_options(void **state)
{
	struct mr_redis_address a = good("rediss://h?visibility_timeout=1.5&global_keyprefix=my%3A&"
					 "priority_steps=0,5,10&socket_timeout=3&"
					 "health_check_interval=0.5&ssl_ca_certs=/etc/ca.pem");
	(void)state;
	assert_int_equal(a.visibility_timeout, 1500);
	assert_string_equal(a.global_keyprefix, "my:");
	assert_int_equal(a.priority_step_count, 3);
	assert_int_equal(a.priority_steps[2], 10);
	assert_int_equal(a.socket_timeout, 3000);
	assert_int_equal(a.health_check_interval, 500);
	assert_string_equal(a.ca_certs, "/etc/ca.pem");
	mr_redis_address_fini(&a);
	a = good("redis://h?fanout_prefix=False&fanout_patterns=0");
	assert_string_equal(a.fanout_prefix, "");
	assert_false(a.fanout_patterns);
	mr_redis_address_fini(&a);
	a = good("redis://h?fanout_prefix=/app.&fanout_patterns=True");
	assert_string_equal(a.fanout_prefix, "/app.");
	assert_true(a.fanout_patterns);
	assert_int_equal(a.order, MR_REDIS_ROUND_ROBIN);
	mr_redis_address_fini(&a);
	a = good("redis://h?queue_order_strategy=priority&max_connections=2");
	assert_int_equal(a.order, MR_REDIS_PRIORITY);
	mr_redis_address_fini(&a);
	a = good("redis://h?queue_order_strategy=sorted");
	assert_int_equal(a.order, MR_REDIS_SORTED);
	mr_redis_address_fini(&a);
	a = good("redis://h?fanout_prefix=true");
	assert_string_equal(a.fanout_prefix, "/{db}.");
	mr_redis_address_fini(&a);
}

static void says_what_is_wrong(void **state)
{
	(void)state;
	bad("redis://:hop@h/one", MR_BAD_URI, "number of a database");
	bad("redis://:hop@h/1/2", MR_BAD_URI, "number of a database");
	bad("redis://:hop@h/-1", MR_BAD_URI, "number of a database");
	bad("redis://:hop@a,b", MR_BAD_URI, "one host");
	bad("redis://:hop@h:0", MR_BAD_URI, "port");
	bad("redis+socket://h/r.sock", MR_BAD_URI, "absolute");
	bad("redis+socket://", MR_BAD_URI, "absolute");
	bad("redis+socket:///r.sock?virtual_host=x", MR_BAD_URI, "number of a database");
	bad("redis://h?visibility_timout=3", MR_BAD_OPTION, "did you mean \"visibility_timeout\"?");
	char longest[300];
	snprintf(longest, sizeof longest, "redis://h?global_keyprefix=%0256d", 0);
	bad(longest, MR_BAD_OPTION, "at most 255 bytes");
	bad("redis://h?zzz=3", MR_BAD_OPTION,
		"known are visibility_timeout, global_keyprefix, priority_steps");
	bad("redis://h?virtual_host=3", MR_BAD_OPTION, "unknown option");
	bad("redis://h?visibility_timeout=0", MR_BAD_OPTION, "seconds");
	bad("redis://h?socket_timeout=1s", MR_BAD_OPTION, "seconds");
	bad("redis://h?socket_timeout=nan", MR_BAD_OPTION, "seconds");
	bad("redis://h?queue_order_strategy=Sorted", MR_BAD_OPTION,
		"round_robin, sorted or priority");
	bad("redis://h?fanout_patterns=yes", MR_BAD_OPTION, "true or false");
	bad("redis://h?fanout_prefix=x", MR_BAD_OPTION, "leading slash");
	bad("redis://h?fanout_prefix=", MR_BAD_OPTION, "leading slash");
	bad("redis://h?priority_steps=0,3,3", MR_BAD_OPTION, "ascending");
	bad("redis://h?priority_steps=3,6", MR_BAD_OPTION, "the first one 0");
	bad("redis://h?priority_steps=", MR_BAD_OPTION, "ascending");
	bad("redis://h?priority_steps=0,1,2,3,4,5,6,7,8,9,10", MR_BAD_OPTION, "up to 10");
	bad("redis://h?max_connections=1", MR_BAD_OPTION, "from 2 on");
	bad("redis://h?max_connections=", MR_BAD_OPTION, "from 2 on");
	bad("redis://h?max_connections=2x", MR_BAD_OPTION, "from 2 on");
	bad("redis://h?ssl_ca_certs=f", MR_BAD_OPTION, "rediss:// only");
	bad("redis+socket:///r.sock?ssl_ca_certs=f", MR_BAD_OPTION, "rediss:// only");
	bad("amqp://h", MR_BAD_URI, "unknown scheme");
}

static void has_hosts(const char *url, const char *hosts)
{
	struct mr_redis_address a = good(url);
	char text[200] = "";
	for (size_t i = 0; i < a.sentinel_count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%d ",
			a.sentinels[i].name, a.sentinels[i].port);
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s %d", a.service, (int)a.db);
	assert_string_equal(text, hosts);
	assert_null(a.host);
	mr_redis_address_fini(&a);
}

static void reads_sentinels(void **state)
{
	(void)state;
	has_hosts("sentinel://a?service_name=m", "a:26379 m 0");
	has_hosts("Sentinel://a,b:7,[::1]:8/2?service_name=m", "a:26379 b:7 ::1:8 m 2");
	has_hosts("sentinel://a,b;service_name=m", "a:26379 b:26379 m 0");
	has_hosts("sentinel://a/3;service_name=m;visibility_timeout=5", "a:26379 m 3");
	has_hosts("sentinel://a:1;sentinel://b:2/4?master_name=m", "a:1 b:2 m 4");
	has_hosts(
		"sentinel://a:1/5?visibility_timeout=5;sentinel://b:2/5;sentinel://c;master_name=m",
		"a:1 b:2 c:26379 m 5");
	struct mr_redis_address a =
		good("sentinel://a;sentinel://u:hop@b?sentinel_username=s&"
		     "sentinel_password=skip%3b&service_name=m&socket_timeout=3");
	assert_string_equal(a.user, "u");
	assert_string_equal(a.password, "hop");
	assert_string_equal(a.sentinel_user, "s");
	assert_string_equal(a.sentinel_password, "skip;");
	assert_int_equal(a.socket_timeout, 3000);
	mr_redis_address_fini(&a);
}

static void speaks(const char *options, bool master, bool sentinels)
{
	char url[200];
	snprintf(url, sizeof url, "sentinel://a,b;service_name=m%s", options);
	struct mr_redis_address a = good(url);
	assert_int_equal(a.use_tls, master);
	assert_int_equal(a.sentinel_tls, sentinels);
	mr_redis_address_fini(&a);
}

static void reads_who_of_sentinels_speaks_tls(void **state)
{
	(void)state;
	speaks("", false, false);
	speaks(";ssl=true&ssl_ca_certs=f", true, true);
	speaks(";ssl=False", false, false);
	speaks(";ssl=1;sentinel_ssl=0", true, false);
	speaks(";sentinel_ssl=false&ssl=true", true, false);
	speaks(";sentinel_ssl=true;ssl_ca_certs=f", false, true);
}

static void says_what_is_wrong_with_sentinels(void **state)
{
	(void)state;
	bad("sentinel://:hop@h:26379", MR_BAD_URI, "service_name=mymaster");
	bad("sentinel://h?service_name=", MR_BAD_URI, "service_name=mymaster");
	bad("sentinel://:hop@h:26379/mymaster?service_name=m", MR_BAD_URI, "number of a database");
	bad("sentinel://:hop@a;sentinel://:hup@b;service_name=m", MR_BAD_URI, "differ");
	bad("sentinel://a/1;sentinel://b/2;service_name=m", MR_BAD_URI, "differ");
	bad("sentinel://:h;hop@a?service_name=m", MR_BAD_URI, "port");
	bad("sentinel://a;redis://:hop@b;service_name=m", MR_BAD_URI, "key=value");
	bad("sentinel://a;service_name=m y", MR_BAD_URI, "blank");
	bad("sentinel://a;;service_name=m", MR_BAD_URI, "nothing behind a ;");
	bad("sentinel://a,,b;service_name=m", MR_BAD_URI, "empty host");
	bad("sentinel://a;servce_name=m", MR_BAD_OPTION, "did you mean \"service_name\"?");
	bad("sentinel://a;service_name=m;ssl_ca_certs=f", MR_BAD_OPTION, "ssl=true");
	bad("sentinel://a;service_name=m;ssl=yes", MR_BAD_OPTION, "true or false");
	bad("sentinel://a;service_name=m;sentinel_ssl=", MR_BAD_OPTION, "true or false");
	bad("redis://h?ssl=true", MR_BAD_OPTION, "sentinel:// only");
	bad("redis://h?service_name=m", MR_BAD_OPTION, "sentinel:// only");
	bad("redis://h?sentinel_password=hop", MR_BAD_OPTION, "sentinel:// only");
}

static void knows_its_own(void **state)
{
	char text[80];
	(void)state;
	assert_true(mr_redis_address_is(mr_slice_str("redis://h")));
	assert_true(mr_redis_address_is(mr_slice_str("Redis+Socket:///x")));
	assert_true(mr_redis_address_is(mr_slice_str("sentinel://h")));
	assert_false(mr_redis_address_is(mr_slice_str("redis:/h")));
	assert_false(mr_redis_address_is(mr_slice_str("amqp://h")));
	mr_uri_redact(text, sizeof text, "redis://u:hop@h/1", 17);
	assert_string_equal(text, "redis://u:***@h/1");
}

static void lacks_memory(const char *text)
{
	const mr_slice url = mr_slice_str(text);
	struct mr_redis_address a = {0};
	enum mr_status st;
	long n = 1, live = mr_alloc_live();
	do {
		mr_error error = {0};
		mr_alloc_fail_nth(n++);
		st = mr_redis_address_parse(&a, url, &error);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(error.kind, MR_NO_MEMORY);
		if (st != MR_OK) assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 8);
	mr_redis_address_fini(&a);
	assert_int_equal(mr_alloc_live(), live);
}

static void lacks_memory_cleanly(void **state)
{
	(void)state;
	lacks_memory("rediss://u:p@h/1?global_keyprefix=x&ssl_ca_certs=y");
	lacks_memory(
		"sentinel://a,b;sentinel://u:p@c/1?service_name=x;sentinel_password=y;sentinel_username=z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_kombus_defaults),
		cmocka_unit_test(reads_where_it_is),
		cmocka_unit_test(reads_the_options),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(reads_sentinels),
		cmocka_unit_test(reads_who_of_sentinels_speaks_tls),
		cmocka_unit_test(says_what_is_wrong_with_sentinels),
		cmocka_unit_test(knows_its_own),
		cmocka_unit_test(lacks_memory_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
