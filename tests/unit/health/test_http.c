/* test_http: the server of pages on a loop of the test's own, where the order of things is known.
 * Covers: runtime/base/descriptor.c by F_DUPFD_CLOEXEC
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/ev.h"
#include "health/http.h"

#define MANY 48 /* visitors: the next one costs the oldest its place */

static struct ev_loop *loop;
static struct mr_httpd *server;
static uint16_t port;
static uint64_t asked;
static int lowest; /* descriptor of what was opened by fopen */
static long live;

/* Stands before the C library's. */
FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) = NULL;
	*(void **)&real = dlsym(RTLD_NEXT, "fopen");
	FILE *file = real(path, mode);
	if (file && fileno(file) < lowest) lowest = fileno(file);
	return file;
}

static int answer_later(void *owner, const struct mr_httpd_request *request,
	struct mr_httpd_page *page)
{
	(void)owner;
	(void)request;
	page->number = ++asked;
	return MR_HTTPD_LATER;
}

static enum mr_status serve(void)
{
	const struct mr_httpd_owner owner = {.answer = answer_later};
	mr_error error = {0};
	asked = 0;
	return mr_httpd_open(&server, loop, "127.0.0.1", 0, &port, &mr_httpd_public, &owner,
		&error);
}

static int setup(void **state)
{
	(void)state;
	live = mr_alloc_live();
	loop = ev_loop_new(EVFLAG_AUTO);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	mr_httpd_close(server);
	server = NULL;
	ev_loop_destroy(loop);
	assert_int_equal(mr_alloc_live(), live);
	return 0;
}

static int visit(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void turn(int times)
{
	while (times--) ev_run(loop, EVRUN_NOWAIT);
}

/* Its request has come, but not been read, when another takes its place. */
static void test_nobody_is_asked_for_one_that_was_shown_out(void **state)
{
	static const char request[] = "GET /jobs HTTP/1.1\r\nHost: x\r\n\r\n";
	int fds[MANY + 1];
	char byte;
	(void)state;
	assert_int_equal(serve(), MR_OK);
	for (int i = 0; i < MANY; i++) fds[i] = visit();
	turn(3);
	assert_int_equal(send(fds[0], request, sizeof request - 1, MSG_NOSIGNAL),
		sizeof request - 1);
	fds[MANY] = visit();
	turn(10);
	bool was_shown_out = recv(fds[0], &byte, 1, MSG_DONTWAIT) == 0;
	assert_int_equal(asked, was_shown_out ? 0 : 1);
	/* One that may stay is asked for. */
	send(fds[MANY], request, sizeof request - 1, MSG_NOSIGNAL);
	uint64_t before = asked;
	turn(10);
	assert_int_equal(asked, before + 1);
	for (int i = 0; i <= MANY; i++) close(fds[i]);
	turn(3);
}

/* Nor for a moment: what the host writes to standard error must not end in it. */
static void test_it_opens_nothing_below_three(void **state)
{
	int saved[3];
	(void)state;
	for (int i = 0; i < 3; i++) saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
	for (int i = 0; i < 3; i++) close(i);
	lowest = 1000;
	enum mr_status st = serve();
	int seen = lowest;
	for (int i = 0; i < 3; i++) {
		if (saved[i] < 0) continue;
		dup2(saved[i], i);
		close(saved[i]);
	}
	assert_int_equal(st, MR_OK);
	assert_true(seen > 2);
	assert_true(seen < 1000); /* it looked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_is_asked_for_one_that_was_shown_out,
			setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_opens_nothing_below_three, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
