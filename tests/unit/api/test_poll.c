/* test_poll: when mr_runtime_poll returns, and when the I/O thread hears of what the host asked.
 * Covers: runtime/io/watch.c by MR_FD_WRITE
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit.h"

#define MESSAGES 30000
#define STORM 10000 /* more events than the ring holds */

static mr_runtime *rt;
static mr_connection *connection;
static mr_channel *channel;

/* Pulls events until one of this type and token has come; its status. */
static int wait_for(uint32_t type, uint64_t token)
{
	double deadline = mr_now() + 30;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 5) != 1) continue;
		bool is_it = ev.type == type && ev.as.done.token == token;
		int status = ev.status;
		if (ev.type == MR_EV_DELIVERY) mr_delivery_release(rt, ev.as.delivery);
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	fail_msg("event %u with token %d never came", type, (int)token);
	return -1;
}

static int request(uint64_t token, int operation)
{
	mr_request r = {.operation = operation, .name = {"poll", 4}};
	if (operation == MR_BASIC_CONSUME) r.flags = MR_NO_ACK;
	assert_int_equal(mr_channel_request(channel, token, &r), MR_OK);
	return wait_for(MR_EV_DONE, token);
}

static int begin(void **state)
{
	mr_error error;
	mr_options *o = mr_options_new();
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	assert_int_equal(mr_options_string(o, "url", "memory://", 9, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(connection, 1), MR_OK);
	assert_int_equal(wait_for(MR_EV_DONE, 1), MR_OK);
	assert_int_equal(mr_channel_open(connection, 2, &channel), MR_OK);
	assert_int_equal(wait_for(MR_EV_DONE, 2), MR_OK);
	assert_int_equal(request(3, MR_QUEUE_DECLARE), MR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	return 0;
}

static void publish(void)
{
	uint64_t number;
	assert_int_equal(
		mr_channel_publish(channel, "", 0, "poll", 4, "x", 1, NULL, 0, 0, 30, &number),
		MR_OK);
}

static bool is_readable(int ms)
{
	struct pollfd pfd = {.fd = mr_runtime_fd(rt), .events = POLLIN};
	return poll(&pfd, 1, ms) == 1;
}

/* FIELD-R6: the write of a wake that lost its race with a cancel comes late, as here. */
static void test_a_late_wake_neither_ends_a_poll_nor_stays(void **state)
{
	uint64_t one = 1;
	mr_event ev;
	(void)state;
	for (int round = 0; round < 3; round++) {
		assert_int_equal(write(mr_runtime_fd(rt), &one, sizeof one), sizeof one);
		double begun = mr_now();
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0.05), 0);
		assert_true(mr_now() - begun >= 0.045);
		assert_false(is_readable(0));
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0); /* a host with its own loop */
		assert_int_equal(write(mr_runtime_fd(rt), &one, sizeof one), sizeof one);
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
		assert_false(is_readable(0));
	}
}

/* FIELD-R6: the natural race of wakes and cancels, message by message. */
/* FIELD-R6: the descriptor's level is the truth, whatever came before the host made ready. */
static void test_a_poll_that_takes_nothing_leaves_the_descriptor_readable(void **state)
{
	mr_event ev;
	mr_request r = {.operation = MR_QUEUE_DECLARE, .name = {"poll", 4}};
	(void)state;
	assert_int_equal(mr_runtime_poll(rt, &ev, 0, 0), 0);
	assert_int_equal(mr_channel_request(channel, 4, &r), MR_OK);
	assert_true(is_readable(10000));
	for (int round = 0; round < 3; round++) {
		assert_int_equal(mr_runtime_poll(rt, &ev, 0, 0), 0);
		assert_true(is_readable(0));
	}
	assert_int_equal(mr_runtime_poll(rt, &ev, 0, -1), 0); /* there is nothing to wait for */
	assert_int_equal(mr_runtime_poll(rt, &ev, -1, 5), 0);
	assert_true(is_readable(0));
	assert_int_equal(wait_for(MR_EV_DONE, 4), MR_OK);
}

/* A host that takes one event each time the descriptor is readable must see all of them. */
static void test_the_descriptor_is_readable_while_there_is_an_event(void **state)
{
	const mr_request r = {.operation = MR_QUEUE_DECLARE, .name = {"poll", 4}};
	(void)state;
	for (int round = 0; round < 20; round++) {
		for (uint64_t token = 4; token < 8; token++)
			assert_int_equal(mr_channel_request(channel, token, &r), MR_OK);
		for (int n = 0; n < 4; n++) {
			mr_event ev;
			assert_true(is_readable(10000));
			assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 1);
			assert_int_equal(ev.type, MR_EV_DONE);
			mr_event_fini(&ev);
		}
		assert_false(is_readable(0));
	}
}

