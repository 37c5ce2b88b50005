/* test_memory: every allocation of a live I/O thread, and of its host, fails once.
 * Feature: a failed allocation, wherever it is
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit_testing.h"

#define PATIENCE 0.3 /* s for whatever lacks the memory to answer */
#define HEALTHY 20   /* s for what does not */
#define REFUSING "amqp://127.0.0.1:1,127.0.0.1:2,localhost:3" /* nothing listens there */

/* ---- an allocator whose n-th call on some threads fails ---- */

static atomic_long calls, fail_at;
static pid_t before[64]; /* the threads that do not count; the first is the host */
static size_t before_count;
static bool is_of_host;
static _Thread_local int counts; /* 1: this thread's calls do, -1: they do not; 0: not known yet */

static bool does_count(void)
{
	if (!counts) {
		pid_t me = (pid_t)syscall(SYS_gettid);
		bool is_old = false;
		for (size_t i = 0; i < before_count; i++) is_old = is_old || before[i] == me;
		counts = is_old ? -1 : 1;
	}
	return getpid() == (pid_t)syscall(SYS_gettid) ? is_of_host : !is_of_host && counts > 0;
}

static void *resize(void *p, size_t size)
{
	if (atomic_load(&fail_at) && does_count() &&
		atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at))
		return NULL;
	return realloc(p, size);
}

static void list_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	before_count = 0;
	while ((entry = readdir(dir)) && before_count < sizeof before / sizeof *before) {
		int tid = atoi(entry->d_name);
		if (tid) before[before_count++] = tid;
	}
	closedir(dir);
}

/* ---- a life: connect, declare, consume, publish, lose the connection, come back, publish ---- */

static mr_runtime *rt;
static mr_server *server;
static uint64_t tokens;
static double patience;

/* Pulls events until the request has ended or patience has; settles what is delivered meanwhile. */
static bool settle_until(uint64_t token, uint32_t type)
{
	double deadline = mr_now() + patience;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, deadline - mr_now()) != 1) continue;
		bool is_it = ev.type == type && ev.as.done.token == token;
		bool is_well = ev.status == MR_OK;
		if (type == MR_EV_CONNECTION)
			is_it = ev.type == type && ev.connection == token &&
			        ev.as.connection.state == MR_CONNECTION_RECOVERED;
		if (ev.type == MR_EV_DELIVERY || ev.type == MR_EV_RETURN)
			mr_delivery_settle(rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE);
		mr_event_fini(&ev);
		if (is_it) return is_well;
	}
	return false;
}

static mr_connection *make_connection(void)
{
	mr_connection *c = NULL;
	mr_error error;
	mr_options *o = mr_options_new();
	bool made = o && mr_options_string(o, "url", "memory://short", 14, &error) == MR_OK;
	made = made && mr_options_number(o, "connect_timeout", PATIENCE, &error) == MR_OK;
	made = made && mr_options_number(o, "rpc_timeout", PATIENCE, &error) == MR_OK;
	made = made &&
	       mr_options_number(o, "transport_options.interval_max", 0.001, &error) == MR_OK;
	made = made && mr_connection_new(rt, o, &c, &error) == MR_OK;
	mr_options_free(o);
	return made ? c : NULL;
}

static bool ask(mr_channel *ch, int operation, const char *name)
{
	mr_request r = {.operation = operation, .name = {name, strlen(name)}, .timeout = patience};
	if (operation == MR_EXCHANGE_DECLARE) r.extra = (mr_bytes){"fanout", 6};
	if (operation == MR_QUEUE_BIND) r.extra = (mr_bytes){"fan", 3};
	if (operation == MR_BASIC_CONSUME) r.number = 1;
	return mr_channel_request(ch, ++tokens, &r) == MR_OK && settle_until(tokens, MR_EV_DONE);
}

static bool publish(mr_channel *ch, size_t size)
{
	static char body[20000];
	uint64_t number = 0;
	return mr_channel_publish(ch, "fan", 3, "", 0, body, size, NULL, 0, 0, patience, &number) ==
	               MR_OK &&
	       settle_until(number, MR_EV_CONFIRM);
}

