/* test_wake_socket: the socket that wakes a script, as the host sees it.
 * Covers: runtime/io/wake_peer.c by pause
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit.h"

static mr_runtime *rt;
static int in_fd, out_fd; /* a pipe that has a byte to read */
static char folder[64], path[128];

static void make_folder(void)
{
	strcpy(folder, "/tmp/test_wake_socket.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/wake", folder);
}

static int begin(void **state)
{
	int fds[2];
	(void)state;
	make_folder();
	assert_int_equal(pipe(fds), 0);
	in_fd = fds[0];
	out_fd = fds[1];
	assert_int_equal(write(out_fd, "x", 1), 1);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	close(in_fd);
	close(out_fd);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
	return 0;
}

static int bound(const char *at, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);
	strcpy(a.sun_path, at);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static int connected(const char *to)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(a.sun_path, to);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
	close(fd);
	return -1;
}

static int begin_socket(void)
{
	mr_error error;
	assert_int_equal(mr_runtime_wake_socket(rt, path, &error), MR_OK);
	return connected(path);
}

static bool is_readable(int fd, int ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	return poll(&pfd, 1, ms) == 1;
}

/* Waits for a byte; -1: none, 0: the end of the connection. */
static int read_byte(int fd, int ms)
{
	char byte;
	return is_readable(fd, ms) ? (int)read(fd, &byte, 1) : -1;
}

static void ask_for_event(uint64_t token)
{
	assert_int_equal(mr_watch_fd(rt, token, in_fd, MR_FD_READ), MR_OK);
	mr_event none;
	assert_int_equal(mr_runtime_poll(rt, &none, 0, 0), 0); /* the request leaves */
}

static int take(int max)
{
	mr_event ev[16];
	int n = mr_runtime_poll(rt, ev, max, 0);
	for (int i = 0; i < n; i++) mr_event_fini(&ev[i]);
	return n;
}

/* A byte, then polls until a poll gives nothing. */
static void take_one_event(int fd)
{
	int got = 0;
	while (!got) {
		assert_int_equal(read_byte(fd, 10000), 1);
		got = take(16);
	}
	assert_int_equal(got, 1);
	assert_int_equal(take(16), 0);
}

static void test_each_event_of_a_sleeping_host_is_a_byte(void **state)
{
	int fd = begin_socket();
	(void)state;
	for (uint64_t token = 1; token <= 100; token++) {
		ask_for_event(token);
		take_one_event(fd);
	}
	/* A poll that races with an event may leave a byte without one, but not one each time. */
	int spare = 0;
	while (read_byte(fd, 20) == 1) spare++;
	assert_in_range(spare, 0, 5);
	close(fd);
}

static void test_a_poll_that_leaves_an_event_writes_another_byte(void **state)
{
	int fd = begin_socket();
	(void)state;
	for (uint64_t token = 1; token <= 3; token++) ask_for_event(token);
	for (int left = 3; left;) {
		assert_int_equal(read_byte(fd, 10000), 1);
		left -= take(1);
	}
	assert_int_equal(take(1), 0);
	while (read_byte(fd, 20) == 1) continue; /* of a poll that raced with an event */
	close(fd);
}

static void test_a_connection_is_told_of_what_waits_already(void **state)
{
	mr_error error;
	(void)state;
	assert_int_equal(mr_runtime_wake_socket(rt, path, &error), MR_OK);
	ask_for_event(1);
	assert_true(is_readable(mr_runtime_fd(rt), 10000));
	int fd = connected(path);
	take_one_event(fd);
	close(fd);
}

static void test_no_byte_without_an_event(void **state)
{
	int fd = begin_socket();
	(void)state;
	assert_int_equal(take(16), 0);
	assert_int_equal(read_byte(fd, 50), -1);
	close(fd);
}

