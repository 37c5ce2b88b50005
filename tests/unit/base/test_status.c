/* test_status: kinds, structured errors, escaping and near misses.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/status.h"

static void test_every_kind_has_a_name_and_a_text(void **state)
{
	(void)state;
	assert_int_equal(mr_status_count(), MR_STATUS_COUNT);
	for (int kind = 0; kind < MR_STATUS_COUNT; kind++) {
		assert_non_null(mr_status_text(kind));
		assert_string_not_equal(mr_status_name(kind), "unknown");
		assert_true(strlen(mr_status_text(kind)) > 0);
	}
	assert_string_equal(mr_status_name(MR_CONNECTION_REFUSED), "connection_refused");
	assert_string_equal(mr_status_name(-1), "unknown");
	assert_string_equal(mr_status_name(MR_STATUS_COUNT), "unknown");
}

/* FIELD-C15, FIELD-W35: the hint fits the text. */
static void test_a_hint_fits_the_cause_where_a_kind_has_several(void **state)
{
	static const struct {
		int kind, code;
		const char *text, *hint;
	} cases[] = {
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 's' in vhost '/''",
			"ch:qos"},
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out",
			"consumer_timeout"},
		{MR_PRECONDITION_FAILED, 406, "PRECONDITION_FAILED - unknown delivery tag 5",
			"settled once"},
		{MR_PRECONDITION_FAILED, 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
			"if_unused"},
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - queue 'q' in vhost '/' is not empty", "if_empty"},
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - cannot switch from confirm to tx mode",
			"another one"},
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - invalid expiration 'soon': {bad_integer}",
			"milliseconds"},
		{MR_TIMEOUT, 0, "the broker did not send queue.declare-ok in time",
			"may still have taken effect"},
		{MR_BAD_ARGUMENT, 0, "\"here\" is not ADDRESS:PORT", "the text says"},
		{MR_PRECONDITION_FAILED, 406,
			"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received",
			"From classic to quorum"},
		{MR_NOT_FOUND, 404,
			"NOT_FOUND - home node 'mr@localhost' of durable queue 'q' in vhost '/' is down or inaccessible",
			"node"},
		{MR_COMMAND_INVALID, 503,
			"COMMAND_INVALID - unknown exchange type 'x-consistent-hash'",
			"rabbitmq-plugins enable"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mr_error e;
		mr_error_set(&e, (enum mr_status)cases[i].kind, MR_SCOPE_CHANNEL, cases[i].code,
			"%s", cases[i].text);
		assert_non_null(strstr(mr_error_hint(&e), cases[i].hint));
		assert_string_not_equal(mr_error_hint(&e), mr_status_hint(cases[i].kind));
		if (cases[i].code) /* FIELD-C8: the node may be back */
			assert_int_equal(e.recoverable, cases[i].code != 406);
	}
}

static void test_every_kind_but_two_has_a_hint_of_its_own(void **state)
{
	(void)state;
	for (int a = 1; a < MR_STATUS_COUNT; a++) {
		if (a == MR_EMPTY) continue;
		assert_true(strlen(mr_status_hint(a)) > 0);
	}
	/* FIELD-W35: no promise for what was never sent, and commands that there are. */
	assert_null(strstr(mr_status_hint(MR_TIMEOUT), "taken effect"));
	assert_non_null(strstr(mr_status_hint(MR_BLOCKED_TIMEOUT), "rabbitmq-diagnostics alarms"));
	/* FIELD-W32: it names no port, which would be another one than that of the connection. */
	assert_null(strstr(mr_status_hint(MR_CONNECTION_REFUSED), "567"));
	assert_string_not_equal(mr_status_hint(MR_ACCESS_REFUSED),
		mr_status_hint(MR_AUTHENTICATION_FAILED));
	assert_string_not_equal(mr_status_hint(MR_ACCESS_REFUSED),
		mr_status_hint(MR_VHOST_ACCESS_REFUSED));
}

