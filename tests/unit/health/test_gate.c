/* test_gate: who sees which pages, and who may change anything.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "health/gate.h"

#define ALL (1u << MR_PAGE_ALL)
#define CONSOLE (1u << MR_PAGE_CONSOLE)
#define VIEWERS (1u << MR_PAGE_VIEWERS)
#define ADMINS (1u << MR_PAGE_ADMINS)

static struct mr_gate gate;

static int teardown(void **state)
{
	(void)state;
	mr_gate_fini(&gate);
	return 0;
}

static void open_at(int where, const char *token, const char *address)
{
	mr_gate_set(&gate, where, token ? mr_strdup_n(token, strlen(token)) : NULL);
	mr_gate_open(&gate, address);
}

static unsigned get(const char *host)
{
	const struct mr_httpd_request request = {.host = mr_slice_str(host)};
	return mr_gate_audiences(&gate, &request);
}

static unsigned post(const char *authorization)
{
	const struct mr_httpd_request request = {.host = mr_slice_str("127.0.0.1"),
		.authorization = mr_slice_str(authorization),
		.is_post = true};
	return mr_gate_audiences(&gate, &request);
}

static void shows_the_page_at_loopback_addresses_and_paths(void **state)
{
	static const char *const here[] = {"127.0.0.1", "127.9.9.9", "::1", "localhost", "/tmp/x"};
	static const char *const there[] = {"0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "1.2.7.0"};
	(void)state;
	for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
		open_at(MR_SHOW_LOCAL, NULL, here[i]);
		assert_int_equal(get("127.0.0.1"), ALL | VIEWERS);
		open_at(MR_SHOW_NOWHERE, NULL, here[i]);
		assert_int_equal(get("127.0.0.1"), ALL);
	}
	for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
		open_at(MR_SHOW_LOCAL, NULL, there[i]);
		assert_int_equal(get("127.0.0.1"), ALL);
		assert_false(mr_gate_is_open(&gate));
		open_at(MR_SHOW_EVERYWHERE, NULL, there[i]);
		assert_int_equal(get("shop.example"), ALL | VIEWERS);
	}
}

static void does_not_show_it_to_requests_by_another_name(void **state)
{
	static const char *const good[] = {"", "127.0.0.1", "127.0.0.1:8080", "localhost",
		"LocalHost:8080", "[::1]", "[::1]:8080", "192.0.2.7:80"};
	static const char *const bad[] = {"evil.example", "evil.example:8080",
		"127.0.0.1.evil.example", "localhost.evil.example", "[evil]", "::1", "[::1",
		"0123456789012345678901234567890123456789012345678901234567890123456789"};
	(void)state;
	open_at(MR_SHOW_LOCAL, NULL, "127.0.0.1");
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(get(good[i]), ALL | VIEWERS);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(get(bad[i]), ALL);
	open_at(MR_SHOW_LOCAL, NULL, "/tmp/x"); /* no browser's scripts get there */
	assert_int_equal(get("worker"), ALL | VIEWERS);
}

static void lets_only_the_token_change_anything(void **state)
{
	static const char *const bad[] = {"", "Bearer", "Bearer ", "Bearer secre", "Bearer secret!",
		"Bearer secretsecret", "Bearer Secret", "Basic secret", "secret"};
	(void)state;
	open_at(MR_SHOW_LOCAL, "secret", "127.0.0.1");
	assert_int_equal(post("Bearer secret"), ADMINS);
	assert_int_equal(post("bearer secret"), ADMINS);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(post(bad[i]), 0);
	assert_int_equal(get("127.0.0.1"), ALL | VIEWERS);
	open_at(MR_SHOW_LOCAL, "secret",
		"192.0.2.1"); /* who does not see the page does not change */
	assert_int_equal(post("Bearer secret"), 0);
	assert_false(mr_gate_is_open(&gate)); /* so that the token is not said to be wrong */
	open_at(MR_SHOW_LOCAL, NULL, "127.0.0.1");
	assert_int_equal(post("Bearer secret"), 0);
}

static void does_not_show_it_through_a_proxy(void **state)
{
	static const char *const at[] = {"127.0.0.1", "/tmp/x"};
	const struct mr_httpd_request request = {.host = mr_slice_str("127.0.0.1"),
		.is_forwarded = true};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		open_at(MR_SHOW_LOCAL, NULL, at[i]);
		assert_int_equal(mr_gate_audiences(&gate, &request), ALL);
		open_at(MR_SHOW_EVERYWHERE, NULL, at[i]);
		assert_int_equal(mr_gate_audiences(&gate, &request), ALL | VIEWERS);
	}
}

static void asks_for_a_local_name_at_a_loopback_address_always(void **state)
{
	(void)state;
	open_at(MR_SHOW_EVERYWHERE, NULL, "127.0.0.1");
	assert_int_equal(get("evil.example"), ALL);
	assert_int_equal(get("127.0.0.1:8080"), ALL | VIEWERS);
}

static void keeps_the_token_until_the_next_server_or_until_it_is_told(void **state)
{
	(void)state;
	open_at(MR_SHOW_LOCAL, "secret", "127.0.0.1");
	mr_gate_set(&gate, MR_SHOW_NOWHERE, NULL);
	assert_null(mr_gate_next_token(&gate));
	assert_int_equal(post("Bearer secret"), ADMINS);
	mr_gate_apply(&gate);
	assert_int_equal(post("Bearer secret"), 0);
	assert_false(mr_gate_is_open(&gate));
}

static void knows_the_console(void **state)
{
	const struct mr_httpd_request request = {.is_private = true, .is_post = true};
	(void)state;
	open_at(MR_SHOW_NOWHERE, NULL, "127.0.0.1");
	assert_int_equal(mr_gate_audiences(&gate, &request), ALL | CONSOLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(shows_the_page_at_loopback_addresses_and_paths, teardown),
		cmocka_unit_test_teardown(does_not_show_it_to_requests_by_another_name, teardown),
		cmocka_unit_test_teardown(lets_only_the_token_change_anything, teardown),
		cmocka_unit_test_teardown(does_not_show_it_through_a_proxy, teardown),
		cmocka_unit_test_teardown(asks_for_a_local_name_at_a_loopback_address_always,
			teardown),
		cmocka_unit_test_teardown(keeps_the_token_until_the_next_server_or_until_it_is_told,
			teardown),
		cmocka_unit_test_teardown(knows_the_console, teardown)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
