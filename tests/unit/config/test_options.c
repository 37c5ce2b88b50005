/* test_options: options by name, and what they become together.
 * Covers: runtime/config/config.c by mr_config_resolve
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/value.h"
#include "config/config.h"

static int set(mr_options *o, const char *name, const char *text, mr_error *error)
{
	return mr_options_string(o, name, text, strlen(text), error);
}

/* CONTRACT B2, N1, N2, N5, Q1, Q2, Q3, Q4, Q5, Q7, Q9. */
static void test_the_defaults_are_those_of_the_documents(void **state)
{
	mr_options *o = mr_options_new();
	struct mr_config c;
	(void)state;
	assert_int_equal(mr_config_resolve(&c, o, NULL), MR_OK);
	assert_string_equal(c.hosts[0].name, "localhost");
	assert_int_equal(c.hosts[0].port, 5672);
	assert_string_equal(c.user, "guest");
	assert_string_equal(c.password, "guest");
	assert_string_equal(c.vhost, "/");
	assert_true(strlen(c.name) > 0);
	assert_string_equal(c.mechanism, "PLAIN");
	assert_int_equal(c.heartbeat, 60);
	assert_int_equal(c.connect_timeout, 5000);
	assert_int_equal(c.socket_timeout, 10000);
	assert_int_equal(c.rpc_timeout, 10000);
	assert_int_equal(c.close_timeout, 5000);
	assert_int_equal(c.blocked_timeout, 0);
	assert_int_equal(c.channel_max, 2047);
	assert_int_equal(c.frame_max, 131072);
	assert_int_equal(c.max_message_size, 128 << 20);
	assert_false(c.tls);
	assert_true(c.tls_verify);
	mr_config_fini(&c);
	mr_options_free(o);
}

static void test_what_is_set_by_name_wins_over_the_url(void **state)
{
	mr_options *o = mr_options_new();
	struct mr_config c;
	(void)state;
	set(o, "url", "amqp://u:p@a:1,b/v?heartbeat=30&rpc_timeout=2.5", NULL);
	set(o, "userid", "me", NULL);
	mr_options_number(o, "heartbeat", 10, NULL);
	assert_int_equal(mr_config_resolve(&c, o, NULL), MR_OK);
	assert_string_equal(c.user, "me");
	assert_string_equal(c.password, "p");
	assert_int_equal(c.heartbeat, 10);
	assert_int_equal(c.rpc_timeout, 2500);
	assert_int_equal(c.host_count, 2);
	assert_int_equal(c.hosts[0].port, 1);
	assert_string_equal(c.url, "amqp://me@a:1/v");
	mr_config_fini(&c);
	mr_options_free(o);
}

/* CONTRACT E1, E2, Q5. */
static void test_tls_changes_the_port(void **state)
{
	mr_options *o = mr_options_new();
	struct mr_config c;
	(void)state;
	mr_options_boolean(o, "ssl", true, NULL);
	set(o, "hostname", "x,y", NULL);
	assert_int_equal(mr_config_resolve(&c, o, NULL), MR_OK);
	assert_true(c.tls);
	assert_int_equal(c.host_count, 2);
	assert_int_equal(c.hosts[1].port, 5671);
	mr_config_fini(&c);
	mr_options_number(o, "port", 7, NULL);
	assert_int_equal(mr_config_resolve(&c, o, NULL), MR_OK);
	assert_int_equal(c.hosts[0].port, 7);
	mr_config_fini(&c);
	mr_options_free(o);
}

/* The number of the first host, of three, for this random number. */
static int first_of(const char *order, uint64_t random)
{
	mr_options *o = mr_options_new();
	struct mr_config c;
	set(o, "hostname", "0,1,2", NULL);
	if (order) set(o, "hosts", order, NULL);
	assert_int_equal(mr_config_resolve(&c, o, NULL), MR_OK);
	mr_config_shuffle_hosts(&c, random);
	int sum = 0;
	for (size_t i = 0; i < 3; i++) sum += c.hosts[i].name[0] - '0';
	assert_int_equal(sum, 3); /* each is there once */
	int first = c.hosts[0].name[0] - '0';
	mr_config_fini(&c);
	mr_options_free(o);
	return first;
}

/* FIELD-C12 */
static void test_clients_spread_over_the_hosts_unless_these_have_an_order(void **state)
{
	int times[3] = {0};
	(void)state;
	for (uint64_t n = 1; n <= 3000; n++) times[first_of(NULL, n * 0x9e3779b97f4a7c15u)]++;
	for (int i = 0; i < 3; i++) assert_true(times[i] > 850 && times[i] < 1150);
	for (uint64_t n = 1; n <= 30; n++) assert_int_equal(first_of("in_order", n), 0);
	assert_int_equal(first_of("shuffled", 1), first_of(NULL, 1));
}