/* CONTRACT K3. */
static void test_reply_codes_have_their_kinds(void **state)
{
	(void)state;
	assert_int_equal(mr_status_of_code(403), MR_ACCESS_REFUSED);
	assert_int_equal(mr_status_of_code(404), MR_NOT_FOUND);
	assert_int_equal(mr_status_of_code(405), MR_RESOURCE_LOCKED);
	assert_int_equal(mr_status_of_code(406), MR_PRECONDITION_FAILED);
	assert_int_equal(mr_status_of_code(320), MR_CONNECTION_FORCED);
	assert_int_equal(mr_status_of_code(541), MR_INTERNAL_ERROR);
	assert_int_equal(mr_status_of_code(999), MR_INTERNAL_ERROR);
}

static void test_an_error_carries_kind_code_scope_and_text(void **state)
{
	mr_error e;
	(void)state;
	assert_int_equal(
		mr_error_set(&e, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404, "no queue '%s'", "q"),
		MR_NOT_FOUND);
	assert_int_equal(e.kind, MR_NOT_FOUND);
	assert_int_equal(e.code, 404);
	assert_int_equal(e.scope, MR_SCOPE_CHANNEL);
	assert_string_equal(e.text, "no queue 'q'");
	assert_int_equal(mr_error_set(NULL, MR_TIMEOUT, MR_SCOPE_NONE, 0, "x"), MR_TIMEOUT);
}

static void test_an_error_of_the_system_names_errno(void **state)
{
	mr_error e;
	(void)state;
	mr_error_system(&e, MR_CONNECTION_REFUSED, MR_SCOPE_CONNECTION, ECONNREFUSED,
		"cannot connect");
	assert_int_equal(e.system, ECONNREFUSED);
	assert_string_equal(e.text, "cannot connect: Connection refused");
}

static void test_a_copy_of_an_error_says_the_same_or_there_is_none(void **state)
{
	mr_error e;
	(void)state;
	mr_error_set(&e, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404, "no queue '%s'", "q");
	mr_error *copy = mr_error_copy(&e);
	assert_memory_equal(copy, &e, sizeof e);
	mr_free(copy);
	mr_alloc_fail_nth(1);
	assert_null(mr_error_copy(&e));
	mr_alloc_fail_nth(0);
}

static void test_an_error_is_kept_as_long_as_there_is_one(void **state)
{
	mr_error e, none = {0};
	const mr_error *kept = NULL;
	long before = mr_alloc_live();
	(void)state;
	assert_int_equal(mr_error_kept(kept)->kind, MR_OK);
	mr_error_set(&e, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404, "no queue '%s'", "q");
	mr_error_keep(&kept, &e);
	assert_memory_equal(mr_error_kept(kept), &e, sizeof e);
	mr_error_keep(&kept, kept);
	assert_memory_equal(mr_error_kept(kept), &e, sizeof e);
	assert_int_equal(mr_alloc_live(), before + 1);
	mr_error_keep(&kept, &none);
	assert_null(kept);
	assert_int_equal(mr_alloc_live(), before);
}