static void test_a_peer_that_closes_may_come_again(void **state)
{
	int fd = begin_socket();
	(void)state;
	for (uint64_t token = 1; token <= 20; token++) {
		close(fd);
		ask_for_event(token);
		assert_true(is_readable(mr_runtime_fd(rt), 10000));
		fd = connected(path);
		take_one_event(fd);
	}
	close(fd);
}

static void test_a_later_connection_replaces_the_earlier(void **state)
{
	int first = begin_socket(), second = connected(path);
	(void)state;
	assert_int_equal(read_byte(first, 10000), 0);
	ask_for_event(1);
	take_one_event(second);
	assert_int_equal(write(second, "ignored", 7), 7);
	ask_for_event(2);
	take_one_event(second);
	close(first);
	close(second);
}

/* Nobody waits for room: the descriptor works as before, and the peer still has a byte. */
static void test_a_peer_that_never_reads_holds_up_nothing(void **state)
{
	int fd = begin_socket(), unread = 0;
	(void)state;
	for (uint64_t token = 1; token <= 1000; token++) {
		ask_for_event(token);
		assert_true(is_readable(mr_runtime_fd(rt), 10000));
		while (take(16) == 0) assert_true(is_readable(mr_runtime_fd(rt), 10000));
	}
	while (read_byte(fd, 0) == 1) unread++;
	assert_in_range(unread, 1, 100);
	ask_for_event(2000);
	take_one_event(fd);
	close(fd);
}

static void test_another_process_is_refused(void **state)
{
	int fd = begin_socket(), status;
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		int mine = connected(path);
		_exit(mine < 0 || read_byte(mine, 10000) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	ask_for_event(1);
	take_one_event(fd); /* its place was not taken */
	close(fd);
}

static void test_the_file_is_of_this_user_and_ends_with_the_runtime(void **state)
{
	struct stat st;
	mr_error error;
	(void)state;
	assert_null(mr_runtime_wake_path(rt));
	int fd = begin_socket();
	assert_string_equal(mr_runtime_wake_path(rt), path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(mr_runtime_wake_socket(rt, NULL, &error), MR_BAD_ARGUMENT);
	mr_runtime_free(rt, 5);
	assert_int_equal(stat(path, &st), -1);
	assert_true(is_readable(fd, 10000));
	assert_true(read_byte(fd, 0) <= 0); /* a reset, if it had not been accepted yet */
	close(fd);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
}

static void test_without_a_path_it_has_a_folder_of_its_own(void **state)
{
	char name[128];
	struct stat st;
	mr_error error;
	(void)state;
	assert_int_equal(setenv("TMPDIR", folder, 1), 0);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(mr_runtime_wake_socket(rt, NULL, &error), MR_OK);
	strcpy(name, mr_runtime_wake_path(rt));
	assert_int_equal(strncmp(name, folder, strlen(folder)), 0);
	int fd = connected(name);
	ask_for_event(1);
	take_one_event(fd);
	close(fd);
	*strrchr(name, '/') = '\0';
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	mr_runtime_free(rt, 5);
	assert_int_equal(stat(name, &st), -1);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
}

static void test_a_file_of_a_dead_process_is_replaced(void **state)
{
	(void)state;
	close(bound(path, SOCK_STREAM));
	int fd = begin_socket();
	assert_true(fd >= 0);
	ask_for_event(1);
	take_one_event(fd);
	close(fd);
}

static void refused(int status, const char *at)
{
	mr_error error;
	assert_int_equal(mr_runtime_wake_socket(rt, at, &error), status);
	assert_int_equal(error.kind, status);
	assert_true(strlen(error.text) > 0);
	assert_null(mr_runtime_wake_path(rt));
}

static void test_a_live_socket_or_another_file_is_left_alone(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	char long_path[200];
	struct stat st;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = bound(path, types[i]);
		if (types[i] == SOCK_STREAM) assert_int_equal(listen(fd, 1), 0);
		refused(MR_CONNECTION_REFUSED, path);
		assert_false(is_readable(fd, 0)); /* it was not disturbed */
		assert_int_equal(stat(path, &st), 0);
		close(fd);
		unlink(path);
	}
	close(open(path, O_CREAT | O_WRONLY, 0600));
	refused(MR_CONNECTION_REFUSED, path);
	assert_int_equal(stat(path, &st), 0);
	refused(MR_CONNECTION_REFUSED, "/nonexistent/wake");
	refused(MR_BAD_ARGUMENT, "relative");
	memset(long_path, 'x', sizeof long_path);
	long_path[0] = '/';
	long_path[sizeof long_path - 1] = '\0';
	refused(MR_BAD_ARGUMENT, long_path);
}

/* The live socket of another runtime of this process keeps its peer. */
static void test_two_runtimes_do_not_share_a_path(void **state)
{
	mr_runtime *first = rt, *second;
	int fd = begin_socket();
	(void)state;
	assert_int_equal(mr_runtime_new(&second), MR_OK);
	rt = second;
	refused(MR_CONNECTION_REFUSED, path);
	rt = first;
	ask_for_event(1);
	take_one_event(fd);
	mr_runtime_free(second, 5);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
}

static void test_a_file_that_took_its_place_is_not_removed(void **state)
{
	int fd = begin_socket();
	(void)state;
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	mr_runtime_free(rt, 5);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	close(fd);
}

/* A connection that comes while the process has no descriptor left is accepted when it has one. */
static void test_without_descriptors_a_connection_waits(void **state)
{
	struct rlimit all, few;
	mr_error error;
	(void)state;
	assert_int_equal(mr_runtime_wake_socket(rt, path, &error), MR_OK);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), pause = 150;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, path);
	getrlimit(RLIMIT_NOFILE, &all);
	few = all;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int st = connect(fd, (struct sockaddr *)&a, sizeof a);
	bool early = is_readable(fd, pause);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(st, 0);
	assert_false(early);
	ask_for_event(1);
	take_one_event(fd);
	close(fd);
}

