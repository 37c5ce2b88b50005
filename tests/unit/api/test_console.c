/* test_console: the console of a C host: its socket, its pages, its clients.
 * Covers: runtime/base/local_socket.c by mr_local_socket
 * Covers: runtime/health/pages.c by MR_EV_PAGE
 * Covers: runtime/health/status.c by connections
 * Covers: runtime/health/visitor.c by recv
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/local_socket.h"
#include "moonrabbit.h"

static mr_runtime *rt;
static long live;
static char folder[64], path[100];

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/mr-console.XXXXXX");
	if (!mkdtemp(folder)) return -1;
	snprintf(path, sizeof path, "%s/console", folder);
	live = mr_alloc_live();
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	assert_int_equal(mr_alloc_live(), live);
	assert_int_equal(access(path, F_OK), -1); /* its file went with it */
	assert_int_equal(rmdir(folder), 0);
	return 0;
}

static void start(void)
{
	mr_error error = {0};
	assert_int_equal(mr_console_start(rt, path, NULL, &error), MR_OK);
	assert_string_equal(mr_console_path(rt), path);
}

static int say(const char *text)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	send(fd, text, strlen(text), MSG_NOSIGNAL);
	return fd;
}

static const char *answer_of(int fd)
{
	static char answer[1 << 16];
	ssize_t n;
	size_t size = 0;
	while ((n = recv(fd, answer + size, sizeof answer - 1 - size, 0)) > 0) size += (size_t)n;
	answer[size] = '\0';
	close(fd);
	return answer;
}

static mr_event next_page(void)
{
	mr_event ev;
	double deadline = mr_now() + 10;
	while (mr_now() < deadline) {
		if (mr_runtime_poll(rt, &ev, 1, 0.1) != 1) continue;
		if (ev.type == MR_EV_PAGE) return ev;
		mr_event_fini(&ev);
	}
	fail_msg("no page was asked for");
	return ev;
}

static mr_bytes text_of(const mr_event *ev, const char *key)
{
	const mr_table *t = ev->as.page.request;
	for (uint32_t i = 0; i < t->count; i++)
		if (t->fields[i].key.size == strlen(key) &&
			memcmp(t->fields[i].key.data, key, t->fields[i].key.size) == 0)
			return t->fields[i].value.as.bytes;
	fail_msg("the request has no %s", key);
	return (mr_bytes){0};
}

static uint64_t number_of(const mr_event *ev, const char *key)
{
	const mr_table *t = ev->as.page.request;
	for (uint32_t i = 0; i < t->count; i++)
		if (t->fields[i].key.size == strlen(key) &&
			memcmp(t->fields[i].key.data, key, t->fields[i].key.size) == 0)
			return t->fields[i].value.as.natural;
	fail_msg("the request has no %s", key);
	return 0;
}