static void test_a_poll_without_a_limit_never_returns_nothing(void **state)
{
	(void)state;
	assert_int_equal(request(4, MR_BASIC_CONSUME), MR_OK);
	long empty = 0;
	for (int got = 0, sent = 0; got < MESSAGES;) {
		mr_event events[8];
		while (sent < MESSAGES && sent - got < 1 + got % 3) {
			publish();
			sent++;
		}
		int n = mr_runtime_poll(rt, events, 8, -1);
		empty += n == 0;
		for (int i = 0; i < n; i++) {
			got += events[i].type == MR_EV_DELIVERY;
			if (events[i].type == MR_EV_DELIVERY)
				mr_delivery_release(rt, events[i].as.delivery);
			mr_event_fini(&events[i]);
		}
	}
	assert_int_equal(empty, 0);
}

static uint64_t bytes_out(void)
{
	mr_stats stats;
	mr_runtime_stats(rt, &stats);
	return stats.bytes_out;
}

/* Computes: does not poll. Returns how long it took until the I/O thread had written something. */
static double compute_until_written(uint64_t before)
{
	double begun = mr_now();
	while (bytes_out() == before && mr_now() - begun < 10) {}
	return mr_now() - begun;
}

/* FIELD-R15: the shortest of several tries, as the machine may be busy: with the tick of a second it
 * would be half a second on average, and each try waits for a moment of its own within it. */
static void test_a_host_that_woke_by_itself_and_computes_is_heard(void **state)
{
	mr_event ev;
	double longest = 0;
	(void)state;
	assert_int_equal(mr_runtime_watchdog(rt, 0, 0), MR_OK);
	for (int round = 0; round < 8; round++) {
		while (mr_runtime_poll(rt, &ev, 1, 0.05) == 1) mr_event_fini(&ev);
		uint64_t before = bytes_out();
		publish();
		double took = compute_until_written(before);
		if (took > longest) longest = took;
	}
	/* Eight waits for a tick of a second would not all be this short. */
	assert_true(longest < 0.3);
}

/* FIELD-R15: the same, when the commands are settlements and the host was woken by a descriptor. */
static void test_the_second_command_of_a_computing_host_is_heard_too(void **state)
{
	mr_event ev;
	(void)state;
	while (mr_runtime_poll(rt, &ev, 1, 0.05) == 1) mr_event_fini(&ev);
	for (int round = 0; round < 8; round++) {
		uint64_t before = bytes_out();
		publish();
		assert_true(compute_until_written(before) < 0.3);
	}
}

/* FIELD-R15: what else leaves: each asked once by a host that woke by itself. */
static mr_delivery *held;

static void ask_to_declare(void)
{
	mr_request r = {.operation = MR_QUEUE_DECLARE, .name = {"poll", 4}};
	assert_int_equal(mr_channel_request(channel, 40, &r), MR_OK);
}

static void settle(void)
{
	assert_int_equal(mr_delivery_settle(rt, held, MR_ACK, MR_SETTLE_RELEASE), MR_OK);
}

static void ask_for_a_secret(void)
{
	assert_int_equal(mr_connection_update_secret(connection, 41, "guest", 5, 0), MR_OK);
}

static void ask_for_a_channel(void)
{
	mr_channel *other;
	assert_int_equal(mr_channel_open(connection, 42, &other), MR_OK);
}

static void close_the_channel(void) { assert_int_equal(mr_channel_close(channel, 43), MR_OK); }

static void close_the_connection(void)
{
	assert_int_equal(mr_connection_close(connection, 44, 5), MR_OK);
}

static void hold_a_delivery(void)
{
	mr_event ev = {0};
	mr_request r = {.operation = MR_BASIC_CONSUME, .name = {"poll", 4}};
	assert_int_equal(mr_channel_request(channel, 45, &r), MR_OK);
	publish();
	while (ev.type != MR_EV_DELIVERY) {
		if (ev.type) mr_event_fini(&ev);
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 30), 1);
	}
	held = ev.as.delivery;
}

