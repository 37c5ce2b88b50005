/* test_forks: whose descriptors are whose: standard input, output and error, and those of a child.
 * Feature: the descriptors of the whole library
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit_testing.h"

static mr_runtime *rt;

/* The next MR_EV_DONE; its status, *port what it brought. */
static int wait_done(uint32_t *port)
{
	double deadline = mr_now() + 30;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE;
		int status = ev.status;
		if (is_it && port && ev.as.done.reply) *port = ev.as.done.reply->message_count;
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	return -1;
}

static mr_connection *open_connection(const char *url)
{
	mr_connection *c = NULL;
	mr_error error;
	mr_options *o = mr_options_new();
	bool made = mr_options_string(o, "url", url, strlen(url), &error) == MR_OK &&
	            mr_connection_new(rt, o, &c, &error) == MR_OK;
	mr_options_free(o);
	return made && mr_connection_open(c, 1) == MR_OK && wait_done(NULL) == MR_OK ? c : NULL;
}

static bool can_publish(mr_connection *c)
{
	mr_channel *ch;
	uint64_t number;
	if (!c || mr_channel_open(c, 2, &ch) != MR_OK || wait_done(NULL) != MR_OK) return false;
	return mr_channel_publish(ch, "", 0, "nobody", 6, "x", 1, NULL, 0, 0, 0, &number) == MR_OK;
}

/* A socket of the test's own, away from 0 to 2. */
static int dial(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), high = fcntl(fd, F_DUPFD, 10);
	close(fd);
	if (connect(high, (struct sockaddr *)&a, sizeof a) == 0) return high;
	close(high);
	return -1;
}

static bool serves_pages(uint16_t port)
{
	static const char request[] = "GET /live HTTP/1.0\r\n\r\n";
	char text[64] = "";
	int fd = dial(port);
	if (fd < 0 || write(fd, request, sizeof request - 1) < 0) return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	return n > 12 && strncmp(text + 9, "200", 3) == 0;
}

/* Everything that makes descriptors. Returns 0, or the number of what went wrong. */
static int live(void)
{
	mr_server *server;
	mr_error error;
	uint16_t port;
	uint32_t pages = 0;
	char url[64];
	if (mr_runtime_new(&rt) != MR_OK) return 1;
	mr_runtime_log(rt, MR_LOG_DEBUG, MR_LOG_LOGFMT);
	if (mr_server_open(&server, "low", &error) != MR_OK) return 2;
	if (mr_server_listen(server, "127.0.0.1", 0, NULL, NULL, &port, &error) != MR_OK) return 3;
	snprintf(url, sizeof url, "amqp://localhost:%u/", port);
	if (!can_publish(open_connection("memory://low")) || !can_publish(open_connection(url)))
		return 4;
	if (mr_http_listen(rt, 5, "127.0.0.1", 0) != MR_OK || wait_done(&pages) != MR_OK) return 5;
	return serves_pages((uint16_t)pages) ? 0 : 6;
}

static void run_without(unsigned closed)
{
	for (int fd = 0; fd < 3; fd++)
		if (closed >> fd & 1) close(fd);
	int wrong = live();
	for (int fd = 0; fd < 3; fd++)
		if (closed >> fd & 1 && fcntl(fd, F_GETFD) >= 0) wrong = 10 + fd;
	if (!wrong) mr_runtime_free(rt, 1);
	_exit(wrong);
}

static int code_of(pid_t child)
{
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* FIELD-H5: a C host, in all eight combinations. */
static void test_the_library_never_owns_standard_descriptors(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it loses sight of a pipe that F_DUPFD has moved, and takes what goes through it for a race */
#endif
	for (unsigned closed = 0; closed < 8; closed++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) run_without(closed);
		assert_int_equal(code_of(child), 0);
	}
}

/* ---- forks ---- */

/* Descriptors but for epoll's, which keep nothing open. */
static int descriptors(void)
{
	char path[300], what[64];
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int count = 0;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
		ssize_t n = readlink(path, what, sizeof what - 1);
		what[n > 0 ? n : 0] = '\0';
		count += n > 0 && !strstr(what, "eventpoll");
	}
	closedir(dir);
	return count;
}

static int lingering[2]; /* the child ends when the parent closes its end */