static void test_it_answers_while_the_host_does_not_poll(void **state)
{
	struct stat st;
	(void)state;
	start();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	const char *answer = answer_of(say("GET /status HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_non_null(strstr(answer, "200 OK"));
	assert_non_null(strstr(answer, "\"connections\":[]"));
	assert_non_null(strstr(answer, "\"script\":{\"state\":"));
	assert_non_null(
		strstr(answer_of(say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")), "moonrabbit_"));
	assert_int_equal(mr_console_stop(rt), MR_OK);
	assert_null(mr_console_path(rt));
}

static void test_a_page_of_its_own_gets_the_body_and_who_asks(void **state)
{
	(void)state;
	start();
	assert_int_equal(mr_console_page(rt, "/do", true), MR_OK);
	assert_int_equal(mr_http_listen(rt, 5, "127.0.0.1", 0), MR_OK);
	int fd = say("POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n1 + ");
	send(fd, "two", 3, MSG_NOSIGNAL);
	mr_event ev = next_page();
	mr_bytes body = text_of(&ev, "body");
	assert_int_equal(body.size, 7);
	assert_memory_equal(body.data, "1 + two", 7);
	assert_int_equal(number_of(&ev, "uid"), geteuid());
	assert_int_equal(number_of(&ev, "pid"), getpid());
	assert_int_equal(mr_http_answer(rt, ev.as.page.token, 200, "text/plain", "3", 1), MR_OK);
	mr_event_fini(&ev);
	mr_runtime_poll(rt, &ev, 1, 0); /* sends the answer */
	assert_non_null(strstr(answer_of(fd), "\r\n\r\n3"));
	mr_event_fini(&ev);
}

static void test_a_client_that_leaves_is_told_of(void **state)
{
	mr_event ev;
	(void)state;
	start();
	assert_int_equal(mr_console_page(rt, "/do", true), MR_OK);
	int fd = say("POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	ev = next_page();
	uint64_t token = ev.as.page.token;
	mr_event_fini(&ev);
	close(fd);
	ev = next_page();
	assert_null(ev.as.page.request);
	assert_int_equal(ev.as.page.token, token);
	assert_int_equal(mr_http_answer(rt, token, 200, "text/plain", "late", 4), MR_OK);
}

/* ---- answers that come bit by bit ---- */

/* Reads until `text` has come. */
static void hears(int fd, const char *text)
{
	char all[1 << 12];
	size_t size = 0;
	for (all[0] = '\0'; !strstr(all, text); all[size] = '\0') {
		ssize_t n = recv(fd, all + size, sizeof all - 1 - size, 0);
		if (n <= 0) fail_msg("%s has not come", text);
		size += (size_t)n;
	}
}

/* A client whose answer comes bit by bit, with so much room; *token receives its request's. */
static int follow(uint64_t *token, size_t room)
{
	start();
	assert_int_equal(mr_console_page(rt, "/news", true), MR_OK);
	int fd = say("GET /news HTTP/1.0\r\n\r\n");
	mr_event ev = next_page();
	*token = ev.as.page.token;
	mr_event_fini(&ev);
	assert_int_equal(mr_http_stream(rt, *token, "text/plain", room), MR_OK);
	return fd;
}

static void test_an_answer_comes_bit_by_bit_while_the_host_does_not_poll(void **state)
{
	uint64_t token;
	char byte;
	(void)state;
	int fd = follow(&token, 100);
	assert_int_equal(mr_http_write(rt, token, "one\n", 4), MR_OK);
	hears(fd, "200 OK");
	for (int i = 0; i < 1000; i++) { /* with and without a pause of the reader */
		assert_int_equal(mr_http_write(rt, token, "more\n", 5), MR_OK);
		hears(fd, "more\n");
	}
	assert_int_equal(mr_http_write(rt, token, "last", 4), MR_OK);
	assert_int_equal(mr_http_end(rt, token), MR_OK);
	hears(fd, "last");
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	assert_int_equal(mr_http_write(rt, token, "x", 1), MR_CLOSED);
	assert_int_equal(mr_http_end(rt, token), MR_CLOSED);
	close(fd);
}

static void await_leaving(uint64_t token)
{
	mr_event ev = next_page();
	assert_null(ev.as.page.request);
	assert_int_equal(ev.as.page.token, token);
	assert_int_equal(mr_http_end(rt, token), MR_OK);
}

static void test_a_follower_that_leaves_is_told_of(void **state)
{
	uint64_t token;
	(void)state;
	int fd = follow(&token, 100);
	hears(fd, "200 OK");
	close(fd);
	await_leaving(token);
}

/* It keeps what fits, for as long as it likes: longer than the server is patient with others. */
static void test_a_follower_that_does_not_read_costs_its_room(void **state)
{
	static char block[1000];
	uint64_t token;
	mr_event ev;
	size_t taken = 0;
	(void)state;
	int fd = follow(&token, 4000);
	hears(fd, "200 OK");
	double deadline = mr_now() + 20, full = 0;
	while (!full || mr_now() < full + 6) {
		assert_true(mr_now() < deadline);
		bool is_full = mr_http_write(rt, token, block, sizeof block) == MR_BACKPRESSURE;
		taken += is_full ? 0 : sizeof block;
		if (is_full && !full) full = mr_now();
		if (is_full && mr_runtime_poll(rt, &ev, 1, 0.2) == 1)
			fail_msg("an event of type %d", ev.type);
	}
	assert_true(taken < 2u << 20); /* the kernel has the rest */
	close(fd);
	await_leaving(token);
}

static void test_a_follower_is_left_with_the_console_and_the_runtime(void **state)
{
	uint64_t token;
	char byte;
	mr_error error;
	(void)state;
	int fd = follow(&token, 100);
	hears(fd, "200 OK");
	assert_int_equal(mr_http_stream(rt, token, "text/plain", 100), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_stream(rt, token + 1, "text/plain", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_stream(rt, token + 1, "text\n", 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_stream(rt, token + 1, "text/plain", 1), MR_OK); /* nobody's */
	assert_int_equal(mr_http_end(rt, token + 1), MR_OK);
	assert_int_equal(mr_console_stop(rt), MR_OK);
	await_leaving(token);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	/* Another one stays until the end of the runtime: see teardown. */
	assert_int_equal(mr_console_start(rt, path, NULL, &error), MR_OK);
	fd = say("GET /news HTTP/1.1\r\nHost: x\r\n\r\n");
	mr_event ev = next_page();
	assert_int_equal(mr_http_stream(rt, ev.as.page.token, "text/plain", 100), MR_OK);
	mr_event_fini(&ev);
	hears(fd, "200 OK");
	close(fd);
}

static void test_too_much_is_refused(void **state)
{
	static char body[(1 << 20) + 2];
	char head[128];
	(void)state;
	start();
	assert_int_equal(mr_console_page(rt, "/do", true), MR_OK);
	snprintf(head, sizeof head, "POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
		sizeof body);
	int fd = say(head);
	memset(body, 'x', sizeof body);
	for (size_t at = 0; at < sizeof body;) {
		ssize_t n = send(fd, body + at, sizeof body - at, MSG_NOSIGNAL);
		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_non_null(strstr(answer_of(fd), " 413 "));
	assert_non_null(strstr(answer_of(say("PUT /do HTTP/1.1\r\nHost: x\r\n\r\n")), " 405 "));
}

static void test_a_live_socket_and_other_files_stay_and_a_dead_one_is_replaced(void **state)
{
	struct mr_local_socket other = {.listener = -1};
	mr_error error = {0};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	(void)state;
	snprintf(other.path, sizeof other.path, "%s", path);
	assert_true(mr_local_socket_listen(&other, 1));
	assert_int_equal(mr_console_start(rt, path, NULL, &error), MR_NOT_ALLOWED);
	assert_non_null(strstr(error.text, path));
	mr_local_socket_close(&other);
	fclose(fopen(path, "w"));
	assert_int_equal(mr_console_start(rt, path, NULL, &error), MR_NOT_ALLOWED);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	close(fd); /* its file stays, as after a kill */
	start();
	assert_int_equal(mr_console_start(rt, path, NULL, &error), MR_NOT_ALLOWED);
	assert_int_equal(mr_console_start(rt, "relative", NULL, &error), MR_NOT_ALLOWED);
	mr_console_stop(rt);
	assert_int_equal(mr_console_start(rt, "relative", NULL, &error), MR_BAD_ARGUMENT);
}

static void test_the_usual_path_is_in_a_folder_of_this_user_alone(void **state)
{
	char wanted[200];
	struct stat st;
	mr_error error = {0};
	(void)state;
	setenv("XDG_RUNTIME_DIR", folder, 1);
	assert_true(mr_console_folder(wanted, sizeof wanted));
	assert_int_equal(mr_console_start(rt, NULL, "a/b c-d.lua", &error), MR_OK);
	assert_int_equal(stat(wanted, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	size_t size = strlen(wanted);
	snprintf(wanted + size, sizeof wanted - size, "/%d-a_b_c-d.lua.sock", (int)getpid());
	assert_string_equal(mr_console_path(rt), wanted);
	mr_runtime_free(rt, 5);
	wanted[size] = '\0';
	assert_int_equal(chmod(wanted, 0770), 0);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	assert_int_equal(mr_console_start(rt, NULL, "x", &error), MR_NOT_ALLOWED);
	assert_non_null(strstr(error.text, "0700"));
	assert_int_equal(rmdir(wanted), 0);
	setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1); /* nobody's: the usual place is taken */
	assert_true(mr_console_folder(wanted, sizeof wanted));
	assert_null(strstr(wanted, "nowhere"));
	unsetenv("XDG_RUNTIME_DIR");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_answers_while_the_host_does_not_poll),
		TEST(test_a_page_of_its_own_gets_the_body_and_who_asks),
		TEST(test_a_client_that_leaves_is_told_of),
		TEST(test_an_answer_comes_bit_by_bit_while_the_host_does_not_poll),
		TEST(test_a_follower_that_leaves_is_told_of),
		TEST(test_a_follower_that_does_not_read_costs_its_room),
		TEST(test_a_follower_is_left_with_the_console_and_the_runtime),
		TEST(test_too_much_is_refused),
		TEST(test_a_live_socket_and_other_files_stay_and_a_dead_one_is_replaced),
		TEST(test_the_usual_path_is_in_a_folder_of_this_user_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
