/* test_log: log lines that nobody reads cost nobody anything; those that somebody reads come in order.
 * Covers: runtime/bridge/logger.c by lines
 * Covers: runtime/engine/writer.c by dropped
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit.h"

#define LINES 3000 /* more than a pipe and the ring hold together */

static mr_runtime *rt;
static int real_stderr, pipe_fds[2];
static int fill; /* bytes that were in the pipe before */

static void fill_pipe(int fd)
{
	char scrap[4096] = {0};
	int flags = fcntl(fd, F_GETFL);
	ssize_t n;
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	for (size_t size = sizeof scrap; size >= 1; size = size > 1 ? 1 : 0) {
		memset(scrap, '\n', sizeof scrap);
		while ((n = write(fd, scrap, size)) > 0) fill += (int)n;
		if (size == 1) break;
	}
	fcntl(fd, F_SETFL, flags);
}

static int begin(void **state)
{
	(void)state;
	fill = 0;
	real_stderr = dup(2);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(dup2(pipe_fds[1], 2), 2);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, MR_LOG_DEBUG, MR_LOG_LOGFMT);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (rt) mr_runtime_free(rt, 1);
	dup2(real_stderr, 2);
	close(real_stderr);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

static void say(int level, int number)
{
	char text[64];
	int n = snprintf(text, sizeof text, "line-%05d-", number);
	mr_log_write(rt, level, text, (size_t)n, NULL);
}

static void say_many(void)
{
	for (int i = 0; i < LINES; i++) say(i % 100 ? MR_LOG_INFO : MR_LOG_ERROR, i);
}

static mr_connection *connect_to(const char *url, uint64_t token)
{
	mr_connection *c;
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", url, strlen(url), &error), MR_OK);
	assert_int_equal(mr_options_number(o, "connection_attempts", 1, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(c, token), MR_OK);
	return c;
}

static int wait_done(uint64_t token)
{
	double deadline = mr_now() + 20;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = ev.status;
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	fail_msg("request %d never ended", (int)token);
	return -1;
}

static uint64_t dropped(void)
{
	mr_stats stats;
	mr_runtime_stats(rt, &stats);
	return stats.log_dropped;
}

/* FIELD-R8 */
static void test_a_stuck_standard_error_stops_neither_thread(void **state)
{
	(void)state;
	fill_pipe(2);
	double begun = mr_now();
	say_many();
	/* Two seconds are a bound for the host on a busy machine; it waits for a fifth of one. */
	assert_true(mr_now() - begun < 2);
	for (uint64_t token = 1; token < 40; token++) {
		mr_connection *c = connect_to("amqp://127.0.0.1:1/", token);
		assert_int_equal(wait_done(token), MR_CONNECTION_REFUSED);
		mr_connection_free(c);
	}
	connect_to("memory://", 50);
	assert_int_equal(wait_done(50), MR_OK);
	assert_true(dropped() > 0);
	begun = mr_now();
	mr_runtime_free(rt, 1);
	assert_true(mr_now() - begun < 5);
	rt = NULL;
}

/* Reads lines until the one that begins with `last` has come; calls look for each. */
static void read_lines(const char *last, void (*look)(const char *line))
{
	char text[16384];
	size_t used = 0;
	for (;;) {
		struct pollfd wait = {.fd = pipe_fds[0], .events = POLLIN};
		if (poll(&wait, 1, 20000) != 1) fail_msg("%s never came", last);
		ssize_t n = read(pipe_fds[0], text + used, sizeof text - used - 1);
		assert_true(n > 0);
		used += (size_t)n;
		text[used] = '\0';
		char *line = text, *next;
		while ((next = strchr(line, '\n'))) {
			*next = '\0';
			if (*line) look(line);
			if (strstr(line, last)) return;
			line = next + 1;
		}
		used = strlen(line);
		memmove(text, line, used + 1);
	}
}

static int seen, previous, told;

static void look_at_order(const char *line)
{
	const char *number = strstr(line, "line-"), *count = strstr(line, " lines=");
	assert_int_equal(strncmp(line, "time=", 5), 0); /* whole lines */
	if (strstr(line, "log lines were dropped")) told += atoi(count + 7);
	if (!number) return;
	assert_true(atoi(number + 5) > previous);
	previous = atoi(number + 5);
	seen++;
}

/* FIELD-R8: in the log itself, and as a number. */
static void test_what_was_dropped_is_told_once_there_is_room(void **state)
{
	(void)state;
	seen = told = 0;
	previous = -1;
	fill_pipe(2);
	say_many();
	assert_true(dropped() > 0);
	read_lines("log lines were dropped", look_at_order);
	assert_int_equal(told, dropped());
	assert_int_equal(seen + told, LINES);
	say(MR_LOG_INFO, LINES);
	read_lines("line-03000-", look_at_order);
	assert_int_equal(seen + told, LINES + 1);
}

static void *read_slowly(void *arg)
{
	(void)arg;
	read_lines("line-02999-", look_at_order);
	return NULL;
}

/* FIELD-R8: a reader that is slower than the program slows it down, and loses nothing. */
static void test_a_slow_reader_gets_every_line_in_order(void **state)
{
	pthread_t reader;
	(void)state;
	seen = told = 0;
	previous = -1;
	fill_pipe(2);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, NULL), 0);
	say_many();
	pthread_join(reader, NULL);
	assert_int_equal(seen, LINES);
	assert_int_equal(dropped(), 0);
}