static bool work_on(mr_connection *c, mr_channel *ch)
{
	if (!settle_until(tokens, MR_EV_DONE)) return false;
	bool done = ask(ch, MR_CONFIRM_SELECT, "") && ask(ch, MR_EXCHANGE_DECLARE, "fan") &&
	            ask(ch, MR_QUEUE_DECLARE, "short") && ask(ch, MR_QUEUE_BIND, "short") &&
	            ask(ch, MR_BASIC_CONSUME, "short") && publish(ch, 10) && publish(ch, 20000);
	mr_server_fault(server, MR_FAULT_DROP, 0, NULL);
	return settle_until(mr_connection_id(c), MR_EV_CONNECTION) && publish(ch, 10) && done;
}

static bool work(mr_connection *c)
{
	mr_channel *ch = NULL;
	if (mr_connection_open(c, ++tokens) != MR_OK || !settle_until(tokens, MR_EV_DONE))
		return false;
	if (mr_channel_open(c, ++tokens, &ch) != MR_OK) return false;
	bool done = work_on(c, ch);
	mr_channel_free(ch);
	return done;
}

/* Returns whether the n-th call was reached at all. */
static bool live_with_failure(long n)
{
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	if (!is_of_host)
		mr_runtime_fd(rt); /* such a host leaves all of the loop to the I/O thread */
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	/* A second connection, as the one that gets no link must not hurt its neighbour. */
	mr_connection *other = make_connection();
	assert_non_null(other);
	assert_int_equal(mr_connection_open(other, ++tokens), MR_OK);
	assert_true(settle_until(tokens, MR_EV_DONE));
	patience = PATIENCE;
	atomic_store(&calls, 0);
	atomic_store(&fail_at, n);
	mr_connection *c = make_connection();
	if (c) work(c);
	atomic_store(&fail_at, 0);
	patience = HEALTHY;
	bool reached = atomic_load(&calls) >= n;
	if (c) mr_connection_free(c);
	assert_true(work(other));
	mr_runtime_free(rt, 1);
	return reached;
}

static mr_connection *make_refused(void)
{
	mr_connection *c = NULL;
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", REFUSING, sizeof REFUSING - 1, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	return c;
}

static int end_of_open(uint64_t token)
{
	double deadline = mr_now() + HEALTHY;
	int kind = MR_OK;
	while (!kind && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, deadline - mr_now()) != 1) continue;
		if (ev.type == MR_EV_DONE && ev.as.done.token == token) kind = ev.status;
		mr_event_fini(&ev);
	}
	return kind;
}

/* The kind that the request was told is the one that the connection has, if it has an error: one
 * that could not be kept has become no other. */
static bool be_refused_with_failure(long n)
{
	mr_error error;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	mr_connection *c = make_refused();
	atomic_store(&calls, 0);
	atomic_store(&fail_at, n);
	assert_int_equal(mr_connection_open(c, ++tokens), MR_OK);
	int kind = end_of_open(tokens);
	atomic_store(&fail_at, 0);
	bool reached = atomic_load(&calls) >= n;
	int held = mr_connection_error(c, &error);
	assert_true(kind == MR_CONNECTION_REFUSED || (kind == MR_NO_MEMORY && !is_of_host));
	assert_true(held == kind || (!held && kind == MR_NO_MEMORY));
	mr_connection_free(c);
	mr_runtime_free(rt, 1);
	return reached;
}

static void test_a_refused_connection_is_told_whichever_allocation_fails(void **state)
{
	(void)state;
	for (int host = 0; host < 2; host++) {
		long n = 1;
		is_of_host = host;
		list_threads();
		while (be_refused_with_failure(n)) n++;
		assert_in_range(n, 2, 1000);
	}
}

static void walk(bool of_host)
{
	long n = 1;
	mr_error error;
	is_of_host = of_host;
	patience = HEALTHY;
	assert_int_equal(mr_server_open(&server, "short", &error), MR_OK);
	list_threads();
	while (live_with_failure(n)) n++;
	assert_in_range(n, 10, 100000);
	mr_server_close(server);
}

/* FIELD-R12 */
static void test_an_io_thread_survives_each_failing_allocation(void **state)
{
	(void)state;
	walk(false);
}

/* FIELD-R12: its sibling on the host's side of the same calls. */
static void test_a_host_survives_each_failing_allocation(void **state)
{
	(void)state;
	walk(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refused_connection_is_told_whichever_allocation_fails),
		cmocka_unit_test(test_an_io_thread_survives_each_failing_allocation),
		cmocka_unit_test(test_a_host_survives_each_failing_allocation),
	};
	mr_set_allocator(resize, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