static void test_all_that_a_computing_host_asks_for_is_heard(void **state)
{
	static void (*const asks[])(void) = {ask_to_declare, settle, ask_for_a_secret,
		ask_for_a_channel, close_the_channel, close_the_connection};
	mr_event ev;
	(void)state;
	assert_int_equal(mr_runtime_watchdog(rt, 0, 0), MR_OK);
	hold_a_delivery();
	for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
		while (mr_runtime_poll(rt, &ev, 1, 0.05) == 1) mr_event_fini(&ev);
		uint64_t before = bytes_out();
		asks[i]();
		assert_true(compute_until_written(before) < 0.3);
	}
	mr_channel_free(channel); /* it was closed: the runtime has forgotten it */
}

static mr_pool *new_pool(uint32_t limit)
{
	mr_error error;
	mr_pool *pool;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "memory://", 9, &error), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_POOLED, limit, &pool, &error), MR_OK);
	return pool;
}

/* FIELD-R15: a host with a loop of its own is told of a place by itself, not by the I/O thread, which goes on taking
 * it to be asleep. */
static void test_a_host_that_its_own_pool_woke_and_that_computes_is_heard(void **state)
{
	mr_event ev;
	uint32_t item;
	mr_pool *pool = new_pool(1);
	(void)state;
	assert_int_equal(mr_runtime_watchdog(rt, 0, 0), MR_OK);
	for (uint64_t round = 100; round < 108; round++) {
		assert_int_equal(mr_pool_acquire(pool, round, MR_POOL_PUBLISH, 0, &item), MR_OK);
		assert_int_equal(mr_pool_acquire(pool, round + 100, MR_POOL_PUBLISH, -1, &item),
			MR_OK);
		while (mr_runtime_poll(rt, &ev, 1, 0.05) == 1) mr_event_fini(&ev);
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
		assert_false(
			is_readable(20)); /* by then the I/O thread looks for commands no more */
		assert_int_equal(mr_pool_release(pool, round), MR_OK);
		assert_true(is_readable(0));
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 1);
		assert_int_equal(ev.as.done.token, round + 100);
		mr_event_fini(&ev);
		uint64_t before = bytes_out();
		publish();
		assert_true(compute_until_written(before) < 0.3);
		assert_int_equal(mr_pool_release(pool, round + 100), MR_OK);
	}
	mr_pool_free(pool);
}

/* FIELD-R15: what did not fit into the event ring comes without a tick of any timer. */
static void test_a_full_backlog_comes_as_the_host_makes_room(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++) {
		for (uint64_t token = 1; token <= STORM; token++)
			assert_int_equal(mr_watch_fd(rt, token, 1000000, MR_FD_READ), MR_OK);
		for (int got = 0; got < STORM;) {
			mr_event events[64];
			int n = mr_runtime_poll(rt, events, 64, 0.9);
			assert_true(n > 0); /* the stall watch would have it go on after a second */
			got += n;
		}
	}
}

/* FIELD-R16 */
static void test_a_token_watches_one_descriptor_at_a_time(void **state)
{
	int fds[2];
	mr_event ev;
	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(mr_watch_fd(rt, 5, fds[0], MR_FD_READ), MR_OK);
	assert_int_equal(mr_watch_fd(rt, 5, fds[1], MR_FD_WRITE), MR_BAD_ARGUMENT);
	assert_int_equal(mr_watch_fd(rt, 6, fds[0], MR_FD_READ), MR_OK); /* another of the same */
	assert_int_equal(mr_unwatch_fd(rt, 5), MR_OK);
	assert_int_equal(mr_unwatch_fd(rt, 5), MR_OK);
	assert_int_equal(mr_watch_fd(rt, 5, fds[1], MR_FD_WRITE), MR_OK);
	assert_int_equal(wait_for(MR_EV_FD, 5), 0);
	assert_int_equal(mr_watch_fd(rt, 5, fds[1], MR_FD_WRITE), MR_OK);
	/* Most likely its event is there by now, but it is taken back: it must not end the next watch of
	 * that token. */
	is_readable(20);
	assert_int_equal(mr_unwatch_fd(rt, 5), MR_OK);
	assert_int_equal(mr_watch_fd(rt, 5, fds[0], MR_FD_READ), MR_OK);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0.05), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(wait_for(MR_EV_FD, 5), 0);
	close(fds[0]);
	close(fds[1]);
}

