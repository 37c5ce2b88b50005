/* test_runtime: the public interface against peers of every bad kind, and what is left behind.
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "moonrabbit.h"

/* ---- a peer that says its piece to the first who connects, then waits to be left ---- */

struct peer {
	int listener;
	uint16_t port;
	const char *says;
	size_t size;
	bool hangs_up;
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct peer *p = arg;
	char scrap[256];
	int fd = accept(p->listener, NULL, NULL);
	if (fd < 0) return NULL;
	ssize_t n = p->size ? send(fd, p->says, p->size, MSG_NOSIGNAL) : 0;
	while (n >= 0 && !p->hangs_up && recv(fd, scrap, sizeof scrap, 0) > 0) {}
	close(fd);
	return NULL;
}

static void start_peer(struct peer *p, const char *says, size_t size, bool hangs_up)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof a;
	*p = (struct peer){.says = says, .size = size, .hangs_up = hangs_up};
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(p->listener, 1), 0);
	getsockname(p->listener, (struct sockaddr *)&a, &length);
	p->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void stop_peer(struct peer *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
}

/* ---- the host's side ---- */

static int entries(const char *folder)
{
	DIR *dir = opendir(folder);
	int count = 0;
	while (readdir(dir)) count++;
	closedir(dir);
	return count;
}

static mr_connection *make_connection(mr_runtime *rt, uint16_t port, double timeout)
{
	mr_connection *c;
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "hostname", "127.0.0.1", 9, &error), MR_OK);
	assert_int_equal(mr_options_number(o, "port", port, &error), MR_OK);
	assert_int_equal(mr_options_number(o, "connect_timeout", timeout, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	return c;
}

/* Pulls events until the request with this token has ended; its status. */
static int wait_done(mr_runtime *rt, uint64_t token, mr_error *error)
{
	double deadline = mr_now() + 20;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.5) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = ev.status;
		if (is_it && error && ev.as.done.reply) *error = ev.as.done.reply->error;
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	fail_msg("request %d never ended", (int)token);
	return -1;
}

static int connecting_to(uint16_t port, mr_error *error)
{
	mr_runtime *rt;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	mr_connection *c = make_connection(rt, port, 1);
	assert_int_equal(mr_connection_open(c, 7), MR_OK);
	int status = wait_done(rt, 7, error);
	mr_runtime_free(rt, 1);
	return status;
}

static void test_every_bad_peer_has_its_kind_within_connect_timeout(void **state)
{
	static const struct {
		const char *says;
		size_t size;
		bool hangs_up;
		int kind;
	} cases[] = {
		{"", 0, false, MR_CONNECT_TIMEOUT},
		{"", 0, true, MR_STREAM_LOST},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", 28, false, MR_PROTOCOL_MISMATCH},
		{"<html>", 6, true, MR_PROTOCOL_MISMATCH},
		{"SSH-2.0-OpenSSH\r\n", 17, false, MR_PROTOCOL_MISMATCH},
		{"AMQP\0\0\x08\0", 8, true, MR_PROTOCOL_MISMATCH},
		{"\x15\x03\x01\0\x02\x02\x46", 7, true, MR_PROTOCOL_MISMATCH},
		{"\x01\0\0\0\0\0\x02\0\0\xce", 10, false, MR_FRAME_ERROR},
		{"\x01\0\0\xff\xff\xff\xff", 7, false, MR_FRAME_ERROR},
		{"\x01\0\0\0\0", 5, false, MR_CONNECT_TIMEOUT},
	};
	mr_runtime *
		first; /* what the first thread of a process brings (TSan's own, say) is not ours */
	(void)state;
	assert_int_equal(mr_runtime_new(&first), MR_OK);
	mr_runtime_free(first, 1);
	int fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p;
		mr_error error = {0};
		start_peer(&p, cases[i].says, cases[i].size, cases[i].hangs_up);
		double begun = mr_now();
		assert_int_equal(connecting_to(p.port, &error), cases[i].kind);
		assert_true(mr_now() - begun < 3);
		assert_true(strlen(error.text) > 0);
		assert_true(strlen(mr_status_hint(error.kind)) > 0);
		stop_peer(&p);
	}
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_int_equal(entries("/proc/self/task"), threads);
}

static void test_a_closed_port_refuses(void **state)
{
	struct peer p;
	mr_error error = {0};
	(void)state;
	start_peer(&p, "", 0, true);
	stop_peer(&p);
	assert_int_equal(connecting_to(p.port, &error), MR_CONNECTION_REFUSED);
	assert_non_null(strstr(error.text, "127.0.0.1:"));
}