static void refused(int status, const mr_error *error, const char *part)
{
	assert_int_not_equal(status, MR_OK);
	assert_int_equal(error->scope, MR_SCOPE_CONFIG);
	if (!strstr(error->text, part)) fail_msg("\"%s\" does not say \"%s\"", error->text, part);
}

/* Names of other libraries, too (FIELD-W35). */
static void test_wrong_options_say_what_is_wrong_and_what_is_near(void **state)
{
	mr_options *o = mr_options_new();
	mr_error e = {0};
	(void)state;
	refused(set(o, "heartbeet", "1", &e), &e, "did you mean \"heartbeat\"?");
	refused(set(o, "host", "1", &e), &e, "did you mean \"hostname\"?");
	refused(set(o, "user", "1", &e), &e, "did you mean \"userid\"?");
	refused(set(o, "pass", "1", &e), &e, "did you mean \"password\"?");
	refused(set(o, "vhost", "1", &e), &e, "did you mean \"virtual_host\"?");
	refused(set(o, "ssl_options.cafile", "1", &e), &e,
		"did you mean \"ssl_options.ca_certs\"?");
	refused(set(o, "ssl_options.ca_cert", "1", &e), &e,
		"did you mean \"ssl_options.ca_certs\"?");
	refused(set(o, "heartbeat", "1", &e), &e, "must be a number, not a string");
	refused(mr_options_number(o, "heartbeat", -1, &e), &e, "from 0 to 65535");
	refused(mr_options_number(o, "heartbeat", 1.5, &e), &e, "whole");
	refused(mr_options_number(o, "port", 65536, &e), &e, "from 1 to 65535");
	refused(mr_options_number(o, "frame_max", 4095, &e), &e, "4096");
	refused(mr_options_number(o, "connect_timeout", 0, &e), &e, "connect_timeout");
	refused(mr_options_boolean(o, "url", true, &e), &e, "must be a string");
	refused(set(o, "auth", "kerberos", &e), &e, "\"plain\" or \"external\"");
	refused(set(o, "heartbeat_mode", "x", &e), &e, "\"thread\" or \"loop\"");
	refused(set(o, "ssl_options.min_version", "1.1", &e), &e, "\"1.2\" or \"1.3\"");
	refused(mr_options_string(o, "name", "a\0b", 3, &e), &e, "NUL");
	mr_options_free(o);
}

static void resolving(const char *url, enum mr_status kind, const char *part)
{
	mr_options *o = mr_options_new();
	struct mr_config c;
	mr_error e = {0};
	set(o, "url", url, NULL);
	int st = mr_config_resolve(&c, o, &e);
	assert_int_equal(st, kind);
	refused(st, &e, part);
	assert_null(strstr(e.text, "secret"));
	mr_options_free(o);
}

/* FAULTS S4. */
static void test_wrong_urls_are_refused_without_showing_the_password(void **state)
{
	(void)state;
	resolving("amqp://u:secret@h:x", MR_BAD_URI, "port");
	resolving("amqp://u:secret@h?heartbeet=1", MR_BAD_OPTION, "did you mean \"heartbeat\"?");
	resolving("amqp://u:secret@h?heartbeat=x", MR_BAD_OPTION, "must be a number");
	resolving("amqp://u:secret@h?client_properties=x", MR_BAD_OPTION, "must be a table");
	resolving("memory://a,b", MR_BAD_URI, "memory:// has one name");
	resolving("memory://a?ssl=true", MR_BAD_OPTION, "\"ssl\"");
}

static void test_no_failing_allocation_leaks(void **state)
{
	mr_options *o = mr_options_new();
	mr_table *t = mr_table_new();
	(void)state;
	mr_table_add_string(t, "team", mr_slice_str("ops"));
	set(o, "url", "amqps://u:p@a,b/v?heartbeat=3", NULL);
	mr_options_table(o, "client_properties", t, NULL);
	long live = mr_alloc_live();
	for (long n = 1; n < 200; n++) {
		struct mr_config c;
		mr_alloc_fail_nth(n);
		enum mr_status st = mr_config_resolve(&c, o, NULL);
		mr_alloc_fail_nth(0);
		if (st == MR_OK) mr_config_fini(&c);
		assert_int_equal(mr_alloc_live(), live);
		if (st != MR_OK) continue;
		mr_options_free(o);
		return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_defaults_are_those_of_the_documents),
		cmocka_unit_test(test_what_is_set_by_name_wins_over_the_url),
		cmocka_unit_test(test_tls_changes_the_port),
		cmocka_unit_test(test_clients_spread_over_the_hosts_unless_these_have_an_order),
		cmocka_unit_test(test_wrong_options_say_what_is_wrong_and_what_is_near),
		cmocka_unit_test(test_wrong_urls_are_refused_without_showing_the_password),
		cmocka_unit_test(test_no_failing_allocation_leaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