/* FIELD-R8: a descriptor that somebody has made a non-blocking one refuses writes; they are tried again. */
static void test_a_non_blocking_standard_error_loses_nothing(void **state)
{
	pthread_t reader;
	(void)state;
	seen = told = 0;
	previous = -1;
	fcntl(2, F_SETFL, fcntl(2, F_GETFL) | O_NONBLOCK);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, NULL), 0);
	say_many();
	pthread_join(reader, NULL);
	assert_int_equal(seen, LINES);
}

/* FIELD-R8: the host's own SIGPIPE is not raised by our lines, either. */
static void test_a_standard_error_without_a_reader_counts(void **state)
{
	(void)state;
	close(pipe_fds[0]);
	say(MR_LOG_ERROR, 1);
	for (double until = mr_now() + 10; !dropped() && mr_now() < until;) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.01) == 1) mr_event_fini(&ev);
	}
	assert_int_equal(dropped(), 1);
	pipe_fds[0] = open("/dev/null", O_RDONLY);
}

static mr_runtime *kept; /* reachable: the child does not free it */

static void run_child(void)
{
	if (mr_runtime_new(&kept) != MR_OK) _exit(1);
	rt = kept;
	mr_runtime_log(rt, MR_LOG_INFO, MR_LOG_LOGFMT);
	for (int i = 0; i < 200; i++) say(MR_LOG_INFO, i);
	exit(0);
}

/* FIELD-R8: a host that ends by exit() without freeing its runtime. */
static void test_an_exit_writes_what_was_said(void **state)
{
	int status;
	(void)state;
	seen = told = 0;
	previous = -1;
	real_stderr = dup(2);
	assert_int_equal(pipe(pipe_fds), 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(pipe_fds[1], 2);
		run_child();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	read_lines("line-00199-", look_at_order);
	assert_int_equal(seen, 200);
	close(real_stderr);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* FIELD-R8: and one whose standard error is stuck ends all the same. */
static void test_an_exit_waits_for_no_stuck_standard_error(void **state)
{
	int status;
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* its report of the thread that exit() leaves would itself wait for the stuck pipe */
#endif
	assert_int_equal(pipe(pipe_fds), 0);
	fflush(stdout);
	double begun = mr_now();
	pid_t child = fork();
	if (child == 0) {
		dup2(pipe_fds[1], 2);
		fill_pipe(2);
		run_child();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(mr_now() - begun < 10);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_exit_writes_what_was_said),
		cmocka_unit_test(test_an_exit_waits_for_no_stuck_standard_error),
		TEST(test_a_stuck_standard_error_stops_neither_thread),
		TEST(test_what_was_dropped_is_told_once_there_is_room),
		TEST(test_a_slow_reader_gets_every_line_in_order),
		TEST(test_a_non_blocking_standard_error_loses_nothing),
		TEST(test_a_standard_error_without_a_reader_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
