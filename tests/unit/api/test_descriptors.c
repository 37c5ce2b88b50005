/* test_descriptors: what is said when no file descriptor is left, and a path that is longer than a socket's address.
 * Feature: no descriptor left, whichever part needs one
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
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
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit_testing.h"

#define LIMIT 256
#define PATIENCE 20.0

static int taken[LIMIT];
static size_t taken_count;

/* Takes all descriptors but so many. */
static void leave(size_t room)
{
	int fd;
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) taken[taken_count++] = fd;
	assert_int_equal(errno, EMFILE);
	for (size_t i = 0; i < room && taken_count; i++) close(taken[--taken_count]);
}

static void give_back(void)
{
	while (taken_count) close(taken[--taken_count]);
}

static int limit_descriptors(void **state)
{
	struct rlimit limit;
	mr_runtime *rt;
	(void)state;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = LIMIT;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
	if (mr_runtime_new(&rt) != MR_OK)
		return -1; /* what a process opens once is open from here on */
	mr_runtime_free(rt, 1);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	give_back();
	return 0;
}

/* The answer to a request; MR_OK, or the kind of its error. */
static int answer(mr_runtime *rt, uint64_t token, mr_error *error)
{
	double deadline = mr_now() + PATIENCE;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, deadline - mr_now()) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = (int)ev.status;
		if (is_it && ev.as.done.reply && status) *error = ev.as.done.reply->error;
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	fail_msg("no answer");
	return -1;
}

static mr_connection *connection(mr_runtime *rt, const char *url, const char *ca)
{
	mr_error error = {0};
	mr_options *o = mr_options_new();
	mr_connection *c = NULL;
	assert_int_equal(mr_options_string(o, "url", url, strlen(url), &error), MR_OK);
	if (ca)
		assert_int_equal(
			mr_options_string(o, "ssl_options.ca_certs", ca, strlen(ca), &error),
			MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	return c;
}

/* FIELD-H7: at every point of making a runtime. */
static void test_a_runtime_says_that_no_descriptor_is_left(void **state)
{
	int failures = 0, st = -1;
	(void)state;
	for (size_t room = 0; st != MR_OK; room++) {
		mr_runtime *rt = NULL;
		leave(room);
		st = mr_runtime_new(&rt);
		give_back();
		if (st == MR_OK)
			mr_runtime_free(rt, 1);
		else
			assert_int_equal(st, MR_NO_DESCRIPTORS);
		failures += st != MR_OK;
		assert_true(room < 64);
	}
	assert_true(failures > 0);
	assert_non_null(strstr(mr_status_text(MR_NO_DESCRIPTORS), "descriptor"));
	assert_true(mr_status_recoverable(MR_NO_DESCRIPTORS));
}

/* FIELD-H7: of an embedded broker: its making, its port, a connection to it. */
static void test_a_broker_says_that_no_descriptor_is_left(void **state)
{
	int failures = 0, st = -1;
	(void)state;
	for (size_t room = 0; st != MR_OK; room++) {
		mr_server *server = NULL;
		mr_error error = {0};
		uint16_t port;
		leave(room);
		st = mr_server_open(&server, "descriptors", &error);
		if (st == MR_OK)
			st = mr_server_listen(server, "127.0.0.1", 0, NULL, NULL, &port, &error);
		give_back();
		mr_server_close(server);
		if (st != MR_OK) {
			if (st != MR_NO_DESCRIPTORS) fail_msg("%d left: %s", (int)room, error.text);
			assert_int_equal(error.kind, MR_NO_DESCRIPTORS);
			assert_int_equal(error.system, EMFILE);
			assert_null(strstr(error.text, "memory"));
		}
		failures += st != MR_OK;
		assert_true(room < 64);
	}
	assert_true(failures > 0);
}

/* FIELD-H7: of connections: to the embedded broker, by TCP, by a name, with files for TLS; and of health pages. */
static void test_a_connect_says_that_no_descriptor_is_left(void **state)
{
	static const char *const urls[] = {"memory://", "memory://descriptors",
		"amqp://127.0.0.1:1", "amqp://no-such-host.invalid:1", "amqps://127.0.0.1:1",
		"amqps://127.0.0.1:1"};
	(void)state;
	mr_runtime *rt;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		mr_error error = {0};
		mr_connection *c = connection(rt, urls[i], i == 5 ? "/etc/hostname" : NULL);
		leave(0);
		assert_int_equal(mr_connection_open(c, i + 1), MR_OK);
		int st = answer(rt, i + 1, &error);
		give_back();
		if (st != MR_NO_DESCRIPTORS)
			fail_msg("%s: %s: %s", urls[i], mr_status_name(st), error.text);
		assert_int_equal(error.system, EMFILE);
		assert_null(strstr(error.text, "memory:"));
		mr_connection_free(c);
	}
	for (size_t room = 0; room < 3; room++) {
		mr_error error = {0};
		leave(room);
		assert_int_equal(mr_http_listen(rt, 100 + room, "127.0.0.1", 0), MR_OK);
		int st = answer(rt, 100 + room, &error);
		give_back();
		if (st == MR_OK) break;
		assert_int_equal(st, MR_NO_DESCRIPTORS);
	}
	mr_runtime_free(rt, 1);
}

