/* test_failure: the errors of Redis, as ours.
 * SPDX-License-Identifier: MIT
 * Covers: runtime/base/redis_hint.c by mr_redis_hint
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/redis_hint.h"
#include "redis/failure.h"

static mr_error of(const char *text)
{
	mr_error error = {0};
	int kind = mr_failure_of_redis(&error, MR_SCOPE_CONNECTION, mr_slice_str(text));
	assert_int_equal(error.kind, kind);
	assert_int_equal(error.scope, MR_SCOPE_CONNECTION);
	return error;
}

static void has_a_kind_and_a_hint_for_each(void **state)
{
	static const struct {
		const char *text;
		int kind;
		const char *hint; /* a part of it */
	} cases[] = {
		{"OOM command not allowed when used memory > 'maxmemory'.", MR_RESOURCE_ERROR,
			"maxmemory"},
		{"READONLY You can't write against a read only replica.", MR_CONNECTION_FORCED,
			"replica"},
		{"LOADING Redis is loading the dataset in memory", MR_CONNECTION_FORCED,
			"by itself"},
		{"MASTERDOWN Link with MASTER is down", MR_CONNECTION_FORCED, "master"},
		{"NOAUTH Authentication required.", MR_AUTHENTICATION_FAILED, "password"},
		{"WRONGPASS invalid username-password pair or user is disabled.",
			MR_AUTHENTICATION_FAILED, "password"},
		{"NOPERM this user has no permissions to run the 'get' command", MR_ACCESS_REFUSED,
			"ACL"},
		{"NOSCRIPT No matching script. Please use EVAL.", MR_NOT_FOUND, "script"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value",
			MR_PRECONDITION_FAILED, "key"},
		{"BUSY Redis is busy running a script.", MR_RESOURCE_LOCKED, "SCRIPT KILL"},
		{"MISCONF Redis is configured to save RDB snapshots", MR_RESOURCE_ERROR, "disk"},
		{"CLUSTERDOWN The cluster is down", MR_NOT_IMPLEMENTED, "Cluster"},
		{"MOVED 3999 127.0.0.1:6381", MR_NOT_IMPLEMENTED, "Cluster"},
		{"EXECABORT Transaction discarded because of previous errors.",
			MR_PRECONDITION_FAILED, "transaction"},
		{"ERR max number of clients reached", MR_CONNECTION_LIMIT_REACHED, "maxclients"},
		{"ERR DB index is out of range", MR_NOT_FOUND, "databases"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mr_error error = of(cases[i].text);
		assert_int_equal(error.kind, cases[i].kind);
		if (!strstr(mr_error_hint(&error), cases[i].hint))
			fail_msg("%s: %s", error.text, mr_error_hint(&error));
	}
}

static void says_what_redis_said(void **state)
{
	mr_error error = of("WRONGTYPE Operation against a key holding the wrong kind of value");
	(void)state;
	assert_string_equal(error.text,
		"Redis: WRONGTYPE Operation against a key holding the wrong kind of value");
	error = of("MOVED 3999 127.0.0.1:6381");
	assert_string_equal(error.text, "Redis Cluster is not supported (MOVED)");
	error = of("SOMETHING new");
	assert_int_equal(error.kind, MR_INTERNAL_ERROR);
	assert_string_equal(error.text, "Redis: SOMETHING new");
	assert_int_equal(of("").kind, MR_INTERNAL_ERROR);
	/* of Redis 6, from within a script */
	error = of(
		"ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't "
		"write against a read only replica. ");
	assert_int_equal(error.kind, MR_CONNECTION_FORCED);
	assert_string_equal(error.text,
		"Redis: READONLY You can't write against a read only replica. ");
	assert_int_equal(of("ERR Error running script (call to f_1): @user_script:1: oops").kind,
		MR_INTERNAL_ERROR);
}

static void has_hints_of_sentinels(void **state)
{
	static const char *const cases[][2] = {
		{"no Sentinel was reached: Sentinel at h:1: nothing listens on that port", "26379"},
		{"no Sentinel was reached: Sentinel at h:1: the certificate of the peer is signed by an unknown CA",
			"ssl_ca_certs"},
		{"Redis at h:1: nothing listens on that port", "does it run"},
		{"Redis at /r.sock: nothing listens on that socket", "does it run"},
		{"Redis has not answered within 3 s", "overloaded"},
		{"Redis at h:1: the certificate of the peer is for another host name",
			"subjectAltName"},
		{"Sentinel at h:26379: knows no master \"x\"", "sentinel monitor"},
		{"Sentinel at h:26379: Redis: NOAUTH Authentication required.",
			"sentinel_password"},
		{"Sentinel at h:26379: Redis: WRONGPASS invalid", "for the master"},
		{"Sentinel at h:26379: Redis: ERR unknown command 'SENTINEL'", "no Sentinel"},
		{"Redis at h:6379 is a replica, and not the master that Sentinel says it is",
			"failover"},
		{"bad URL: sentinel:// needs the name of the master", "SENTINEL MASTERS"}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[200];
		assert_non_null(mr_redis_hint(cases[i][0]));
		assert_non_null(strstr(mr_redis_hint(cases[i][0]), cases[i][1]));
		/* The same, as a client of the broker in this process is told. */
		snprintf(text, sizeof text, "sentinel://h: CONNECTION_FORCED - %s", cases[i][0]);
		assert_string_equal(mr_redis_hint(text), mr_redis_hint(cases[i][0]));
	}
	assert_null(mr_redis_hint("CONNECTION_FORCED - by an operator"));
	assert_null(mr_redis_hint("Sentinel at h:1: no answer in time"));
}

static void quotes_no_arguments(void **state)
{
	mr_error error = of("ERR unknown command 'AUHT', with args beginning with: 'secret' 'x' ");
	(void)state;
	assert_int_equal(error.kind, MR_NOT_IMPLEMENTED);
	assert_string_equal(error.text, "Redis: ERR unknown command 'AUHT'");
	/* Not the hints of Redis for an error of RabbitMQ. */
	mr_error_set(&error, MR_RESOURCE_ERROR, MR_SCOPE_CONNECTION, 506, "OOM");
	assert_string_equal(mr_error_hint(&error), mr_status_hint(MR_RESOURCE_ERROR));
	assert_null(mr_redis_hint("OOM command not allowed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_a_kind_and_a_hint_for_each),
		cmocka_unit_test(says_what_redis_said),
		cmocka_unit_test(has_hints_of_sentinels),
		cmocka_unit_test(quotes_no_arguments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
