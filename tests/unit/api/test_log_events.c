/* test_log_events: a host that takes log lines as events.
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit.h"

#define STORM 100000

static mr_runtime *rt;
static int real_stderr, errors_fd; /* what is written to standard error can be read there */
static int ready_fd;               /* has a byte to read */

static int begin(void **state)
{
	int fds[2];
	(void)state;
	real_stderr = dup(2);
	assert_int_equal(pipe(fds), 0);
	errors_fd = fds[0];
	assert_int_equal(dup2(fds[1], 2), 2);
	close(fds[1]);
	fcntl(errors_fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(pipe(fds), 0);
	ready_fd = fds[0];
	close(fds[1]); /* at its end: readable */
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	assert_int_equal(mr_runtime_log(rt, MR_LOG_INFO, MR_LOG_LOGFMT), MR_OK);
	assert_int_equal(mr_runtime_log_events(rt, true), MR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 1);
	rt = NULL;
	dup2(real_stderr, 2);
	close(real_stderr);
	close(errors_fd);
	close(ready_fd);
	return 0;
}

/* What was written to standard error, at most 64 KiB of it; valid until the next call. */
static const char *errors(void)
{
	static char text[65536];
	ssize_t n = read(errors_fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void say(int level, const char *text) { mr_log_write(rt, level, text, strlen(text), NULL); }

/* Waits for a line with this text; its level. */
static int wait_line(const char *text, double timeout)
{
	double deadline = mr_now() + timeout;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, timeout) != 1) continue;
		bool is_it = ev.type == MR_EV_LOG && strstr(ev.as.log.line, text);
		int level = is_it ? ev.as.log.level : -1;
		if (is_it) assert_int_equal(strlen(ev.as.log.line), ev.as.log.size);
		mr_event_fini(&ev);
		if (is_it) return level;
	}
	return -1;
}

static bool is_readable(int ms)
{
	struct pollfd pfd = {.fd = mr_runtime_fd(rt), .events = POLLIN};
	return poll(&pfd, 1, ms) == 1;
}

static void fail_to_connect(uint64_t token)
{
	mr_connection *c;
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "amqp://127.0.0.1:1", 18, &error), MR_OK);
	assert_int_equal(mr_options_number(o, "connection_attempts", 1, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(c, token), MR_OK);
}

static void test_lines_of_host_and_thread_come_as_events(void **state)
{
	(void)state;
	mr_log_write(rt, MR_LOG_INFO, "of the host", 11, NULL);
	assert_int_equal(wait_line("msg=\"of the host\"", 10), MR_LOG_INFO);
	fail_to_connect(1);
	assert_true(wait_line("127.0.0.1", 10) >= 0); /* wakes the poll, which sleeps */
	assert_string_equal(errors(), "");
}

static void test_a_line_makes_the_descriptor_readable(void **state)
{
	mr_event ev;
	(void)state;
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	assert_false(is_readable(0));
	say(MR_LOG_WARN, "one");
	say(MR_LOG_WARN, "two");
	for (int i = 0; i < 2; i++) {
		assert_true(is_readable(0));
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 1);
		mr_event_fini(&ev);
	}
	assert_false(is_readable(0));
	say(MR_LOG_DEBUG, "below the level");
	assert_false(is_readable(0));
}

static void test_a_storm_costs_nobody_and_is_counted(void **state)
{
	mr_stats stats;
	uint64_t lines = 0, reported = 0;
	bool is_done = false;
	(void)state;
	assert_int_equal(mr_watch_fd(rt, 7, ready_fd, MR_FD_READ), MR_OK);
	double begun = mr_now();
	for (int i = 0; i < STORM; i++) say(MR_LOG_ERROR, "storm");
	assert_true(mr_now() - begun < 5); /* nobody waits: to write each takes longer */
	double deadline = mr_now() + 20;
	while ((!is_done || !reported) && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		is_done |= ev.type == MR_EV_FD;
		const char *dropped = NULL;
		if (ev.type == MR_EV_LOG) {
			dropped = strstr(ev.as.log.line, "msg=\"log lines were dropped\" lines=");
			lines += !dropped;
			if (dropped) reported += strtoull(strrchr(dropped, '=') + 1, NULL, 10);
		}
		mr_event_fini(&ev);
	}
	assert_true(is_done);
	mr_runtime_stats(rt, &stats);
	assert_int_equal(reported, stats.log_dropped);
	assert_int_equal(lines + reported, STORM);
	assert_in_range(lines, 100, 10000);
	assert_string_equal(errors(), "");
}