static void test_calls_in_the_wrong_state_are_refused(void **state)
{
	mr_runtime *rt;
	mr_channel *ch;
	mr_error error;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_connection *c = make_connection(rt, 1, 1);
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_IDLE);
	assert_int_equal(mr_connection_open(c, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_channel_open(c, 1, &ch), MR_CLOSED);
	assert_int_equal(mr_connection_close(c, 2, 1), MR_OK);
	assert_int_equal(wait_done(rt, 2, NULL), MR_OK);
	assert_int_equal(mr_connection_error(c, &error), MR_OK);
	assert_int_equal(mr_runtime_log(rt, 99, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_watch_fd(rt, 1, -1, MR_FD_READ), MR_BAD_ARGUMENT);
	mr_connection_free(c);
	mr_runtime_free(rt, 1);
	mr_runtime_free(NULL, 1);
}

static void test_what_was_asked_of_a_connection_ends_with_it(void **state)
{
	mr_runtime *rt;
	struct peer p;
	mr_error error = {0};
	(void)state;
	start_peer(&p, "", 0, false); /* it never says a word */
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_connection *c = make_connection(rt, p.port, 60);
	assert_int_equal(mr_connection_open(c, 3), MR_OK);
	assert_int_equal(mr_connection_open(c, 4), MR_OK);
	mr_connection_free(c);
	assert_int_equal(wait_done(rt, 3, &error), MR_CLOSED);
	assert_string_equal(error.text, "the connection was released");
	assert_int_equal(wait_done(rt, 4, NULL), MR_CLOSED);
	mr_runtime_free(rt, 1);
	stop_peer(&p);
}

static void test_descriptors_and_times_wake_the_host(void **state)
{
	mr_runtime *rt;
	mr_event ev;
	int fds[2];
	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	assert_int_equal(mr_watch_fd(rt, 5, fds[0], MR_FD_READ), MR_OK);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0.01), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 5), 1);
	assert_int_equal(ev.type, MR_EV_FD);
	assert_int_equal(ev.as.done.token, 5);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	assert_int_equal(mr_runtime_wake_at(rt, mr_now() + 0.01), MR_OK);
	struct pollfd pfd = {.fd = mr_runtime_fd(rt), .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 5000), 1);
	mr_runtime_free(rt, 1);
	close(fds[0]);
	close(fds[1]);
}

static void test_in_a_fork_every_call_fails_and_the_parent_goes_on(void **state)
{
	mr_runtime *rt;
	mr_event ev;
	int status;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_connection *c = make_connection(rt, 1, 1);
	pid_t child = fork();
	if (child == 0) {
		bool refused = mr_runtime_poll(rt, &ev, 1, 0) == -1 &&
		               mr_connection_open(c, 1) == MR_FORKED &&
		               mr_watch_fd(rt, 1, 0, MR_FD_READ) == MR_FORKED;
		mr_connection_free(c);
		mr_runtime_free(rt, 1);
		_exit(refused ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(mr_connection_open(c, 3), MR_OK);
	assert_int_equal(wait_done(rt, 3, NULL), MR_CONNECTION_REFUSED);
	mr_runtime_free(rt, 1);
}

static void test_starting_survives_every_failing_allocation(void **state)
{
	long live = mr_alloc_live();
	int fds = entries("/proc/self/fd");
	(void)state;
	for (long n = 1; n < 100; n++) {
		mr_runtime *rt = NULL;
		mr_alloc_fail_nth(n);
		int st = mr_runtime_new(&rt);
		mr_alloc_fail_nth(0);
		if (st == MR_OK) mr_runtime_free(rt, 1);
		assert_int_equal(mr_alloc_live(), live);
		assert_int_equal(entries("/proc/self/fd"), fds);
		if (st == MR_OK) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bad_peer_has_its_kind_within_connect_timeout),
		cmocka_unit_test(test_a_closed_port_refuses),
		cmocka_unit_test(test_calls_in_the_wrong_state_are_refused),
		cmocka_unit_test(test_what_was_asked_of_a_connection_ends_with_it),
		cmocka_unit_test(test_descriptors_and_times_wake_the_host),
		cmocka_unit_test(test_in_a_fork_every_call_fails_and_the_parent_goes_on),
		cmocka_unit_test(test_starting_survives_every_failing_allocation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