/* FIELD-R16: its number may have become another file's before anybody could look. */
static void test_a_descriptor_that_is_closed_meanwhile_wakes_who_waits(void **state)
{
	int fds[2], others[2], full[2];
	(void)state;
	assert_int_equal(pipe(full), 0);
	assert_int_equal(write(full[1], "x", 1), 1);
	for (int reused = 0; reused < 2; reused++) {
		assert_int_equal(pipe(fds), 0);
		assert_int_equal(pipe(others), 0);
		assert_int_equal(mr_watch_fd(rt, 7, fds[0], MR_FD_READ), MR_OK);
		/* When this one is heard, the other is watched. */
		assert_int_equal(mr_watch_fd(rt, 8, full[0], MR_FD_READ), MR_OK);
		assert_int_equal(wait_for(MR_EV_FD, 8), 0);
		if (reused)
			assert_int_equal(dup2(others[0], fds[0]), fds[0]);
		else
			close(fds[0]);
		assert_int_equal(wait_for(MR_EV_FD, 7), 0);
		if (reused) close(fds[0]);
		close(fds[1]);
		close(others[0]);
		close(others[1]);
	}
	close(full[0]);
	close(full[1]);
}

/* ---- polls within polls ---- */

static int poll_of_handler = -1;

static void on_signal(int number)
{
	mr_event ev;
	(void)number;
	poll_of_handler = mr_runtime_poll(rt, &ev, 1, 5);
}

static void *poll_in_thread(void *result)
{
	mr_event ev;
	double until = mr_now() + 20;
	/* until the other poll is at work, this one finds nothing itself */
	while (mr_now() < until && poll_of_handler != 0) {
		*(int *)result = mr_runtime_poll(rt, &ev, 1, 0);
		usleep(1000);
	}
	return NULL;
}

/* Standard error goes into a pipe; returns what it was. */
static int redirect(int fds[2])
{
	int kept = dup(STDERR_FILENO);
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	return kept;
}

static void assert_one_line(int fds[2], int kept)
{
	char text[1000] = "";
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(fds[1]);
	ssize_t n = read(fds[0], text, sizeof text - 1);
	close(fds[0]);
	assert_true(n > 0 && strchr(text, '\n') == text + n - 1);
	assert_non_null(strstr(text, "a runtime belongs to one thread"));
}

/* The poll that was interrupted goes on, and nothing of it is taken. */
static void test_a_poll_of_a_signal_handler_takes_nothing(void **state)
{
	int fds[2], kept = redirect(fds);
	(void)state;
	struct sigaction act = {.sa_handler = on_signal};
	struct itimerval soon = {.it_value.tv_usec = 50000, .it_interval.tv_usec = 50000},
			 never = {.it_value.tv_usec = 0};
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	mr_event ev;
	double until = mr_now() + 20;
	while (poll_of_handler < 0 && mr_now() < until) mr_runtime_poll(rt, &ev, 1, 10);
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	assert_one_line(fds, kept);
	assert_int_equal(poll_of_handler, 0);
	assert_int_equal(request(2, MR_QUEUE_PURGE), MR_OK);
}

static void test_a_poll_of_a_second_thread_takes_nothing(void **state)
{
#ifdef __SANITIZE_THREAD__
	skip(); /* the polls before the first are the race that it is there to report */
#endif
	int fds[2], kept = redirect(fds), result = -1;
	pthread_t thread;
	mr_event ev;
	(void)state;
	poll_of_handler = -1;
	assert_int_equal(pthread_create(&thread, NULL, poll_in_thread, &result), 0);
	for (int i = 0; i < 200; i++) mr_runtime_poll(rt, &ev, 0, 0);
	for (int i = 0; i < 4; i++) mr_runtime_poll(rt, &ev, 1, 0.05);
	poll_of_handler = 0;
	pthread_join(thread, NULL);
	assert_one_line(fds, kept);
	assert_int_equal(result, 0);
	assert_int_equal(request(2, MR_QUEUE_PURGE), MR_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_a_late_wake_neither_ends_a_poll_nor_stays),
		TEST(test_a_poll_that_takes_nothing_leaves_the_descriptor_readable),
		TEST(test_the_descriptor_is_readable_while_there_is_an_event),
		TEST(test_a_poll_without_a_limit_never_returns_nothing),
		TEST(test_a_host_that_woke_by_itself_and_computes_is_heard),
		TEST(test_the_second_command_of_a_computing_host_is_heard_too),
		TEST(test_all_that_a_computing_host_asks_for_is_heard),
		TEST(test_a_host_that_its_own_pool_woke_and_that_computes_is_heard),
		TEST(test_a_full_backlog_comes_as_the_host_makes_room),
		TEST(test_a_token_watches_one_descriptor_at_a_time),
		TEST(test_a_descriptor_that_is_closed_meanwhile_wakes_who_waits),
		TEST(test_a_poll_of_a_signal_handler_takes_nothing),
		TEST(test_a_poll_of_a_second_thread_takes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
