/* test_notices: what is told of the server that keeps a broker's messages: each notice once, whole, in its order.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "bridge/notices.h"

static struct mr_notices notices;

static int setup(void **state)
{
	(void)state;
	memset(&notices, 0, sizeof notices);
	return 0;
}

static void post(enum mr_notice_what what, const char *text, uint64_t count)
{
	struct mr_notice n = {.what = what, .count = count, .server = "here:1/0"};
	snprintf(n.text, sizeof n.text, "%s", text);
	mr_notices_post(&notices, &n);
}

static void gives_each_once_and_in_order(void **state)
{
	struct mr_notice n;
	(void)state;
	assert_false(mr_notices_take(&notices, &n));
	post(MR_NOTICE_REACHED, "", 0);
	post(MR_NOTICE_LOST, "gone", 3);
	assert_true(mr_notices_take(&notices, &n));
	assert_int_equal(n.what, MR_NOTICE_REACHED);
	assert_true(mr_notices_take(&notices, &n));
	assert_int_equal(n.what, MR_NOTICE_LOST);
	assert_string_equal(n.text, "gone");
	assert_int_equal(n.count, 3);
	assert_false(mr_notices_take(&notices, &n));
}

static void leaves_out_those_that_were_overwritten(void **state)
{
	struct mr_notice n;
	(void)state;
	for (unsigned i = 1; i <= MR_NOTICES_KEPT + 5; i++) post(MR_NOTICE_REFUSED, "", i);
	for (unsigned i = 6; i <= MR_NOTICES_KEPT + 5; i++) {
		assert_true(mr_notices_take(&notices, &n));
		assert_int_equal(n.count, i);
	}
	assert_false(mr_notices_take(&notices, &n));
}

static void keeps_the_state_apart(void **state)
{
	struct mr_notice n;
	(void)state;
	assert_false(mr_notices_state(&notices, &n));
	post(MR_NOTICE_REACHED, "", 0);
	post(MR_NOTICE_BLOCKED, "full", 0);
	assert_true(mr_notices_state(&notices, &n));
	assert_true(mr_notices_is_up(&n));
	n = (struct mr_notice){.what = MR_NOTICE_LOST, .text = "newer"};
	mr_notices_restate(&notices, &n);
	assert_true(mr_notices_state(&notices, &n));
	assert_false(mr_notices_is_up(&n));
	assert_string_equal(n.text, "newer");
	for (int i = 0; i < 2; i++) assert_true(mr_notices_take(&notices, &n));
	assert_false(mr_notices_take(&notices, &n)); /* that was not for the log */
	mr_notices_count(&notices, MR_NOTICES_LOSSES, 7);
	assert_int_equal(mr_notices_counted(&notices, MR_NOTICES_LOSSES), 7);
	assert_int_equal(mr_notices_counted(&notices, MR_NOTICES_COMMANDS), 0);
}

/* ---- lines ---- */

static char lines[4096];

static void sink(void *owner, int level, const char *line, size_t size)
{
	(void)owner;
	(void)level;
	size_t used = strlen(lines);
	snprintf(lines + used, sizeof lines - used, "%.*s\n", (int)size, line);
}

static void has(const char *text)
{
	if (!strstr(lines, text)) fail_msg("no %s in %s", text, lines);
}

static void logs_without_passwords(void **state)
{
	const struct mr_log log = {.sink = sink, .level = MR_LOG_INFO};
	struct mr_notice n = {.what = MR_NOTICE_NOT_REACHED,
		.kind = MR_AUTHENTICATION_FAILED,
		.server = "here:1/0",
		.text = "Redis: WRONGPASS at redis://me:secret@here"};
	(void)state;
	lines[0] = '\0';
	mr_notices_post(&notices, &n);
	post(MR_NOTICE_LOST, "gone", 12);
	n = (struct mr_notice){.what = MR_NOTICE_MOVED,
		.lasted = 1500,
		.server = "there:2/0",
		.was = "here:1/0",
		.version = "7.0.15",
		.role = "master"};
	mr_notices_post(&notices, &n);
	mr_notices_log(&notices, &log);
	has("level=warn msg=\"Redis is not reached\" server=here:1/0 kind=authentication_failed");
	has("redis://me:***@here");
	has("hint=\"are the user and the password");
	has("level=error msg=\"Redis is lost\" server=here:1/0 text=gone publishes=12");
	has("msg=\"another Redis is the master\" server=there:2/0 was=here:1/0 version=7.0.15 "
	    "role=master seconds=1.500");
	assert_null(strstr(lines, "secret"));
	size_t size = strlen(lines);
	mr_notices_log(&notices, &log);
	assert_int_equal(strlen(lines), size);
}

/* ---- two threads ---- */

#define POSTS 200000

static void *write_many(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= POSTS; i++) {
		struct mr_notice n = {.what = MR_NOTICE_LOST, .count = i};
		memset(n.text, (int)('a' + i % 26), sizeof n.text - 1);
		mr_notices_post(&notices, &n);
	}
	return NULL;
}

static void is_whole(const struct mr_notice *n)
{
	char letter = (char)('a' + n->count % 26);
	for (size_t i = 0; i < sizeof n->text - 1; i++)
		if (n->text[i] != letter) fail_msg("torn at %zu", i);
}

static void shows_whole_notices_while_it_is_written(void **state)
{
	pthread_t writer;
	struct mr_notice n;
	uint64_t last = 0;
	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_many, NULL), 0);
	while (last < POSTS) {
		if (mr_notices_take(&notices, &n)) {
			assert_true(n.count > last);
			last = n.count;
			is_whole(&n);
		}
		if (mr_notices_state(&notices, &n)) is_whole(&n);
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(gives_each_once_and_in_order, setup),
		cmocka_unit_test_setup(leaves_out_those_that_were_overwritten, setup),
		cmocka_unit_test_setup(keeps_the_state_apart, setup),
		cmocka_unit_test_setup(logs_without_passwords, setup),
		cmocka_unit_test_setup(shows_whole_notices_while_it_is_written, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