/* FIELD-H7: an end needs none, neither of a runtime with its own broker nor of a broker with a name. */
static void test_a_runtime_and_its_broker_end_without_a_descriptor(void **state)
{
	static const char *const urls[] = {"memory://", "memory://descriptors"};
	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		mr_runtime *rt;
		mr_error error = {0};
		mr_server *server;
		assert_int_equal(mr_runtime_new(&rt), MR_OK);
		assert_int_equal(mr_server_open(&server, "descriptors", &error), MR_OK);
		mr_connection *c = connection(rt, urls[i], NULL);
		assert_int_equal(mr_connection_open(c, 1), MR_OK);
		assert_int_equal(answer(rt, 1, &error), MR_OK);
		leave(0);
		mr_connection_free(c);
		mr_runtime_free(rt, 1);
		mr_server_close(server);
		give_back();
	}
}

/* FIELD-H7: a long TMPDIR. */
static void test_a_path_of_any_length_is_listened_on(void **state)
{
	char folder[1024] = "/tmp/test_descriptors-XXXXXX", path[1200];
	mr_error error = {0};
	mr_runtime *rt;
	struct stat file;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	assert_non_null(mkdtemp(folder));
	size_t base = strlen(folder), at = base;
	for (int i = 0; i < 5; i++) {
		at += (size_t)snprintf(folder + at, sizeof folder - at, "/%0100d", i);
		assert_int_equal(mkdir(folder, 0700), 0);
	}
	snprintf(path, sizeof path, "%s/socket", folder);
	assert_int_equal(mr_http_listen(rt, 1, path, 0), MR_OK);
	assert_int_equal(answer(rt, 1, &error), MR_OK);
	assert_int_equal(stat(path, &file), 0);
	assert_true(S_ISSOCK(file.st_mode));
	assert_int_equal(file.st_mode & 0777, 0600);
	assert_int_equal(mr_http_close(rt, 2), MR_OK);
	assert_int_equal(answer(rt, 2, &error), MR_OK);
	unlink(path);
	/* What cannot be says so. */
	snprintf(path, sizeof path, "%s/%0120d", folder, 1);
	assert_int_equal(mr_http_listen(rt, 3, path, 0), MR_OK);
	assert_int_equal(answer(rt, 3, &error), MR_BAD_ARGUMENT);
	assert_non_null(strstr(error.text, strerror(ENAMETOOLONG)));
	snprintf(path, sizeof path, "%s/nowhere/%0100d", folder, 1);
	assert_int_equal(mr_http_listen(rt, 4, path, 0), MR_OK);
	assert_true(answer(rt, 4, &error) != MR_OK);
	assert_non_null(strstr(error.text, strerror(ENOENT)));
	mr_runtime_free(rt, 1);
	for (; at > base; at -= 101) {
		folder[at] = '\0';
		rmdir(folder);
	}
	folder[base] = '\0';
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_runtime_says_that_no_descriptor_is_left, clean),
		cmocka_unit_test_teardown(test_a_broker_says_that_no_descriptor_is_left, clean),
		cmocka_unit_test_teardown(test_a_connect_says_that_no_descriptor_is_left, clean),
		cmocka_unit_test_teardown(test_a_runtime_and_its_broker_end_without_a_descriptor,
			clean),
		cmocka_unit_test_teardown(test_a_path_of_any_length_is_listened_on, clean),
	};
	return cmocka_run_group_tests(tests, limit_descriptors, NULL);
}
