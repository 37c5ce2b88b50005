/* test_uri: URLs that are read, URLs that are refused, and what of them may be shown.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "config/uri.h"

/* user, password: NULL is not given. hosts as "name:port name:port". */
static const struct good {
	const char *url, *user, *password, *hosts, *vhost;
} good[] = {
	{"amqp://localhost", NULL, NULL, "localhost:5672", "/"},
	{"amqp://localhost/", NULL, NULL, "localhost:5672", "/"},
	{"amqp://localhost/%2f", NULL, NULL, "localhost:5672", "/"},
	{"amqp://localhost/%2F", NULL, NULL, "localhost:5672", "/"},
	{"amqp://", NULL, NULL, "localhost:5672", "/"},
	{"amqp:///vhost", NULL, NULL, "localhost:5672", "vhost"},
	{"amqp://user:pass@host:10000/vhost", "user", "pass", "host:10000", "vhost"},
	{"amqp://user%61:%61pass@ho%61st:10000/v%2fhost", "usera", "apass", "hoast:10000",
		"v/host"},
	{"amqps://user:pass@host", "user", "pass", "host:5671", "/"},
	{"AMQPS://host", NULL, NULL, "host:5671", "/"},
	{"amqp://user@", "user", NULL, "localhost:5672", "/"},
	{"amqp://user:pass@", "user", "pass", "localhost:5672", "/"},
	{"amqp://:@/", "", "", "localhost:5672", "/"},
	{"amqp://user:@host", "user", "", "host:5672", "/"},
	{"amqp://host:10000", NULL, NULL, "host:10000", "/"},
	{"amqp://:10000", NULL, NULL, "localhost:10000", "/"},
	{"amqp://[::1]", NULL, NULL, "::1:5672", "/"},
	{"amqp://[::1]:1", NULL, NULL, "::1:1", "/"},
	{"amqps://user:pass@[2001:db8::1]:6666/v", "user", "pass", "2001:db8::1:6666", "v"},
	{"amqp://a,b:1,[::2]:3/shop", NULL, NULL, "a:5672 b:1 ::2:3", "shop"},
	{"amqps://a;amqps://b:7", NULL, NULL, "a:5671 b:7", "/"},
	{"amqp://u:p@a/v;amqp://u:p@b/v", "u", "p", "a:5672 b:5672", "v"},
	{"amqp://u:p%3a%40x@host", "u", "p:@x", "host:5672", "/"},
	{"amqp://guest:guest@127.0.0.1:65535/a%20b", "guest", "guest", "127.0.0.1:65535", "a b"},
	{"memory://", NULL, NULL, ":5672", "/"},
	{"memory://shop/v", NULL, NULL, "shop:5672", "v"},
};

static const char *const bad[] = {"", "amqp", "amqp:", "amqp:/host", "http://host", "amqpx://host",
	"foo", "amqp://host:0", "amqp://host:65536", "amqp://host:x", "amqp://host:-1",
	"amqp://host:", "amqp://host:5672x", "amqp://[::1", "amqp://[]", "amqp://[::1]x",
	"amqp://[::1]:", "amqp://[foo]", "amqp://u%:p@h", "amqp://u%1:p@h", "amqp://u%zz@h",
	"amqp://h/a%", "amqp://h/a%0", "amqp://h/%00", "amqp://h/a/b", "amqp://a@b@c",
	"amqp:// host", " amqp://host", "amqp://host ", "amqp://ho\tst", "amqp://a,,b", "amqp://a,",
	"amqp://h?x", "amqp://h?=1", "amqp://h?a=1&", "amqp://h#f", "amqp://a;amqps://b",
	"amqp://u:p@a;amqp://u:q@b", "amqp://a/v;amqp://b/w", "amqp://a;"};

static void test_sound_urls_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct mr_uri uri;
		mr_error error = {0};
		char hosts[200] = "";
		enum mr_status st = mr_uri_parse(&uri, good[i].url, strlen(good[i].url), &error);
		if (st != MR_OK) fail_msg("%s: %s", good[i].url, error.text);
		for (size_t h = 0; h < uri.host_count; h++)
			snprintf(hosts + strlen(hosts), sizeof hosts - strlen(hosts), "%s%s:%u",
				h ? " " : "", uri.hosts[h].name, uri.hosts[h].port);
		assert_string_equal(hosts, good[i].hosts);
		assert_string_equal(uri.vhost, good[i].vhost);
		if (good[i].user)
			assert_string_equal(uri.user, good[i].user);
		else
			assert_null(uri.user);
		if (good[i].password)
			assert_string_equal(uri.password, good[i].password);
		else
			assert_null(uri.password);
		mr_uri_fini(&uri);
	}
}