/* A refused login that became "out of memory" would be tried again at once, and lock the account. */
static void test_an_error_that_cannot_be_kept_keeps_its_kind(void **state)
{
	mr_error e;
	const mr_error *kept = NULL;
	long before = mr_alloc_live();
	(void)state;
	for (int kind = 1; kind < MR_STATUS_COUNT; kind++) {
		mr_error_set(&e, kind, MR_SCOPE_CHANNEL, 0, "'%s'", "q");
		mr_alloc_fail_nth(1);
		mr_error_keep(&kept, &e);
		mr_alloc_fail_nth(0);
		assert_int_equal(mr_error_kept(kept)->kind, kind);
		assert_string_equal(kept->text, mr_status_text(kind));
		assert_int_equal(kept->recoverable, mr_status_recoverable(kind));
		assert_true(!kept->code || kind == MR_NO_MEMORY ||
			    mr_status_of_code(kept->code) == (enum mr_status)kind);
		mr_error_keep(&kept, kept); /* there is memory again */
		assert_int_equal(kept->kind, kind);
		assert_int_equal(mr_alloc_live(), before + 1);
		mr_error_keep(&kept, NULL);
		assert_null(kept);
	}
	mr_error_set(&e, MR_FRAME_ERROR, MR_SCOPE_CONNECTION, 501, "odd");
	mr_alloc_fail_nth(1);
	mr_error_keep(&kept, &e);
	mr_alloc_fail_nth(0);
	assert_int_equal(kept->code, 501);
	mr_error_keep(&kept, NULL);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_an_error_takes_the_place_of_another_without_more_memory(void **state)
{
	mr_error e;
	const mr_error *kept = NULL;
	(void)state;
	mr_error_set(&e, MR_NOT_FOUND, MR_SCOPE_CHANNEL, 404, "no queue '%s'", "q");
	mr_error_keep(&kept, &e);
	mr_error_set(&e, MR_ACCESS_REFUSED, MR_SCOPE_CHANNEL, 403, "not yours");
	mr_alloc_fail_nth(1);
	mr_error_keep(&kept, &e);
	mr_error_keep(&kept, kept);
	mr_alloc_fail_nth(0);
	assert_memory_equal(kept, &e, sizeof e);
	mr_error_keep(&kept, NULL);
}

static void test_a_long_text_is_cut_and_terminated(void **state)
{
	char text[2000];
	mr_error e;
	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	mr_error_set(&e, MR_TIMEOUT, MR_SCOPE_NONE, 0, "%s", text);
	assert_true(strlen(e.text) < sizeof e.text);
	assert_true(strlen(e.text) > 400);
}

static void escapes_to(const char *raw, size_t size, const char *expected)
{
	char out[64];
	assert_int_equal(mr_error_escape(out, sizeof out, raw, size), strlen(expected));
	assert_string_equal(out, expected);
}

/* FAULTS S8. */
static void test_what_a_terminal_would_obey_is_escaped(void **state)
{
	(void)state;
	escapes_to("plain", 5, "plain");
	escapes_to("a\033[2Jb", 6, "a\\x1b[2Jb");
	escapes_to("a\0b", 3, "a\\x00b");
	escapes_to("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
	escapes_to("\xc2\x9b", 2, "\\xc2\\x9b");          /* C1: a control sequence in 8 bits */
	escapes_to("\xc0\xaf", 2, "\\xc0\\xaf");          /* overlong */
	escapes_to("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); /* a surrogate */
	escapes_to("\xe2\x82", 2, "\\xe2\\x82");          /* cut short */
}

static void test_escaping_stops_before_the_end_of_its_room(void **state)
{
	char out[4];
	(void)state;
	assert_int_equal(mr_error_escape(out, sizeof out, "abcdef", 6), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(mr_error_escape(out, sizeof out, "\001", 1), 0);
	assert_string_equal(out, "");
}

static void test_the_nearest_name_is_found_and_a_far_one_is_not(void **state)
{
	static const char *const names[] = {"heartbeat", "hostname", "port"};
	(void)state;
	assert_string_equal(mr_error_nearest("heartbeet", 9, names, 3), "heartbeat");
	assert_string_equal(mr_error_nearest("prt", 3, names, 3), "port");
	assert_null(mr_error_nearest("zzzzzzzz", 8, names, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_has_a_name_and_a_text),
		cmocka_unit_test(test_every_kind_but_two_has_a_hint_of_its_own),
		cmocka_unit_test(test_a_hint_fits_the_cause_where_a_kind_has_several),
		cmocka_unit_test(test_reply_codes_have_their_kinds),
		cmocka_unit_test(test_an_error_carries_kind_code_scope_and_text),
		cmocka_unit_test(test_an_error_of_the_system_names_errno),
		cmocka_unit_test(test_a_copy_of_an_error_says_the_same_or_there_is_none),
		cmocka_unit_test(test_an_error_is_kept_as_long_as_there_is_one),
		cmocka_unit_test(test_an_error_that_cannot_be_kept_keeps_its_kind),
		cmocka_unit_test(test_an_error_takes_the_place_of_another_without_more_memory),
		cmocka_unit_test(test_a_long_text_is_cut_and_terminated),
		cmocka_unit_test(test_what_a_terminal_would_obey_is_escaped),
		cmocka_unit_test(test_escaping_stops_before_the_end_of_its_room),
		cmocka_unit_test(test_the_nearest_name_is_found_and_a_far_one_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
