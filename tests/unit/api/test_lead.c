/* test_lead: a host that runs the I/O loop in its polls notices nothing of it.
 * SPDX-License-Identifier: MIT */
#include <openssl/err.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.h"
#include "host_bench.h"
#include "moonrabbit_testing.h"

#define LEAD_PATIENCE 1000 /* another process may hold the answers up */

static struct host h;
static pthread_t host;
static int idle[2];           /* a pipe that nobody writes to */
static unsigned long by_host; /* pieces of memory that the host's thread has got */
static volatile sig_atomic_t to_raise, raised_in_loop, handled, handled_in_loop;

/* Signals come where the loop works for a command: there it gets memory. */
static void *resize(void *p, size_t size)
{
	bool is_host = pthread_equal(pthread_self(), host);
	int number = is_host ? to_raise : 0;
	by_host += is_host;
	if (number) {
		to_raise = 0;
		raise(number);
		raised_in_loop++;
		handled_in_loop += handled;
	}
	return realloc(p, size);
}

static void on_signal(int number)
{
	(void)number;
	handled++;
}

static void leave(int number)
{
	(void)number;
	exit(7);
}

static void confirmed(void)
{
	uint64_t number;
	int from = h.count = 0;
	assert_int_equal(
		mr_channel_publish(h.ch, "", 0, "lead", 4, "x", 1, NULL, 0, 0, 30, &number), MR_OK);
	assert_non_null(wait_for(&h, from, MR_EV_CONFIRM, -1, number));
}

/* It has the helm now. */
static void take_helm(void)
{
	for (int i = 0; i < 8; i++) confirmed();
}

static void start(const char *url)
{
	host = pthread_self();
	to_raise = raised_in_loop = handled = handled_in_loop = 0;
	begin(&h, url, -1);
	assert_int_equal(mr_lead_patience(h.rt, LEAD_PATIENCE), MR_OK);
	declare(&h, "lead", 0);
	assert_int_equal(request(&h, MR_CONFIRM_SELECT, "", 0, 0), MR_OK);
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(pipe(idle), 0);
	start("memory://");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	signal(SIGUSR1, SIG_DFL);
	end(&h);
	close(idle[0]);
	close(idle[1]);
	return 0;
}

/* A signal comes while the host does the loop's work. Returns how long the poll lasted, or 0: the loop was
 * not the host's. */
static double poll_with_signal(int number, double timeout)
{
	mr_event ev;
	int before = raised_in_loop;
	take_helm();
	assert_int_equal(mr_watch_fd(h.rt, 5, idle[0], MR_FD_READ), MR_OK);
	handled = handled_in_loop = 0;
	to_raise = number;
	double began = mr_now();
	assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, timeout), 0);
	double took = mr_now() - began;
	to_raise = 0;
	assert_int_equal(mr_unwatch_fd(h.rt, 5), MR_OK);
	return raised_in_loop > before ? took : 0;
}

/* On a busy machine the I/O thread may not have handed over yet. */
static double poll_that_leads(int number, double timeout)
{
	double took = 0;
	for (int tries = 0; !took && tries < 100; tries++) took = poll_with_signal(number, timeout);
	assert_true(took > 0);
	return took;
}

static void test_a_signal_waits_until_the_loop_can_be_left_and_ends_the_poll(void **state)
{
	(void)state;
	signal(SIGUSR1, on_signal);
	for (int i = 0; i < 10; i++) {
		double took = poll_that_leads(SIGUSR1, 0.2);
		assert_int_equal(handled_in_loop, 0);
		assert_int_equal(handled, 1);
		assert_true(took < 0.19);
	}
}

static void test_a_signal_without_a_handler_does_not_end_the_poll(void **state)
{
	(void)state;
	assert_true(poll_that_leads(SIGCHLD, 0.02) >= 0.02);
	signal(SIGUSR1, SIG_IGN);
	assert_true(poll_that_leads(SIGUSR1, 0.02) >= 0.02);
}

static void test_a_signal_that_the_host_blocks_stays_blocked(void **state)
{
	sigset_t blocked, before, now;
	int number;
	(void)state;
	signal(SIGUSR1, on_signal);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	double took = poll_that_leads(SIGUSR1, 0.02);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	assert_int_equal(sigismember(&now, SIGUSR1), 1);
	assert_int_equal(sigismember(&now, SIGTERM), sigismember(&before, SIGTERM));
	assert_int_equal(handled, 0);
	assert_int_equal(sigwait(&blocked, &number), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_true(took >= 0.02);
}

static void test_a_poll_lasts_as_long_as_it_was_told(void **state)
{
	(void)state;
	assert_int_equal(mr_lead_patience(h.rt, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_lead_patience(h.rt, 10001), MR_BAD_ARGUMENT);
	assert_int_equal(mr_lead_patience(h.rt, 1), MR_OK);
	for (int i = 0; i < 300; i++) {
		mr_event ev;
		double timeout = (i % 30 + 1) / 10000.0;
		take_helm();
		double began = mr_now();
		assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, timeout), 0);
		assert_true(mr_now() - began >= timeout);
	}
}