/* Lines and other events that wait together: how many of each came. */
static void test_neither_starves_the_other(void **state)
{
	enum { EACH = 400 };
	(void)state;
	for (int max = 1; max <= 16; max *= 16) {
		int others = 0, lines = 0;
		for (uint64_t token = 1; token <= EACH; token++)
			assert_int_equal(mr_watch_fd(rt, token, 1000000, MR_FD_READ), MR_OK);
		for (int i = 0; i < EACH; i++) say(MR_LOG_INFO, "x");
		while (others < EACH) {
			mr_event ev[16];
			int n = mr_runtime_poll(rt, ev, max, 10);
			assert_true(n > 0);
			for (int i = 0; i < n; i++) {
				lines += ev[i].type == MR_EV_LOG;
				others += ev[i].type == MR_EV_FD;
				mr_event_fini(&ev[i]);
			}
			if (others == EACH / 2) assert_true(lines >= 10);
		}
		assert_true(lines >= EACH / 5);
		while (lines < EACH) {
			mr_event ev;
			assert_int_equal(mr_runtime_poll(rt, &ev, 1, 10), 1);
			lines += ev.type == MR_EV_LOG;
			mr_event_fini(&ev);
		}
	}
}

static void test_what_is_left_goes_to_standard_error(void **state)
{
	(void)state;
	for (int i = 0; i < STORM / 10; i++) say(MR_LOG_INFO, "not polled");
	mr_stats stats;
	char count[32];
	mr_runtime_stats(rt, &stats);
	assert_true(stats.log_dropped > 0);
	snprintf(count, sizeof count, "lines=%d\n", (int)stats.log_dropped);
	/* A pipe holds 64 KiB. */
	char *all = NULL;
	size_t size = 0;
	fcntl(2, F_SETPIPE_SZ, 1 << 20);
	mr_runtime_free(rt, 1);
	FILE *in = fdopen(dup(errors_fd), "r");
	ssize_t n = getdelim(&all, &size, '\0', in);
	fclose(in);
	assert_true(n > 0);
	assert_non_null(strstr(all, "msg=\"not polled\"\n"));
	assert_non_null(strstr(all, count));
	free(all);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
}

static void test_a_line_may_go_to_standard_error_nevertheless(void **state)
{
	mr_event ev;
	(void)state;
	say(MR_LOG_ERROR | MR_LOG_STDERR, "formatted");
	const char *text = errors();
	assert_non_null(strstr(text, "level=error msg=formatted\n"));
	say(MR_LOG_ERROR | MR_LOG_STDERR | MR_LOG_LINE, "as it is");
	assert_string_equal(errors(), "as it is\n");
	say(MR_LOG_DEBUG | MR_LOG_STDERR | MR_LOG_LINE, "below the level");
	assert_string_equal(errors(), "");
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	say(MR_LOG_ERROR | MR_LOG_LINE, "as it is, as an event");
	assert_int_equal(wait_line("as it is, as an event", 10), MR_LOG_ERROR);
}

static void test_it_can_be_ended_and_begun_again(void **state)
{
	mr_event ev;
	(void)state;
	assert_int_equal(mr_runtime_log_events(rt, false), MR_OK);
	say(MR_LOG_ERROR, "to standard error");
	assert_non_null(strstr(errors(), "msg=\"to standard error\"\n"));
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	assert_int_equal(mr_runtime_log_events(rt, true), MR_OK);
	assert_int_equal(mr_runtime_log(rt, MR_LOG_WARN, MR_LOG_JSON), MR_OK); /* keeps it so */
	assert_int_equal(mr_runtime_worker(rt, 3), MR_OK);
	say(MR_LOG_WARN, "event");
	assert_int_equal(wait_line("\"msg\":\"event\",\"worker\":3}", 10), MR_LOG_WARN);
	assert_string_equal(errors(), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_lines_of_host_and_thread_come_as_events),
		TEST(test_a_line_makes_the_descriptor_readable),
		TEST(test_a_storm_costs_nobody_and_is_counted),
		TEST(test_neither_starves_the_other),
		TEST(test_what_is_left_goes_to_standard_error),
		TEST(test_a_line_may_go_to_standard_error_nevertheless),
		TEST(test_it_can_be_ended_and_begun_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