static void test_a_fork_has_none(void **state)
{
	int fd = begin_socket(), status;
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		mr_error error;
		bool forked = mr_runtime_wake_socket(rt, NULL, &error) == MR_FORKED;
		mr_runtime_free(rt, 5);
		_exit(!forked || mr_runtime_wake_path(rt) || access(path, F_OK) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	ask_for_event(1);
	take_one_event(fd);
	close(fd);
}

/* The first test: the sanitizer refuses threads in a fork of a process that has some. */
static void test_an_exit_without_a_free_removes_it(void **state)
{
	int status;
	(void)state;
	make_folder();
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		mr_error error;
		if (mr_runtime_new(&rt) != MR_OK) _exit(1);
		if (mr_runtime_wake_socket(rt, path, &error) != MR_OK) _exit(2);
		int fd = connected(path);
		exit(fd < 0 ? 3 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_exit_without_a_free_removes_it),
		TEST(test_each_event_of_a_sleeping_host_is_a_byte),
		TEST(test_a_poll_that_leaves_an_event_writes_another_byte),
		TEST(test_a_connection_is_told_of_what_waits_already),
		TEST(test_no_byte_without_an_event),
		TEST(test_a_peer_that_closes_may_come_again),
		TEST(test_a_later_connection_replaces_the_earlier),
		TEST(test_a_peer_that_never_reads_holds_up_nothing),
		TEST(test_another_process_is_refused),
		TEST(test_the_file_is_of_this_user_and_ends_with_the_runtime),
		TEST(test_without_a_path_it_has_a_folder_of_its_own),
		TEST(test_a_file_of_a_dead_process_is_replaced),
		TEST(test_a_live_socket_or_another_file_is_left_alone),
		TEST(test_two_runtimes_do_not_share_a_path),
		TEST(test_a_file_that_took_its_place_is_not_removed),
		TEST(test_without_descriptors_a_connection_waits),
		TEST(test_a_fork_has_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