/* Each round is a turn of the loop at least. */
static void test_descriptors_are_read_though_commands_have_answers_at_once(void **state)
{
	const int nothing = 1000000; /* is no descriptor: the answer is there at once */
	int full[2];
	(void)state;
	assert_int_equal(pipe(full), 0);
	assert_int_equal(write(full[1], "x", 1), 1);
	for (int i = 0; i < 50; i++) {
		int rounds = 0;
		take_helm();
		assert_int_equal(mr_watch_fd(h.rt, 1, full[0], MR_FD_READ), MR_OK);
		for (bool is_read = false; !is_read; rounds++) {
			mr_event ev = {0};
			assert_int_equal(mr_watch_fd(h.rt, 2, nothing, MR_FD_READ), MR_OK);
			for (bool is_told = false; !is_told; mr_event_fini(&ev)) {
				assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, 20), 1);
				assert_int_equal(ev.type, MR_EV_FD);
				is_told = ev.as.fd.token == 2;
				is_read |= ev.as.fd.token == 1;
			}
		}
		assert_true(rounds < 10);
	}
	close(full[0]);
	close(full[1]);
}

/* How often the host has slept while it awaited `count` confirms. */
static long sleeps_of(int count)
{
	struct rusage before, after;
	take_helm();
	assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
	for (int i = 0; i < count; i++) confirmed();
	assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
	return after.ru_nvcsw - before.ru_nvcsw;
}

static void test_a_busy_poll_looks_for_the_answer_and_does_not_sleep(void **state)
{
	(void)state;
	assert_int_equal(mr_runtime_busy_poll(h.rt, 0.00051), MR_BAD_ARGUMENT);
	assert_int_equal(mr_runtime_busy_poll(h.rt, 0.0 / 0.0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_runtime_busy_poll(h.rt, -1), MR_OK);
	assert_int_equal(mr_runtime_busy_poll(h.rt, 0.0005), MR_OK);
	assert_true(sleeps_of(200) < 10); /* with nothing else at work it is 200 without a look */
}

static void poll_once(double timeout)
{
	mr_event ev;
	if (mr_runtime_poll(h.rt, &ev, 1, timeout) == 1) mr_event_fini(&ev);
}

/* What a look is for: `asked` begins one at the next wait, which then has had it. */
static void test_only_what_has_an_answer_is_looked_for(void **state)
{
	mr_request query = {.operation = MR_QUEUE_DECLARE,
		.flags = MR_PASSIVE,
		.name = {"lead", 4}};
	uint64_t number;
	(void)state;
	take_helm();
	assert_int_equal(h.rt->asked, 0);
	assert_int_equal(
		mr_channel_publish(h.ch, "", 0, "lead", 4, "x", 1, NULL, 0, 0, 30, &number), MR_OK);
	assert_int_equal(mr_channel_request(h.ch, 77, &query), MR_OK);
	assert_int_equal(h.rt->asked, 2);
	for (int i = 0; i < 50 && h.rt->asked; i++) poll_once(0.01);
	assert_int_equal(h.rt->asked, 0);
	mr_runtime_wake_at(h.rt, mr_now() + 100);
	mr_runtime_watchdog(h.rt, 10, 0);
	assert_int_equal(mr_watch_fd(h.rt, 5, idle[0], MR_FD_READ), MR_OK);
	assert_int_equal(mr_unwatch_fd(h.rt, 5), MR_OK);
	h.rt->loop_mode++; /* each poll tells the I/O thread of it */
	for (int i = 0; i < 5; i++) poll_once(0.001);
	h.rt->loop_mode--;
	assert_int_equal(h.rt->asked, 0);
}

static void test_a_consumer_that_acks_does_not_look_for_its_next_message(void **state)
{
	mr_delivery *got[20];
	int count = 0;
	(void)state;
	for (int i = 0; i < 20; i++) confirmed();
	assert_int_equal(request(&h, MR_BASIC_CONSUME, "lead", 0, 1), MR_OK);
	while (count < 20) {
		mr_event ev = {0};
		assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, 20), 1);
		if (ev.type == MR_EV_DELIVERY) got[count++] = ev.as.delivery;
		if (ev.type != MR_EV_DELIVERY) mr_event_fini(&ev);
	}
	for (int i = 0; i < 50 && h.rt->asked; i++) poll_once(0.01);
	for (int i = 0; i < 20; i++) mr_delivery_settle(h.rt, got[i], MR_ACK, MR_SETTLE_RELEASE);
	assert_int_equal(h.rt->asked, 0);
}

static void test_a_busy_poll_ends_with_a_signal_and_in_time(void **state)
{
	(void)state;
	signal(SIGUSR1, on_signal);
	assert_int_equal(mr_runtime_busy_poll(h.rt, 0.0005), MR_OK);
	assert_true(poll_that_leads(SIGUSR1, 0.2) < 0.19);
	assert_int_equal(handled, 1);
	test_a_poll_lasts_as_long_as_it_was_told(NULL);
}