static bool every_call_is_refused(mr_connection *c, mr_server *server, mr_channel *ch)
{
	mr_event ev;
	mr_stats stats;
	mr_error error;
	uint16_t port;
	uint64_t number;
	mr_request request = {.operation = MR_QUEUE_DECLARE};
	mr_runtime_stats(rt, &stats);
	mr_log_write(rt, MR_LOG_ERROR, "a child's line", 14, NULL);
	return mr_runtime_poll(rt, &ev, 1, 0) == -1 && mr_runtime_fd(rt) == -1 &&
	       mr_connection_open(c, 1) == MR_FORKED && mr_connection_close(c, 1, 0) == MR_FORKED &&
	       mr_channel_open(c, 1, &ch) == MR_FORKED &&
	       mr_channel_request(ch, 1, &request) == MR_FORKED &&
	       mr_channel_publish(ch, "", 0, "q", 1, "x", 1, NULL, 0, 0, 0, &number) == MR_FORKED &&
	       mr_watch_fd(rt, 1, 0, MR_FD_READ) == MR_FORKED &&
	       mr_unwatch_fd(rt, 1) == MR_FORKED && mr_runtime_wake_at(rt, 1) == MR_FORKED &&
	       mr_http_close(rt, 1) == MR_FORKED && mr_http_page(rt, "/x", true) == MR_FORKED &&
	       mr_http_answer(rt, 1, 200, "text/plain", NULL, 0) == MR_FORKED &&
	       mr_http_listen(rt, 1, "127.0.0.1", 0) == MR_FORKED &&
	       mr_server_add_vhost(server, "v") == MR_FORKED &&
	       mr_server_listen(server, "127.0.0.1", 0, NULL, NULL, &port, &error) == MR_FORKED;
}

static void run_child(int before, mr_connection *c, mr_server *server, mr_channel *ch)
{
	char nothing;
	int wrong = descriptors() == before ? 0 : 1;
	if (!every_call_is_refused(c, server, ch)) wrong = 2;
	mr_channel_free(ch);
	mr_connection_free(c);
	mr_runtime_free(rt, 1);
	mr_server_close(server);
#ifndef __SANITIZE_THREAD__              /* it takes no new threads after the fork of several */
	if (!wrong && live()) wrong = 3; /* a runtime, and a broker, of its own */
#endif
	close(lingering[1]);
	if (read(lingering[0], &nothing, 1) != 0) wrong = 4;
	_exit(wrong);
}

static bool is_refused(uint16_t port)
{
	int fd = dial(port);
	close(fd);
	return fd < 0;
}

/* Connects, is greeted, and reads until the client has gone. */
static bool sees_the_end(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char scrap[256];
	while (poll(&wait, 1, 20000) == 1) {
		ssize_t n = read(fd, scrap, sizeof scrap);
		if (n <= 0) return true;
	}
	return false;
}

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(fd, 4), 0);
	getsockname(fd, (struct sockaddr *)&a, &size);
	*port = ntohs(a.sin_port);
	return fd;
}

static mr_connection *begin_to_connect(uint16_t port)
{
	mr_connection *c;
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "hostname", "127.0.0.1", 9, &error), MR_OK);
	assert_int_equal(mr_options_number(o, "port", port, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(c, 9), MR_OK);
	mr_event ev;
	while (mr_runtime_poll(rt, &ev, 1, 0) == 1) mr_event_fini(&ev);
	return c;
}

/* FIELD-R17: who is at the other end sees the parent's end though a child lives on. */
static void test_a_child_keeps_none_of_our_descriptors(void **state)
{
	mr_server *server;
	mr_channel *ch;
	mr_error error;
	uint16_t port, peer_port;
	uint32_t pages = 0;
	(void)state;
	assert_int_equal(pipe(lingering), 0);
	int listener = listen_somewhere(&peer_port), before = descriptors() + 1;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	assert_int_equal(mr_server_open(&server, "parent", &error), MR_OK);
	assert_int_equal(mr_server_listen(server, "127.0.0.1", 0, NULL, NULL, &port, &error),
		MR_OK);
	assert_int_equal(mr_http_listen(rt, 5, "127.0.0.1", 0), MR_OK);
	assert_int_equal(wait_done(&pages), MR_OK);
	mr_connection *c = open_connection("memory://parent");
	assert_int_equal(mr_channel_open(c, 2, &ch), MR_OK);
	assert_int_equal(wait_done(NULL), MR_OK);
	begin_to_connect(peer_port);
	int peer = accept(listener, NULL, NULL);
	assert_true(peer >= 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) run_child(before, c, server, ch);
	close(lingering[0]);
	mr_channel_free(ch);
	mr_runtime_free(rt, 0);
	mr_server_close(server);
	assert_true(sees_the_end(peer));
	assert_true(is_refused(port));
	assert_true(is_refused((uint16_t)pages));
	close(lingering[1]);
	assert_int_equal(code_of(child), 0);
	close(peer);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_library_never_owns_standard_descriptors),
		cmocka_unit_test(test_a_child_keeps_none_of_our_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