static void test_unsound_urls_are_refused_with_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct mr_uri uri;
		mr_error error = {0};
		if (mr_uri_parse(&uri, bad[i], strlen(bad[i]), &error) == MR_OK)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(error.kind, MR_BAD_URI);
		assert_true(strlen(error.text) > 10);
	}
	struct mr_uri uri;
	assert_int_equal(mr_uri_parse(&uri, "amqp://h\0x", 10, NULL), MR_BAD_URI);
}

/* CONTRACT Q8. */
static void test_an_unknown_scheme_names_the_nearest(void **state)
{
	struct mr_uri uri;
	mr_error error = {0};
	(void)state;
	mr_uri_parse(&uri, "ampq://h", 8, &error);
	assert_non_null(strstr(error.text, "did you mean \"amqp\"?"));
}

static void test_the_query_is_decoded_in_order(void **state)
{
	struct mr_uri uri;
	const char *url = "amqp://h/v?heartbeat=30&name=a%20b%26c";
	(void)state;
	assert_int_equal(mr_uri_parse(&uri, url, strlen(url), NULL), MR_OK);
	assert_int_equal(uri.query_count, 2);
	assert_string_equal(uri.query[0].key, "heartbeat");
	assert_string_equal(uri.query[0].value, "30");
	assert_string_equal(uri.query[1].value, "a b&c");
	mr_uri_fini(&uri);
}

static void shows(const char *url, const char *expected)
{
	char out[200];
	assert_int_equal(mr_uri_redact(out, sizeof out, url, strlen(url)), strlen(expected));
	assert_string_equal(out, expected);
}

/* FAULTS S4. */
static void test_passwords_are_never_shown(void **state)
{
	(void)state;
	shows("amqp://u:secret@h/v", "amqp://u:***@h/v");
	shows("amqp://h/v", "amqp://h/v");
	shows("amqp://u@h", "amqp://u@h");
	shows("amqp://u:se@cret@h", "amqp://u:***@h");
	shows("amqp://u:s;x@h", "amqp://u:***@h");
	shows("amqp://u:one@a;amqp://u:two@b", "amqp://u:***@a;amqp://u:***@b");
	shows("ampq//u:secret@h", "ampq//u:***@h");
	shows("u:secret@h", "u:***@h");
	shows("amqp://h/?password=secret&name=x", "amqp://h/?password=***&name=x");
	shows("amqp://u:a@h/?PassWord=secret", "amqp://u:***@h/?PassWord=***");
	shows("sentinel://u:one@a:1,b:2/0?service_name=x",
		"sentinel://u:***@a:1,b:2/0?service_name=x");
	shows("sentinel://:one@a:1;sentinel://:two@b:2;service_name=x",
		"sentinel://:***@a:1;sentinel://:***@b:2;service_name=x");
	shows("sentinel://a:1;sentinel_password=secret;x=y",
		"sentinel://a:1;sentinel_password=***");
	shows("sentinel://:one@a?sentinel_password=se@cret&x=y", "sentinel://:***&x=y");
	shows("sentinel://a?sentinel_password=se@cret", "sentinel://a?sentinel_password=***");
	shows("sentinel://:se;cret@a;service_name=x", "sentinel://:***@a;service_name=x");
}

static void test_what_stands_for_a_scheme_is_not_shown_if_it_is_none(void **state)
{
	const char *url = "guest:secret://host";
	struct mr_uri uri;
	mr_error error = {0};
	(void)state;
	assert_int_equal(mr_uri_parse(&uri, url, strlen(url), &error), MR_BAD_URI);
	assert_null(strstr(error.text, "secret"));
}

static void test_redacting_into_little_room_still_terminates(void **state)
{
	char out[8];
	(void)state;
	assert_int_equal(mr_uri_redact(out, sizeof out, "amqp://u:secret@host", 20), 17);
	assert_string_equal(out, "amqp://");
}

static void test_no_failing_allocation_leaks(void **state)
{
	const char *url =
		"amqp://user:pass@a:1,b:2/vhost?heartbeat=3&name=x;amqp://user:pass@c/vhost";
	long live = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 200; n++) {
		struct mr_uri uri;
		mr_alloc_fail_nth(n);
		enum mr_status st = mr_uri_parse(&uri, url, strlen(url), NULL);
		mr_alloc_fail_nth(0);
		if (st == MR_OK)
			mr_uri_fini(&uri);
		else
			assert_int_equal(st, MR_NO_MEMORY);
		assert_int_equal(mr_alloc_live(), live);
		if (st == MR_OK) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound_urls_are_read),
		cmocka_unit_test(test_unsound_urls_are_refused_with_a_reason),
		cmocka_unit_test(test_an_unknown_scheme_names_the_nearest),
		cmocka_unit_test(test_the_query_is_decoded_in_order),
		cmocka_unit_test(test_passwords_are_never_shown),
		cmocka_unit_test(test_what_stands_for_a_scheme_is_not_shown_if_it_is_none),
		cmocka_unit_test(test_redacting_into_little_room_still_terminates),
		cmocka_unit_test(test_no_failing_allocation_leaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
