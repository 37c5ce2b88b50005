/* test_embedded: the embedded broker by the public interface, and connections that it loses.
 * Covers: runtime/api/event.c by MR_CONNECTION_RETRYING
 * Covers: runtime/broker/server/report.c by exchanges
 * Covers: runtime/broker/server/fault.c by MR_FAULT_DROP
 * SPDX-License-Identifier: MIT */
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/value.h"
#include "host_bench.h"
#include "moonrabbit_testing.h"

static mr_server *server(const char *name)
{
	mr_server *s;
	mr_error error;
	assert_int_equal(mr_server_open(&s, name, &error), MR_OK);
	return s;
}

static size_t rows(mr_server *s, const char *list)
{
	mr_table *t = mr_server_report(s);
	size_t count = mr_table_find(t, list)->as.nested->count;
	mr_table_free(t);
	return count;
}

/* The broker hears of an end a moment after we have gone. */
static void becomes_empty(mr_server *s, const char *list)
{
	double deadline = mr_now() + PATIENCE;
	while (rows(s, list) && mr_now() < deadline) usleep(1000);
	assert_int_equal(rows(s, list), 0);
}

/* ---- which broker it is ---- */

static void test_two_runtimes_share_a_named_broker(void **state)
{
	struct host a, b;
	(void)state;
	begin(&a, "memory://shared", -1);
	begin(&b, "memory://shared", -1);
	declare(&a, "q", 0);
	assert_int_equal(request(&b, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_OK);
	end(&a);
	assert_int_equal(request(&b, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_OK);
	end(&b);
	begin(&a, "memory://shared", -1); /* it ended with its last connection */
	assert_int_equal(request(&a, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_NOT_FOUND);
	end(&a);
}

static void test_the_unnamed_broker_is_each_runtimes_own(void **state)
{
	struct host a, b;
	(void)state;
	begin(&a, "memory://", -1);
	begin(&b, "memory://", -1);
	declare(&a, "q", 0);
	assert_int_equal(request(&b, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_NOT_FOUND);
	end(&a);
	end(&b);
}

static void test_a_handle_keeps_its_broker_alive(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("kept");
	begin(&a, "memory://kept", -1);
	declare(&a, "q", 0);
	end(&a);
	begin(&a, "memory://kept", -1);
	assert_int_equal(request(&a, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_OK);
	end(&a);
	mr_server_close(s);
	mr_server_close(NULL);
}

static void test_tokens_of_the_upper_half_are_refused(void **state)
{
	struct host a;
	mr_channel *ch;
	mr_request r = {.operation = MR_TX_SELECT};
	(void)state;
	begin(&a, "memory://", -1);
	for (int i = 0; i < 2; i++) { /* their ends would be taken for the I/O thread's own */
		uint64_t token = i ? UINT64_MAX : UINT64_C(1) << 63;
		assert_int_equal(mr_connection_open(a.c, token), MR_BAD_ARGUMENT);
		assert_int_equal(mr_connection_close(a.c, token, 1), MR_BAD_ARGUMENT);
		assert_int_equal(mr_channel_open(a.c, token, &ch), MR_BAD_ARGUMENT);
		assert_int_equal(mr_channel_close(a.ch, token), MR_BAD_ARGUMENT);
		assert_int_equal(mr_channel_request(a.ch, token, &r), MR_BAD_ARGUMENT);
	}
	assert_int_equal(mr_channel_request(a.ch, INT64_MAX, &r), MR_OK);
	assert_int_equal(done(&a, INT64_MAX), MR_OK);
	end(&a);
}

static void test_a_handle_without_a_name_is_refused(void **state)
{
	mr_server *s;
	mr_error error = {0};
	(void)state;
	assert_int_equal(mr_server_open(&s, "", &error), MR_BAD_ARGUMENT);
	assert_int_equal(mr_server_open(&s, NULL, &error), MR_BAD_ARGUMENT);
	assert_true(strlen(error.text) > 0);
}

static void test_a_report_says_what_the_broker_has(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("report");
	assert_int_equal(rows(s, "connections"), 0);
	begin(&a, "memory://report", -1);
	const char *name = declare(&a, "", MR_EXCLUSIVE);
	assert_int_equal(request(&a, MR_BASIC_CONSUME, name, 0, 1), MR_OK);
	mr_table *t = mr_server_report(s);
	const mr_table *list = mr_table_find(t, "connections")->as.nested;
	assert_int_equal(list->count, 1);
	const mr_table *row = list->fields[0].value.as.nested;
	assert_memory_equal(mr_table_find(row, "user")->as.bytes.data, "guest", 5);
	assert_int_equal(mr_table_find(row, "channels")->as.integer, 1);
	list = mr_table_find(t, "queues")->as.nested;
	assert_int_equal(list->count, 1);
	row = list->fields[0].value.as.nested;
	assert_memory_equal(mr_table_find(row, "name")->as.bytes.data, name, strlen(name));
	assert_int_equal(mr_table_find(row, "consumers")->as.integer, 1);
	assert_true(mr_table_find(row, "exclusive")->as.boolean);
	assert_true(mr_table_find(t, "exchanges")->as.nested->count >= 7);
	mr_table_free(t);
	end(&a);
	becomes_empty(s, "connections");
	becomes_empty(s, "queues");
	assert_int_equal(mr_server_fault(s, 99, 0, NULL), MR_BAD_ARGUMENT);
	assert_int_equal(mr_server_fault(s, -1, 0, NULL), MR_BAD_ARGUMENT);
	mr_server_close(s);
}

/* ---- lost, and back ---- */

/* Cuts every connection; returns where what is told of it begins. */
static int cut(struct host *h, mr_server *s)
{
	int from = h->count;
	assert_int_equal(mr_server_fault(s, MR_FAULT_DROP, 0, NULL), MR_OK);
	assert_non_null(wait_for(h, from, MR_EV_CONNECTION, MR_CONNECTION_RETRYING, 0));
	return from;
}

static int place(const struct host *h, int from, uint32_t type, int detail)
{
	for (int at = from; at < h->count; at++)
		if (h->told[at].type == type && h->told[at].detail == detail) return at;
	fail_msg("event %u %d was never told", type, detail);
	return -1;
}

static void test_a_lost_connection_is_told_of_step_by_step_until_it_is_back(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("lost");
	begin(&a, "memory://lost", 0);
	declare(&a, "q", MR_EXCLUSIVE);
	assert_int_equal(request(&a, MR_BASIC_CONSUME, "q", 0, 7), MR_OK);
	uint32_t epoch = mr_channel_epoch(a.ch);
	int from = cut(&a, s);
	const struct told *recovered =
		wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0);
	assert_non_null(recovered);
	int lost = place(&a, from, MR_EV_CONNECTION, MR_CONNECTION_LOST);
	int retrying = place(&a, lost, MR_EV_CONNECTION, MR_CONNECTION_RETRYING);
	int open = place(&a, retrying, MR_EV_CONNECTION, MR_CONNECTION_OPEN);
	int again = place(&a, open, MR_EV_CHANNEL, MR_CHANNEL_AGAIN);
	int ready = place(&a, again, MR_EV_CHANNEL, MR_CHANNEL_READY);
	assert_true(ready < recovered - a.told);
	assert_int_equal(a.told[lost].status, MR_STREAM_LOST);
	assert_int_equal(a.told[lost].last, 1);
	assert_int_equal(a.told[retrying].token, 1);
	assert_int_equal(a.told[retrying].last, 0);
	assert_int_equal(a.told[again].status, MR_OK);
	assert_int_equal(a.told[again].channel, mr_channel_number(a.ch));
	assert_int_equal(recovered->token, 2); /* the queue and its consumer */
	assert_int_equal(mr_connection_state(a.c), MR_CONNECTION_OPEN);
	assert_int_equal(mr_connection_epoch(a.c), 2);
	assert_true(mr_channel_is_open(a.ch));
	assert_int_not_equal(mr_channel_epoch(a.ch), epoch);
	assert_int_equal(request(&a, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_OK);
	end(&a);
	mr_server_close(s);
}

static void test_while_it_is_away_the_channel_is_suspended_and_takes_nothing(void **state)
{
	struct host a;
	mr_error error;
	mr_request r = {.operation = MR_QUEUE_PURGE};
	(void)state;
	mr_server *s = server("away");
	begin(&a, "memory://away", 3600);
	cut(&a, s);
	assert_int_equal(mr_connection_state(a.c), MR_CONNECTION_RETRYING);
	assert_int_equal(mr_connection_error(a.c, &error), MR_STREAM_LOST);
	assert_true(mr_channel_is_suspended(a.ch) && !mr_channel_is_open(a.ch));
	assert_int_equal(mr_channel_request(a.ch, ++a.tokens, &r), MR_CLOSED);
	end(&a);
	mr_server_close(s);
}

static void test_opening_a_connection_that_came_back_is_done_at_once(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("bare");
	begin(&a, "memory://bare", 0);
	assert_int_equal(mr_channel_close(a.ch, ++a.tokens), MR_OK); /* nothing to bring back */
	assert_int_equal(done(&a, a.tokens), MR_OK);
	int from = cut(&a, s);
	const struct told *t = wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0);
	assert_non_null(t);
	assert_int_equal(t->token, 0);
	assert_int_equal(mr_connection_open(a.c, ++a.tokens), MR_OK);
	assert_int_equal(done(&a, a.tokens), MR_OK);
	end(&a);
	mr_server_close(s);
}

static void test_moving_the_clock_brings_the_next_try(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("clock");
	begin(&a, "memory://clock", 3600);
	int from = cut(&a, s);
	const struct told *t = wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RETRYING, 0);
	assert_int_equal(t->last, 3600 * 1000);
	double before = mr_now();
	assert_int_equal(mr_clock_advance(a.rt, ++a.tokens, 3601), MR_OK);
	assert_int_equal(done(&a, a.tokens), MR_OK);
	assert_true(mr_now() - before >= 3601);
	assert_non_null(wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_true(mr_now() - before < 3601 + PATIENCE);
	end(&a);
	mr_server_close(s);
}

static void test_refused_logins_are_retried_until_they_are_let_in(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("refusing");
	begin(&a, "memory://refusing", 0);
	assert_int_equal(mr_server_fault(s, MR_FAULT_REFUSE_LOGINS, 1, NULL), MR_OK);
	int from = cut(&a, s);
	const struct told *t = wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RETRYING, 3);
	assert_non_null(t);
	assert_int_equal(t->status, MR_AUTHENTICATION_FAILED);
	assert_int_equal(mr_server_fault(s, MR_FAULT_REFUSE_LOGINS, 0, NULL), MR_OK);
	assert_non_null(wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	end(&a);
	mr_server_close(s);
}

static void test_a_runtime_that_is_retrying_ends_in_time_and_leaves_nothing(void **state)
{
	struct host a;
	(void)state;
	long live = mr_alloc_live();
	mr_server *s = server("ending");
	begin(&a, "memory://ending", 3600);
	declare(&a, "q", MR_EXCLUSIVE);
	cut(&a, s);
	double before = mr_now();
	end(&a);
	assert_true(mr_now() - before < 1);
	becomes_empty(s, "connections");
	mr_server_close(s);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_closing_a_connection_that_is_retrying_ends_it(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("closing");
	begin(&a, "memory://closing", 3600);
	int from = cut(&a, s);
	assert_int_equal(mr_connection_close(a.c, ++a.tokens, 1), MR_OK);
	assert_int_equal(done(&a, a.tokens), MR_OK);
	assert_non_null(wait_for(&a, from, MR_EV_CONNECTION, MR_CONNECTION_CLOSED, 0));
	assert_false(mr_channel_is_suspended(a.ch));
	assert_int_equal(mr_connection_open(a.c, ++a.tokens), MR_OK); /* and it opens anew */
	assert_int_equal(done(&a, a.tokens), MR_OK);
	end(&a);
	mr_server_close(s);
}

static void test_losing_it_over_and_over_ends_with_one_of_each_and_no_leak(void **state)
{
	struct host a;
	(void)state;
	mr_server *s = server("often");
	begin(&a, "memory://often", 0);
	declare(&a, "q", MR_EXCLUSIVE);
	assert_int_equal(request(&a, MR_BASIC_CONSUME, "q", 0, 7), MR_OK);
	for (int i = 0; i < 12; i++) {
		a.count = 0;
		cut(&a, s);
		for (int k = 0; k < i % 4; k++) { /* in the middle of coming back */
			usleep(300);
			mr_server_fault(s, MR_FAULT_DROP, 0, NULL);
		}
		assert_non_null(wait_for(&a, 0, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	}
	a.count = 0;
	double deadline = mr_now() + 0.5; /* for a cut that fell behind the recovery */
	for (mr_event ev; mr_now() < deadline;)
		if (mr_runtime_poll(a.rt, &ev, 1, 0.1) == 1) keep(&a, &ev);
	mr_table *t = mr_server_report(s);
	const mr_table *q = mr_table_find(t, "queues")->as.nested;
	assert_int_equal(q->count, 1);
	assert_int_equal(mr_table_find(q->fields[0].value.as.nested, "consumers")->as.integer, 1);
	assert_int_equal(mr_table_find(t, "connections")->as.nested->count, 1);
	mr_table_free(t);
	end(&a);
	mr_server_close(s);
}

/* A declare with arguments; its status, -1 when it was not even sent. */
static int declare_with_arguments(struct host *h)
{
	mr_request r = {.operation = MR_QUEUE_DECLARE, .flags = MR_EXCLUSIVE};
	mr_value ttl = {.type = 'l', .as.integer = 60000};
	r.name = mr_slice_str("with arguments");
	r.arguments = mr_table_new();
	if (r.arguments) mr_table_add(r.arguments, "x-expires", 9, &ttl);
	if (r.arguments && mr_channel_request(h->ch, ++h->tokens, &r) == MR_OK)
		return done(h, h->tokens);
	mr_table_free(r.arguments);
	return -1;
}

/* Any thread's allocation may be the one that fails: host's, I/O thread's, broker's. */
static void test_requests_survive_every_failing_allocation(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	for (long n = 1; n <= 40; n++) {
		struct host a;
		begin(&a, "memory://short", 0);
		mr_alloc_fail_nth(n);
		int first = declare_with_arguments(&a);
		mr_alloc_fail_nth(0);
		assert_true(first >= -1 && first < mr_status_count());
		if (mr_channel_is_open(a.ch)) declare_with_arguments(&a);
		end(&a);
		assert_int_equal(mr_alloc_live(), live);
	}
}

/* ---- a fork ---- */

static bool all_calls_are_refused(struct host *h, mr_server *s)
{
	mr_error error = {0};
	mr_request r = {.operation = MR_TX_SELECT};
	mr_channel *ch;
	mr_event ev;
	uint16_t port;
	return mr_runtime_poll(h->rt, &ev, 1, 0) == -1 &&
	       mr_connection_open(h->c, 1) == MR_FORKED &&
	       mr_connection_close(h->c, 1, 1) == MR_FORKED &&
	       mr_channel_open(h->c, 1, &ch) == MR_FORKED &&
	       mr_channel_request(h->ch, 1, &r) == MR_FORKED &&
	       mr_clock_advance(h->rt, 1, 1) == MR_FORKED &&
	       mr_server_fault(s, MR_FAULT_DROP, 0, NULL) == MR_FORKED &&
	       mr_server_add_user(s, "u", "p") == MR_FORKED &&
	       mr_server_add_vhost(s, "v") == MR_FORKED &&
	       mr_server_listen(s, "127.0.0.1", 0, NULL, NULL, &port, &error) == MR_FORKED &&
	       error.kind == MR_FORKED && !mr_server_report(s);
}

static bool the_name_is_free(void)
{
#ifndef __SANITIZE_THREAD__ /* TSan allows no threads after a fork */
	struct host own;
	begin(&own, "memory://forked", 0);
	int found = request(&own, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0);
	end(&own);
	if (found != MR_NOT_FOUND) return false;
#endif
	return true;
}

static void test_a_forked_childs_calls_are_refused_and_its_own_broker_is_new(void **state)
{
	struct host a;
	int status;
	(void)state;
	mr_server *s = server("forked");
	begin(&a, "memory://forked", 0);
	declare(&a, "q", 0);
	pid_t child = fork();
	if (child == 0) {
		if (!all_calls_are_refused(&a, s)) _exit(1);
		mr_channel_free(a.ch);
		mr_connection_free(a.c);
		mr_runtime_free(a.rt, 1);
		mr_server_close(s);
		_exit(the_name_is_free() ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(request(&a, MR_QUEUE_DECLARE, "q", MR_PASSIVE, 0), MR_OK);
	assert_int_equal(rows(s, "connections"), 1);
	end(&a);
	mr_server_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_runtimes_share_a_named_broker),
		cmocka_unit_test(test_the_unnamed_broker_is_each_runtimes_own),
		cmocka_unit_test(test_a_handle_keeps_its_broker_alive),
		cmocka_unit_test(test_tokens_of_the_upper_half_are_refused),
		cmocka_unit_test(test_a_handle_without_a_name_is_refused),
		cmocka_unit_test(test_a_report_says_what_the_broker_has),
		cmocka_unit_test(test_a_lost_connection_is_told_of_step_by_step_until_it_is_back),
		cmocka_unit_test(test_while_it_is_away_the_channel_is_suspended_and_takes_nothing),
		cmocka_unit_test(test_opening_a_connection_that_came_back_is_done_at_once),
		cmocka_unit_test(test_moving_the_clock_brings_the_next_try),
		cmocka_unit_test(test_refused_logins_are_retried_until_they_are_let_in),
		cmocka_unit_test(test_a_runtime_that_is_retrying_ends_in_time_and_leaves_nothing),
		cmocka_unit_test(test_closing_a_connection_that_is_retrying_ends_it),
		cmocka_unit_test(test_losing_it_over_and_over_ends_with_one_of_each_and_no_leak),
		cmocka_unit_test(test_requests_survive_every_failing_allocation),
		cmocka_unit_test(test_a_forked_childs_calls_are_refused_and_its_own_broker_is_new),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