static void fill_queue(int count)
{
	char body[700] = {0};
	uint64_t number = 0, last = 0;
	for (int i = 0; i < count; i++)
		assert_int_equal(mr_channel_publish(h.ch, "", 0, "lead", 4, body, sizeof body, NULL,
					 0, 0, 30, &number),
			MR_OK);
	while (last < number) {
		mr_event ev = {0};
		assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, 20), 1);
		if (ev.type == MR_EV_CONFIRM) last = ev.as.confirm.last;
		mr_event_fini(&ev);
	}
}

/* Messages that are always there: each poll takes one. Returns how often the host's thread got memory. */
static unsigned long take_flood(int count, double work)
{
	unsigned long before = 0;
	for (int i = 0; i < count; i++) {
		mr_event ev = {0};
		if (i == count / 2) before = by_host;
		assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, 20), 1);
		assert_int_equal(ev.type, MR_EV_DELIVERY);
		mr_delivery_release(h.rt, ev.as.delivery);
		for (double began = mr_now(); mr_now() - began < work;) {}
	}
	return by_host - before;
}

static void test_a_host_that_keeps_up_reads_by_itself(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) fill_queue(1000);
	assert_int_equal(request(&h, MR_BASIC_CONSUME, "lead", MR_NO_ACK, 1), MR_OK);
	unsigned long got = 0;
	for (int i = 0; i < 19 && !got; i++) got = take_flood(1000, 0); /* memory is used again */
	assert_true(got > 0);
	assert_int_equal(mr_lead_patience(h.rt, 1), MR_OK);
	assert_int_equal(take_flood(100, 0.005), 0); /* and one that works for long does not */
}

/* One event at a time, of thousands that wait: the loop has its turns in between. */
static void test_what_is_settled_leaves_though_there_are_always_events(void **state)
{
	uint64_t settled = 0;
	mr_stats stats = {0};
	(void)state;
	assert_int_equal(mr_lead_patience(h.rt, 20), MR_OK); /* a turn each 10 ms */
	for (int i = 0; i < 5; i++) fill_queue(1000);
	assert_int_equal(request(&h, MR_BASIC_QOS, "", 0, 5000), MR_OK);
	assert_int_equal(request(&h, MR_BASIC_CONSUME, "lead", 0, 1), MR_OK);
	do mr_runtime_stats(h.rt, &stats); /* the I/O thread takes the helm back, and reads ahead */
	while (stats.delivered < 5000);
	while (settled < 4000) {
		mr_event ev = {0};
		assert_int_equal(mr_runtime_poll(h.rt, &ev, 1, 20), 1);
		assert_int_equal(ev.type, MR_EV_DELIVERY);
		assert_int_equal(
			mr_delivery_settle(h.rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE), MR_OK);
		settled++;
		for (double began = mr_now(); mr_now() - began < 2e-5;) {}
	}
	mr_runtime_stats(h.rt, &stats);
	assert_true(stats.settled >= settled * 3 / 4); /* all but those of some ms */
}

static mr_connection *without_certificates(void)
{
	mr_error error;
	mr_connection *c;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "amqps://127.0.0.1:1", 19, &error), MR_OK);
	assert_int_equal(mr_options_string(o, "ssl_options.ca_certs", "/dev/null", 9, &error),
		MR_OK);
	assert_int_equal(mr_connection_new(h.rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	return c;
}

/* Else a library of the host that asks after its own errors would find them. */
static void test_openssl_keeps_no_error_for_the_host_s_thread(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		h.count = 0;
		mr_connection *c = without_certificates();
		take_helm();
		assert_int_equal(mr_connection_open(c, ++h.tokens), MR_OK);
		assert_non_null(wait_for(&h, 0, MR_EV_CONNECTION, -1, 0));
		assert_int_equal(ERR_peek_error(), 0);
		mr_connection_free(c);
	}
}

/* The child of a process that has no runtime. */
static void test_a_handler_may_end_the_process(void **state)
{
	int status;
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* it objects to exit() in a handler */
#endif
	double began = mr_now();
	pid_t child = fork();
	if (child == 0) {
		signal(SIGUSR1, leave);
		setup(NULL);
		poll_with_signal(SIGUSR1, 0.02);
		_exit(8);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_true(mr_now() - began < 2); /* nobody waits for a loop that never ends */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_handler_may_end_the_process),
		CASE(test_a_signal_waits_until_the_loop_can_be_left_and_ends_the_poll),
		CASE(test_a_signal_without_a_handler_does_not_end_the_poll),
		CASE(test_a_signal_that_the_host_blocks_stays_blocked),
		CASE(test_a_host_that_keeps_up_reads_by_itself),
		CASE(test_what_is_settled_leaves_though_there_are_always_events),
		CASE(test_openssl_keeps_no_error_for_the_host_s_thread),
		CASE(test_a_poll_lasts_as_long_as_it_was_told),
		CASE(test_a_busy_poll_looks_for_the_answer_and_does_not_sleep),
		CASE(test_only_what_has_an_answer_is_looked_for),
		CASE(test_a_consumer_that_acks_does_not_look_for_its_next_message),
		CASE(test_a_busy_poll_ends_with_a_signal_and_in_time),
		CASE(test_descriptors_are_read_though_commands_have_answers_at_once),
	};
	mr_set_allocator(resize, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
