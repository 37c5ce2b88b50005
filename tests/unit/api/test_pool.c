/* test_pool: a pool as a C host sees it, against the embedded broker.
 * Covers: runtime/api/channel.c by mr_channel_keep
 * Covers: runtime/api/connection.c by mr_connection_new
 * Covers: runtime/api/handle.c by MR_FORKED
 * Covers: runtime/api/pool_item.c by MR_POOLED
 * Covers: runtime/api/pool_request.c by purpose
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/handle.h"
#include "base/alloc.h"
#include "moonrabbit_testing.h"

static mr_runtime *rt;
static mr_server *server;
static mr_pool *pool;
static long live;

static int begin(void **state)
{
	mr_error error;
	(void)state;
	live = mr_alloc_live();
	pool = NULL;
	if (mr_runtime_new(&rt) != MR_OK) return -1;
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	return mr_server_open(&server, "pool", &error);
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	mr_server_close(server);
	assert_int_equal(mr_alloc_live(), live);
	return 0;
}

static mr_options *options(void)
{
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "memory://pool", 13, &error), MR_OK);
	return o;
}

static void make(int strategy, uint32_t limit)
{
	mr_error error;
	assert_int_equal(mr_pool_new(rt, options(), strategy, limit, &pool, &error), MR_OK);
}

/* Pulls events until the request with this token has ended; its status. */
static int wait_done(uint64_t token)
{
	double deadline = mr_now() + 10;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.5) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = ev.status;
		if (is_it && ev.as.done.reply)
			assert_int_equal(ev.as.done.reply->error.kind, status);
		mr_event_fini(&ev);
		if (is_it) return status;
	}
	fail_msg("request %d never ended", (int)token);
	return -1;
}

/* The next MR_EV_DONE, whoever it is for. */
static uint64_t next_done(int *status)
{
	double deadline = mr_now() + 10;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.5) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE;
		*status = ev.status;
		mr_event_fini(&ev);
		if (is_it) return ev.as.done.token;
	}
	fail_msg("nothing ended");
	return 0;
}

static uint32_t lent_at_once(uint64_t token)
{
	uint32_t item = 0;
	assert_int_equal(mr_pool_acquire(pool, token, MR_POOL_PUBLISH, 0, &item), MR_OK);
	assert_int_not_equal(item, 0);
	assert_int_equal(mr_pool_item(pool, token), item);
	return item;
}

static void waits(uint64_t token, double timeout)
{
	uint32_t item = 99;
	assert_int_equal(mr_pool_acquire(pool, token, MR_POOL_PUBLISH, timeout, &item), MR_OK);
	assert_int_equal(item, 0);
	assert_int_equal(mr_pool_item(pool, token), 0);
}

static mr_channel *channel_lent(uint64_t token, int purpose)
{
	uint32_t item;
	assert_int_equal(mr_pool_acquire(pool, token, purpose, -1, &item), MR_OK);
	if (!item) assert_int_equal(wait_done(token), MR_OK);
	mr_channel *ch = mr_pool_channel(pool, mr_pool_item(pool, token));
	assert_non_null(ch);
	assert_true(mr_channel_is_open(ch));
	return ch;
}

static void counts_are(uint32_t active, uint32_t idle, uint32_t waiting)
{
	mr_pool_counts n;
	mr_pool_count(pool, &n);
	assert_int_equal(n.active, active);
	assert_int_equal(n.idle, idle);
	assert_int_equal(n.waiting, waiting);
}

static uint32_t connections(void)
{
	mr_table *report = mr_server_report(server);
	uint32_t count = 0;
	for (uint32_t i = 0; i < report->count; i++)
		if (report->fields[i].key.size == 11 &&
			memcmp(report->fields[i].key.data, "connections", 11) == 0)
			count = report->fields[i].value.as.nested->count;
	mr_table_free(report);
	return count;
}

/* Pulls events until the broker has so many. */
static void connections_become(uint32_t wanted)
{
	double deadline = mr_now() + 10;
	while (connections() != wanted) {
		mr_event ev;
		if (mr_now() > deadline) fail_msg("%u connections, not %u", connections(), wanted);
		if (mr_runtime_poll(rt, &ev, 1, 0.01) == 1) mr_event_fini(&ev);
	}
}

/* ---- lending ---- */

static void test_connections_are_lent_at_once_unopened_and_reused(void **state)
{
	(void)state;
	make(MR_POOLED, 2);
	uint32_t one = lent_at_once(1), two = lent_at_once(2);
	mr_connection *c = mr_pool_connection(pool, one);
	assert_ptr_not_equal(c, mr_pool_connection(pool, two));
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_IDLE);
	assert_int_equal(connections(), 0);
	assert_int_equal(mr_connection_open(c, 50), MR_OK);
	assert_int_equal(wait_done(50), MR_OK);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	counts_are(1, 1, 0);
	assert_int_equal(lent_at_once(3), one);
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_OPEN);
	assert_null(mr_pool_channel(pool, one));
	mr_pool_free(pool);
	connections_become(0);
}

static void test_what_is_not_lent_cannot_be_given_back(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_POOLED, 2);
	lent_at_once(1);
	assert_int_equal(mr_pool_acquire(pool, 1, 0, 0, &item), MR_BAD_ARGUMENT); /* in use */
	assert_int_equal(mr_pool_acquire(pool, 0, 0, 0, &item), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_acquire(pool, 2, 7, 0, &item), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_release(pool, 2), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	lent_at_once(2); /* the same connection: another's by now */
	assert_int_equal(mr_pool_release(pool, 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_replace(pool, 1), MR_BAD_ARGUMENT);
	counts_are(1, 0, 0);
	mr_connection *c;
	assert_int_equal(mr_pool_shared(pool, 0, &c, NULL), MR_BAD_ARGUMENT);
	assert_null(mr_pool_connection(pool, 12345));
	assert_int_equal(mr_pool_resize(pool, 0), MR_BAD_ARGUMENT);
}

static mr_connection *lent(uint64_t token)
{
	uint32_t item;
	assert_int_equal(mr_pool_acquire(pool, token, MR_POOL_PUBLISH, 0, &item), MR_OK);
	return mr_pool_connection(pool, item);
}

static int opening(mr_connection *c, uint64_t token)
{
	assert_int_equal(mr_connection_open(c, token), MR_OK);
	return wait_done(token);
}

/* FIELD-W14: told to one that is away, a new secret is that of the pool, of those to come as well. */
static void test_a_secret_is_renewed_for_all_of_a_pool(void **state)
{
	mr_error error;
	mr_options *o = options();
	(void)state;
	assert_int_equal(mr_options_string(o, "userid", "ann", 3, &error), MR_OK);
	assert_int_equal(mr_options_string(o, "password", "one", 3, &error), MR_OK);
	assert_int_equal(mr_server_add_user(server, "ann", "two"), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_POOLED, 3, &pool, &error), MR_OK);
	mr_connection *first = lent(1), *second = lent(2);
	assert_int_equal(opening(second, 21), MR_AUTHENTICATION_FAILED);
	assert_int_equal(mr_connection_update_secret(first, 22, "two", 3, 5), MR_OK);
	assert_int_equal(wait_done(22), MR_OK);
	assert_int_equal(opening(first, 23), MR_OK);
	assert_int_equal(opening(second, 24), MR_OK);
	assert_int_equal(opening(lent(3), 25), MR_OK);
}

static void test_options_that_do_not_fit_together_are_told_at_once(void **state)
{
	mr_error error;
	mr_options *o = mr_options_new();
	(void)state;
	assert_int_equal(mr_options_string(o, "url", "http://x", 8, &error), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_POOLED, 1, &pool, &error), MR_BAD_URI);
	assert_int_equal(mr_pool_new(rt, o, 7, 1, &pool, &error), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_new(rt, o, MR_SHARED, 0, &pool, &error), MR_BAD_ARGUMENT);
	assert_int_equal(error.scope, MR_SCOPE_POOL);
	mr_options_free(o); /* it was not taken */
}

static void test_T3_no_place_is_exhausted_or_a_wait_with_its_own_timeout(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	assert_int_equal(mr_pool_acquire(pool, 2, 0, 0, &item), MR_POOL_EXHAUSTED);
	double begun = mr_now();
	waits(2, 0.02);
	counts_are(1, 0, 1);
	assert_int_equal(mr_pool_release(pool, 2), MR_BAD_ARGUMENT); /* it has nothing yet */
	assert_int_equal(wait_done(2), MR_TIMEOUT);
	assert_true(mr_now() - begun > 0.018);
	counts_are(1, 0, 0);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	lent_at_once(3);
}

static void test_T3_who_waits_longest_is_next_and_nobody_overtakes(void **state)
{
	uint32_t item;
	int status;
	(void)state;
	make(MR_POOLED, 2);
	lent_at_once(1);
	lent_at_once(2);
	for (uint64_t token = 11; token <= 13; token++) waits(token, -1);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	/* There is a place, but it is not for who comes now. */
	assert_int_equal(mr_pool_acquire(pool, 20, 0, 0, &item), MR_POOL_EXHAUSTED);
	assert_int_equal(mr_pool_release(pool, 2), MR_OK);
	for (uint64_t token = 11; token <= 13; token++) {
		assert_int_equal(next_done(&status), token);
		assert_int_equal(status, MR_OK);
		assert_int_not_equal(mr_pool_item(pool, token), 0);
		assert_int_equal(mr_pool_release(pool, token), MR_OK);
	}
	counts_are(0, 2, 0);
}

/* However they meet, no place is lost or lent twice. */
static void test_places_and_deadlines_meet_in_every_order(void **state)
{
	int served = 0, late = 0, status;
	(void)state;
	make(MR_POOLED, 2);
	for (uint64_t round = 0; round < 300; round++) {
		uint64_t token = 10 * round + 1;
		lent_at_once(token);
		lent_at_once(token + 1);
		for (uint64_t n = 2; n < 6; n++) waits(token + n, 0.001);
		double until = mr_now() + 0.00025 * (double)(round % 6);
		while (mr_now() < until) {}
		assert_int_equal(mr_pool_release(pool, token), MR_OK);
		assert_int_equal(mr_pool_release(pool, token + 1), MR_OK);
		for (int n = 2; n < 6; n++) {
			uint64_t who = next_done(&status);
			assert_true(status == MR_OK || status == MR_TIMEOUT);
			served += status == MR_OK;
			late += status == MR_TIMEOUT;
			if (status == MR_OK) assert_int_equal(mr_pool_release(pool, who), MR_OK);
		}
		counts_are(0, 2, 0);
	}
	assert_int_equal(served + late, 1200);
	assert_true(served > 0 && late > 0);
}

/* Pulls what comes within `seconds`, and looks at none of it. */
static void let_pass(double seconds)
{
	double until = mr_now() + seconds;
	while (mr_now() < until) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, until - mr_now()) == 1) mr_event_fini(&ev);
	}
}

static void test_a_place_given_to_who_had_just_given_up_comes_back(void **state)
{
	mr_event ev;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, 0.005);
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	double until = mr_now() + 0.05;
	while (mr_now() < until) {} /* its time is up, and nobody has heard of it */
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	counts_are(0, 1, 1);
	assert_int_equal(wait_done(2), MR_TIMEOUT);
	counts_are(0, 1, 0);
	lent_at_once(3);
	waits(4, 0.03);
	assert_int_equal(wait_done(4), MR_TIMEOUT); /* there are not two of it */
	counts_are(1, 0, 0);
}

/* ---- a host with a loop of its own ---- */

/* Nothing is left to pull, and the descriptor is the only thing that it looks at from here on. */
static void ready_to_sleep(void)
{
	mr_event ev;
	while (mr_runtime_poll(rt, &ev, 1, 0) == 1) mr_event_fini(&ev);
}

static bool is_readable(int ms)
{
	struct pollfd pfd = {.fd = mr_runtime_fd(rt), .events = POLLIN};
	return poll(&pfd, 1, ms) == 1;
}

static void done_is_there(uint64_t token, int status)
{
	mr_event ev;
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 1);
	mr_event_fini(&ev);
	assert_int_equal(ev.type, MR_EV_DONE);
	assert_int_equal(ev.as.done.token, token);
	assert_int_equal(ev.status, status);
}

/* The next MR_EV_DONE of a host that sleeps on the descriptor alone. */
static uint64_t next_by_descriptor(int status)
{
	mr_event ev;
	while (mr_runtime_poll(rt, &ev, 1, 0) == 0) assert_true(is_readable(10000));
	uint64_t token = ev.as.done.token;
	int type = (int)ev.type, found = ev.status;
	mr_event_fini(&ev);
	assert_int_equal(type, MR_EV_DONE);
	assert_int_equal(found, status);
	return token;
}

static void test_a_deadline_makes_the_descriptor_readable(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, 0.05);
	waits(3, 0.02);
	waits(4, 60);
	uint64_t first = next_by_descriptor(MR_TIMEOUT), second = next_by_descriptor(MR_TIMEOUT);
	assert_int_equal(first + second, 2 + 3); /* both at once, on a machine that is slow */
	ready_to_sleep();
	waits(5, 0.01); /* the alarm goes to an earlier time */
	assert_int_equal(next_by_descriptor(MR_TIMEOUT), 5);
	counts_are(1, 0, 1);
}

static void test_a_place_given_back_makes_the_descriptor_readable(void **state)
{
	mr_event ev;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, -1);
	ready_to_sleep();
	assert_false(is_readable(0));
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	assert_true(is_readable(0));
	assert_int_equal(mr_runtime_poll(rt, &ev, 0, 0), 0); /* it takes nothing */
	assert_true(is_readable(0));
	done_is_there(2, MR_OK);
	waits(3, -1);
	ready_to_sleep();
	assert_int_equal(mr_pool_close(pool, 4), MR_OK);
	assert_true(is_readable(0));
	done_is_there(3, MR_CLOSED);
	assert_int_equal(wait_done(4), MR_OK);
}

static void test_a_deadline_follows_the_clock_that_was_moved(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, 3600);
	ready_to_sleep();
	assert_int_equal(mr_clock_advance(rt, 50, 3601), MR_OK);
	assert_true(is_readable(10000));
	done_is_there(2, MR_TIMEOUT); /* before the clock's own end is told */
	assert_int_equal(wait_done(50), MR_OK);
}

/* The next alarm is set by a poll that finds nothing to tell: nobody else wakes the I/O thread for it. */
static void test_a_poll_that_asks_for_an_alarm_wakes_the_io_thread_before_it_sleeps(void **state)
{
	mr_event ev;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, 0.02);
	double until = mr_now() + 0.02;
	waits(3, 60);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	done_is_there(2, MR_OK);
	mr_msec first = rt->waits.alarm;
	assert_int_equal(rt->unsignalled, 0);
	while (mr_now() <= until) {} /* the alarm has rung, for nobody */
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 0), 0);
	assert_true(rt->waits.alarm > first);
	assert_int_equal(rt->unsignalled, 0);
}

/* Two borrowers who do nothing but hand over have an event ready for every poll. */
static void test_hand_overs_leave_room_for_what_the_io_thread_tells(void **state)
{
	uint64_t token = 2;
	bool told = false;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, -1);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	assert_int_equal(mr_clock_advance(rt, 1, 0.001), MR_OK);
	for (double until = mr_now() + 10; !told && mr_now() < until;) {
		mr_event ev;
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 5), 1);
		told = ev.as.done.token == 1;
		if (!told) {
			assert_int_equal(ev.as.done.token, token);
			waits(token + 1, -1);
			assert_int_equal(mr_pool_release(pool, token++), MR_OK);
		}
		mr_event_fini(&ev);
	}
	assert_true(told);
}

/* ---- channels ---- */

static void test_channels_of_two_connections_publish_and_consume(void **state)
{
	static const mr_request declare = {.operation = MR_QUEUE_DECLARE, .name = {"q", 1}};
	static const mr_request get = {.operation = MR_BASIC_GET,
		.flags = MR_NO_ACK,
		.name = {"q", 1}};
	uint32_t item;
	(void)state;
	make(MR_SHARED, 2);
	assert_int_equal(connections(), 0);
	mr_channel *out = channel_lent(1, MR_POOL_PUBLISH), *in = channel_lent(2, MR_POOL_CONSUME);
	assert_int_equal(connections(), 2);
	assert_int_equal(mr_pool_acquire(pool, 3, 0, 0, &item), MR_POOL_EXHAUSTED);
	assert_int_equal(mr_channel_request(in, 10, &declare), MR_OK);
	assert_int_equal(wait_done(10), MR_OK);
	uint64_t number;
	assert_int_equal(mr_channel_publish(out, "", 0, "q", 1, "hello", 5, NULL, 0, 0, 0, &number),
		MR_OK);
	for (int status = MR_EMPTY; status != MR_OK;) {
		mr_event ev;
		assert_int_equal(mr_channel_request(in, 11, &get), MR_OK);
		do {
			while (mr_runtime_poll(rt, &ev, 1, 5) != 1) {}
			status = ev.status;
			if (ev.type != MR_EV_DONE) mr_event_fini(&ev);
		} while (ev.type != MR_EV_DONE);
		mr_delivery *d = ev.as.done.reply ? ev.as.done.reply->delivery : NULL;
		if (d) assert_memory_equal(d->body, "hello", 5);
		if (d) mr_delivery_release(rt, d);
		mr_event_fini(&ev);
	}
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	assert_int_equal(mr_pool_release(pool, 2), MR_OK);
	counts_are(0, 2, 0);
	assert_ptr_equal(channel_lent(4, MR_POOL_PUBLISH), out); /* at once: it is open */
	/* The other one's is idle, and makes room for a second one to publish. */
	assert_ptr_not_equal(channel_lent(5, MR_POOL_PUBLISH), out);
	counts_are(2, 0, 0);
	assert_int_equal(connections(), 2);
}

static void test_a_shared_pool_serves_its_waiters_with_channels(void **state)
{
	(void)state;
	make(MR_SHARED, 1);
	mr_channel *ch = channel_lent(1, MR_POOL_PUBLISH);
	uint32_t item;
	assert_int_equal(mr_pool_acquire(pool, 2, MR_POOL_PUBLISH, 5, &item), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 3, MR_POOL_CONSUME, 5, &item), MR_OK);
	counts_are(1, 0, 2);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	assert_int_equal(wait_done(2), MR_OK);
	assert_ptr_equal(mr_pool_channel(pool, mr_pool_item(pool, 2)), ch);
	assert_int_equal(mr_pool_replace(pool, 2), MR_OK);
	assert_int_equal(wait_done(3), MR_OK); /* connects, opens, then tells */
	assert_true(mr_channel_is_open(mr_pool_channel(pool, mr_pool_item(pool, 3))));
	counts_are(1, 0, 0);
}

static void test_why_it_cannot_be_opened_is_told_and_the_place_is_free_again(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_SHARED, 1);
	assert_int_equal(mr_server_fault(server, MR_FAULT_REFUSE_LOGINS, 1, NULL), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 1, 0, -1, &item), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 2, 0, -1, &item), MR_OK);
	counts_are(1, 0, 1);
	assert_int_equal(wait_done(1), MR_AUTHENTICATION_FAILED);
	assert_int_equal(wait_done(2), MR_AUTHENTICATION_FAILED);
	counts_are(0, 0, 0);
	assert_int_equal(mr_server_fault(server, MR_FAULT_REFUSE_LOGINS, 0, NULL), MR_OK);
	channel_lent(3, MR_POOL_PUBLISH);
}

static void test_the_channels_of_a_connection_may_be_fewer_than_the_pools(void **state)
{
	mr_error error;
	uint32_t item;
	mr_options *o = options();
	(void)state;
	assert_int_equal(mr_options_number(o, "channel_max", 2, &error), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_SHARED, 10, &pool, &error), MR_OK);
	channel_lent(1, MR_POOL_PUBLISH);
	channel_lent(2, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_acquire(pool, 3, 0, -1, &item), MR_CHANNEL_LIMIT_REACHED);
	counts_are(2, 0, 0);
	channel_lent(4, MR_POOL_CONSUME);
}

static void test_a_lost_connection_costs_no_place(void **state)
{
	mr_error error;
	mr_options *o = options();
	(void)state;
	assert_int_equal(mr_options_boolean(o, "recover", false, &error), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_SHARED, 2, &pool, &error), MR_OK);
	mr_channel *held = channel_lent(1, MR_POOL_PUBLISH);
	channel_lent(2, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_release(pool, 2), MR_OK);
	assert_int_equal(mr_server_fault(server, MR_FAULT_DROP, 0, NULL), MR_OK);
	double deadline = mr_now() + 10;
	while (mr_channel_is_open(held) && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.1) == 1) mr_event_fini(&ev);
	}
	counts_are(1, 1, 0);
	assert_true(mr_channel_is_open(channel_lent(3, MR_POOL_PUBLISH))); /* connects again */
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	counts_are(1, 0, 0); /* neither of the dead ones is kept */
}

/* ---- size and end ---- */

static void test_it_grows_to_its_limit_and_shrinks_when_told(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_POOLED, 3);
	assert_int_equal(mr_pool_grow(pool, 2), MR_OK);
	counts_are(0, 2, 0);
	assert_int_equal(mr_pool_grow(pool, 2), MR_POOL_LIMIT_EXCEEDED);
	counts_are(0, 3, 0);
	assert_int_equal(mr_pool_acquire(pool, 1, MR_POOL_FRESH, 0, &item), MR_POOL_LIMIT_EXCEEDED);
	assert_int_equal(mr_pool_resize(pool, 4), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 1, MR_POOL_FRESH, 0, &item), MR_OK);
	assert_int_equal(item, 4); /* not one of the idle ones */
	lent_at_once(2);
	assert_int_equal(mr_pool_resize(pool, 1), MR_OK);
	counts_are(2, 0, 0);
	waits(3, 5);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK); /* beyond the limit: it goes */
	assert_false(mr_pool_has(pool, item));
	counts_are(1, 0, 1);
	assert_int_equal(mr_pool_resize(pool, 2), MR_OK);
	assert_int_equal(wait_done(3), MR_OK);
	counts_are(2, 0, 0);
}

static void test_a_broken_one_is_closed_and_another_takes_its_place(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	mr_connection *c = mr_pool_connection(pool, lent_at_once(1));
	assert_int_equal(mr_connection_open(c, 50), MR_OK);
	assert_int_equal(wait_done(50), MR_OK);
	waits(2, 5);
	assert_int_equal(mr_pool_replace(pool, 1), MR_OK);
	assert_int_equal(wait_done(2), MR_OK);
	c = mr_pool_connection(pool, mr_pool_item(pool, 2));
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_IDLE);
	connections_become(0);
}

/* Opens and replaces one; what is alive when that is done. */
static long alive_after_a_round(uint64_t token, long at_most)
{
	double deadline = mr_now() + 10;
	mr_connection *c = mr_pool_connection(pool, lent_at_once(token));
	assert_int_equal(mr_connection_open(c, token + 1), MR_OK);
	assert_int_equal(wait_done(token + 1), MR_OK);
	assert_int_equal(mr_pool_replace(pool, token), MR_OK);
	connections_become(0);
	while (mr_alloc_live() > at_most && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.01) == 1) mr_event_fini(&ev);
	}
	return mr_alloc_live();
}

static void test_what_it_gives_up_is_freed(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	alive_after_a_round(1, LONG_MAX);
	let_pass(0.05);
	long before = mr_alloc_live();
	for (uint64_t token = 10; token < 100; token += 10)
		assert_true(alive_after_a_round(token, before) <= before);
}

static void test_close_ends_all_tells_all_and_leaves_it_usable(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_SHARED, 2);
	channel_lent(1, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_acquire(pool, 2, MR_POOL_CONSUME, 5, &item),
		MR_OK); /* is opened */
	assert_int_equal(mr_pool_acquire(pool, 3, MR_POOL_PUBLISH, 5, &item), MR_OK); /* waits */
	assert_int_equal(mr_pool_close(pool, 4), MR_OK);
	counts_are(0, 0, 0);
	assert_int_equal(mr_pool_release(pool, 1), MR_BAD_ARGUMENT);
	int left = 3, status;
	while (left--) {
		uint64_t token = next_done(&status);
		assert_in_range(token, 2, 4);
		assert_int_equal(status, token == 4 ? MR_OK : MR_CLOSED);
	}
	connections_become(0);
	assert_int_equal(mr_pool_close(pool, 5), MR_OK); /* and once more */
	assert_int_equal(wait_done(5), MR_OK);
	channel_lent(6, MR_POOL_PUBLISH);
	channel_lent(7, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_close(pool, 0), MR_OK);
	connections_become(0);
	assert_int_equal(mr_pool_close(pool, UINT64_MAX), MR_BAD_ARGUMENT);
}

static void channel_says_closed(mr_channel *ch)
{
	static const mr_request get = {.operation = MR_BASIC_GET, .name = {"q", 1}};
	mr_error error;
	uint64_t number;
	assert_false(mr_channel_is_open(ch));
	assert_int_equal(mr_channel_publish(ch, "", 0, "q", 1, "", 0, NULL, 0, 0, 0, &number),
		MR_CLOSED);
	assert_int_equal(mr_channel_request(ch, 90, &get), MR_CLOSED);
	assert_int_equal(mr_channel_close(ch, 91), MR_CLOSED);
	mr_channel_error(ch, &error);
}

static void says_closed(mr_channel *ch)
{
	channel_says_closed(ch);
	assert_int_equal(mr_connection_open(mr_channel_connection(ch), 92), MR_CLOSED);
}

static void test_a_connection_that_was_lent_says_closed_when_its_pool_was(void **state)
{
	mr_channel *ch, *other;
	(void)state;
	make(MR_POOLED, 3);
	mr_connection *c = lent(1), *unopened = lent(2), *freed = lent(3);
	assert_int_equal(opening(c, 50), MR_OK);
	assert_int_equal(mr_channel_open(c, 51, &ch), MR_OK);
	assert_int_equal(wait_done(51), MR_OK);
	assert_int_equal(mr_pool_close(pool, 52), MR_OK);
	assert_int_equal(mr_channel_open(c, 53, &other), MR_CLOSED);
	assert_int_equal(wait_done(52), MR_OK);
	connections_become(0);
	says_closed(ch);
	mr_channel_free(ch); /* its own */
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_CLOSED);
	assert_int_equal(mr_channel_open(c, 53, &other), MR_CLOSED);
	assert_int_equal(mr_connection_open(unopened, 53), MR_CLOSED);
	mr_connection_free(freed); /* as before, it may */
	long before = mr_alloc_live();
	assert_int_equal(mr_pool_release(pool, 1), MR_BAD_ARGUMENT); /* and it is gone */
	assert_true(mr_alloc_live() < before);
	assert_int_equal(mr_pool_release(pool, 3), MR_BAD_ARGUMENT);
	lent_at_once(1);
	assert_int_equal(mr_pool_close(pool, 0), MR_OK);
	mr_pool_free(pool); /* while they are being closed */
}

static void test_a_channel_that_was_lent_says_closed_when_its_pool_was(void **state)
{
	(void)state;
	make(MR_SHARED, 4);
	mr_channel *out = channel_lent(1, MR_POOL_PUBLISH), *in = channel_lent(2, MR_POOL_CONSUME),
		   *freed = channel_lent(3, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_close(pool, 52), MR_OK);
	says_closed(out); /* at once, */
	assert_int_equal(wait_done(52), MR_OK);
	connections_become(0);
	says_closed(out); /* and when it has ended */
	says_closed(in);
	mr_channel_free(freed);
	assert_int_equal(mr_pool_replace(pool, 2), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_release(pool, 0), MR_BAD_ARGUMENT); /* of no use to anybody */
	says_closed(out);
	assert_true(mr_channel_is_open(channel_lent(2, MR_POOL_PUBLISH))); /* of a new connection */
	mr_connection_free(mr_channel_connection(out)); /* its channels with it */
	assert_int_equal(mr_pool_release(pool, 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_close(pool, 53), MR_OK);
	assert_int_equal(wait_done(53), MR_OK); /* the runtime frees what is left */
}

/* Pulls events until the broker has closed it, too. */
static void channel_ends(mr_channel *ch)
{
	mr_error error;
	double deadline = mr_now() + 10;
	while (mr_channel_error(ch, &error) == MR_OK) {
		mr_event ev;
		if (mr_now() > deadline) fail_msg("the channel never ended");
		if (mr_runtime_poll(rt, &ev, 1, 0.1) == 1) mr_event_fini(&ev);
	}
	assert_int_equal(error.kind, MR_CLOSED);
}

static void replace(mr_connection *c)
{
	mr_error error;
	mr_connection *fresh;
	mr_options *o = options();
	assert_int_equal(mr_connection_new(rt, o, &fresh, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_inherit(fresh, c), MR_OK);
}

/* A connection that another one has replaced, or that the host keeps, is not closed with the pool. */
static void a_channel_of_an_open_one_says_closed(mr_connection *c, uint64_t token)
{
	mr_channel *ch = mr_pool_channel(pool, mr_pool_item(pool, token)), *other;
	mr_channel *left = mr_pool_channel(pool, mr_pool_item(pool, token + 1));
	mr_channel *freed = mr_pool_channel(pool, mr_pool_item(pool, token + 2));
	uint16_t number = mr_channel_number(ch);
	assert_int_equal(mr_pool_close(pool, 52), MR_OK);
	channel_says_closed(ch); /* at once, */
	assert_int_equal(wait_done(52), MR_OK);
	mr_channel_free(freed);
	channel_ends(ch);
	channel_ends(left);
	channel_says_closed(ch); /* and when it has ended: its number is free again */
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_OPEN);
	assert_int_equal(mr_channel_open(c, 53, &other), MR_OK);
	assert_int_equal(wait_done(53), MR_OK);
	assert_int_equal(mr_channel_number(other), number);
	long before = mr_alloc_live();
	assert_int_equal(mr_pool_release(pool, token), MR_BAD_ARGUMENT); /* and it is gone */
	assert_true(mr_alloc_live() < before);
	channel_says_closed(left);
	mr_connection_free(c); /* its channels with it */
	assert_int_equal(mr_pool_release(pool, token + 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_pool_release(pool, token + 2), MR_BAD_ARGUMENT);
}

/* To 1, 2 and 3; their connection. */
static mr_connection *three_channels_lent(void)
{
	make(MR_SHARED, 3);
	for (uint64_t token = 1; token <= 3; token++) channel_lent(token, MR_POOL_PUBLISH);
	return mr_channel_connection(mr_pool_channel(pool, mr_pool_item(pool, 1)));
}

static void test_a_lent_channel_of_a_replaced_connection_says_closed(void **state)
{
	(void)state;
	mr_connection *c = three_channels_lent();
	replace(c);
	a_channel_of_an_open_one_says_closed(c, 1);
}

static void test_a_lent_channel_of_a_kept_connection_says_closed(void **state)
{
	(void)state;
	mr_connection *c = three_channels_lent();
	mr_connection_keep(c);
	a_channel_of_an_open_one_says_closed(c, 1);
	c = mr_channel_connection(channel_lent(1, MR_POOL_PUBLISH)); /* of a new connection */
	mr_connection_keep(c);
	assert_int_equal(mr_pool_close(pool, 0), MR_OK);
	mr_pool_free(pool); /* while it is being closed */
	mr_connection_free(c);
	make(MR_SHARED, 2);
	c = mr_channel_connection(channel_lent(1, MR_POOL_PUBLISH));
	mr_channel *ended = channel_lent(2, MR_POOL_PUBLISH);
	replace(c);
	assert_int_equal(mr_pool_close(pool, 0), MR_OK);
	channel_ends(ended); /* the runtime frees what is left */
}

static void test_free_tells_those_who_wait(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_POOLED, 1);
	lent_at_once(1);
	waits(2, -1);
	waits(3, 60);
	mr_pool_free(pool);
	assert_int_equal(wait_done(2), MR_CLOSED);
	assert_int_equal(wait_done(3), MR_CLOSED);
	make(MR_SHARED, 1);
	assert_int_equal(mr_pool_acquire(pool, 4, 0, -1, &item), MR_OK);
	mr_pool_free(pool); /* while it connects */
	assert_int_equal(wait_done(4), MR_CLOSED);
	mr_pool_free(NULL);
}

static void test_the_runtime_may_go_with_all_that_is_under_way(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_SHARED, 2);
	channel_lent(1, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_acquire(pool, 2, MR_POOL_CONSUME, -1, &item), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 3, MR_POOL_PUBLISH, -1, &item), MR_OK);
	make(MR_POOLED, 1);
	lent_at_once(4);
	waits(5, 60);
	assert_int_equal(mr_pool_close(pool, 6), MR_OK);
}

static void test_the_runtime_frees_a_lent_channel_that_had_ended(void **state)
{
	mr_error error;
	mr_options *o = options();
	(void)state;
	assert_int_equal(mr_options_boolean(o, "recover", false, &error), MR_OK);
	assert_int_equal(mr_pool_new(rt, o, MR_SHARED, 2, &pool, &error), MR_OK);
	mr_channel *held = channel_lent(1, MR_POOL_PUBLISH);
	assert_int_equal(mr_server_fault(server, MR_FAULT_DROP, 0, NULL), MR_OK);
	double deadline = mr_now() + 10;
	while (mr_channel_is_open(held) && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.1) == 1) mr_event_fini(&ev);
	}
	assert_false(mr_channel_is_open(held));
}

/* ---- what a host may do to what it was lent ---- */

static void test_the_host_may_free_what_it_was_lent(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	mr_connection_free(mr_pool_connection(pool, lent_at_once(1)));
	assert_null(mr_pool_connection(pool, mr_pool_item(pool, 1)));
	counts_are(1, 0, 0); /* the place is its own until it gives it back */
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	counts_are(0, 0, 0);
	lent_at_once(2);
	assert_int_equal(mr_pool_release(pool, 2), MR_OK);
	mr_connection_free(mr_pool_connection(pool, 2)); /* the idle one */
	counts_are(0, 0, 0);
	make(MR_SHARED, 3);
	mr_channel_free(channel_lent(10, MR_POOL_PUBLISH));
	channel_lent(11, MR_POOL_PUBLISH);
	channel_lent(12, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_release(pool, 12), MR_OK);
	mr_connection *c;
	assert_int_equal(mr_pool_shared(pool, MR_POOL_PUBLISH, &c, NULL), MR_OK);
	mr_connection_free(c); /* its channels with it */
	counts_are(2, 0, 0);
	assert_int_equal(mr_pool_release(pool, 10), MR_OK);
	assert_int_equal(mr_pool_release(pool, 11), MR_OK);
	counts_are(0, 0, 0);
	channel_lent(13, MR_POOL_PUBLISH);
	uint32_t item; /* and while something is asked of it: a channel, then the connection */
	for (uint64_t token = 14; token <= 15; token++) {
		assert_int_equal(mr_pool_acquire(pool, token, MR_POOL_PUBLISH, -1, &item), MR_OK);
		assert_int_equal(mr_pool_shared(pool, MR_POOL_PUBLISH, &c, NULL), MR_OK);
		mr_connection_free(c);
		assert_int_equal(wait_done(token), MR_CLOSED);
	}
	counts_are(1, 0, 0);
	channel_lent(16, MR_POOL_PUBLISH);
}

static void test_what_the_host_keeps_is_its_own_when_the_pool_is_done(void **state)
{
	(void)state;
	make(MR_POOLED, 1);
	mr_connection *c = mr_pool_connection(pool, lent_at_once(1));
	mr_connection_keep(c);
	assert_int_equal(mr_connection_open(c, 50), MR_OK);
	assert_int_equal(wait_done(50), MR_OK);
	assert_int_equal(mr_pool_replace(pool, 1), MR_OK);
	assert_false(mr_pool_has(pool, 1));
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_OPEN);
	assert_int_equal(mr_connection_close(c, 51, 0), MR_OK);
	assert_int_equal(wait_done(51), MR_OK);
	mr_connection_free(c);
	make(MR_SHARED, 1);
	mr_channel *ch = channel_lent(2, MR_POOL_PUBLISH);
	mr_channel_keep(ch);
	assert_int_equal(mr_pool_replace(pool, 2), MR_OK);
	assert_true(mr_channel_is_open(ch));
	mr_channel_free(ch);
}

static void test_what_the_host_keeps_after_the_close_is_its_own_too(void **state)
{
	(void)state;
	for (int is_late = 0; is_late < 2; is_late++) {
		make(MR_POOLED, 1);
		mr_connection *c = mr_pool_connection(pool, lent_at_once(1));
		assert_int_equal(mr_connection_open(c, 50), MR_OK);
		assert_int_equal(wait_done(50), MR_OK);
		assert_int_equal(mr_pool_close(pool, 51), MR_OK);
		if (is_late) assert_int_equal(wait_done(51), MR_OK);
		mr_connection_keep(c);
		if (!is_late) assert_int_equal(wait_done(51), MR_OK);
		assert_int_equal(mr_pool_release(pool, 1), MR_BAD_ARGUMENT);
		assert_int_equal(mr_connection_state(c), MR_CONNECTION_CLOSED);
		mr_connection_free(c);
		make(MR_SHARED, 1);
		mr_channel *ch = channel_lent(2, MR_POOL_PUBLISH);
		c = mr_channel_connection(ch);
		assert_int_equal(mr_pool_close(pool, 52), MR_OK);
		if (is_late) assert_int_equal(wait_done(52), MR_OK);
		mr_connection_keep(c);
		mr_channel_keep(ch);
		if (!is_late) assert_int_equal(wait_done(52), MR_OK);
		assert_int_equal(mr_pool_release(pool, 2), MR_BAD_ARGUMENT);
		assert_false(mr_channel_is_open(ch));
		assert_int_equal(mr_connection_state(c), MR_CONNECTION_CLOSED);
		mr_channel_free(ch);
		mr_connection_free(c);
	}
	make(MR_SHARED, 1); /* the connection goes before its channel */
	mr_channel *ch = channel_lent(3, MR_POOL_PUBLISH);
	mr_connection *c = mr_channel_connection(ch);
	assert_int_equal(mr_pool_close(pool, 53), MR_OK);
	assert_int_equal(wait_done(53), MR_OK);
	mr_connection_keep(c);
	mr_channel_keep(ch);
	mr_connection_free(c);
	mr_channel_free(ch);
}

static void test_a_connection_that_inherits_takes_the_place_in_the_pool(void **state)
{
	mr_error error;
	mr_connection *fresh, *c;
	mr_options *o = options();
	(void)state;
	make(MR_POOLED, 1);
	uint32_t item = lent_at_once(1);
	c = mr_pool_connection(pool, item);
	assert_int_equal(mr_connection_new(rt, o, &fresh, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_inherit(fresh, c), MR_OK);
	assert_ptr_equal(mr_pool_connection(pool, item), fresh);
	mr_connection_free(c);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	counts_are(0, 1, 0);
	assert_ptr_equal(mr_pool_connection(pool, lent_at_once(2)), fresh);
	make(MR_SHARED, 2);
	mr_channel *old = channel_lent(3, MR_POOL_PUBLISH);
	assert_int_equal(mr_pool_shared(pool, MR_POOL_PUBLISH, &c, &error), MR_OK);
	o = options();
	assert_int_equal(mr_connection_new(rt, o, &fresh, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_pool_acquire(pool, 5, MR_POOL_PUBLISH, -1, &item), MR_OK);
	assert_int_equal(mr_connection_inherit(fresh, c), MR_OK);
	assert_int_equal(wait_done(5),
		MR_OK); /* it was asked of the old one, and comes of the new */
	assert_ptr_equal(mr_channel_connection(mr_pool_channel(pool, mr_pool_item(pool, 5))),
		fresh);
	assert_ptr_equal(mr_channel_connection(old), c);
	mr_connection_free(c);
	assert_int_equal(mr_pool_release(pool, 5), MR_OK);
	assert_int_equal(mr_pool_replace(pool, 5), MR_BAD_ARGUMENT);
	counts_are(1, 1, 0);
	assert_int_equal(mr_pool_release(pool, 3), MR_OK);
	counts_are(0, 1, 0); /* its channel went with the old connection */
	channel_lent(4, MR_POOL_PUBLISH);
	assert_int_equal(mr_connection_state(fresh), MR_CONNECTION_OPEN);
}

static void test_in_a_fork_every_call_fails(void **state)
{
	mr_pool *other;
	mr_error error;
	uint32_t item;
	int status;
	(void)state;
	make(MR_POOLED, 2);
	lent_at_once(1);
	mr_options *o = options();
	pid_t child = fork();
	if (child == 0) {
		bool refused = mr_pool_acquire(pool, 2, 0, 0, &item) == MR_FORKED &&
		               mr_pool_release(pool, 1) == MR_FORKED &&
		               mr_pool_replace(pool, 1) == MR_FORKED &&
		               mr_pool_grow(pool, 1) == MR_FORKED &&
		               mr_pool_resize(pool, 1) == MR_FORKED &&
		               mr_pool_close(pool, 0) == MR_FORKED &&
		               mr_pool_new(rt, o, MR_POOLED, 1, &other, &error) == MR_FORKED;
		mr_pool_free(pool);
		_exit(refused ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	mr_options_free(o);
	assert_int_equal(mr_pool_release(pool, 1), MR_OK);
	lent_at_once(2);
}

/* Waits until there is news, then pulls it with the n-th allocation failing. Returns the status of the
 * request's end, or -1: it was not among the news. */
static int pull_failing(uint64_t token, long n)
{
	mr_event ev[16];
	int status = -1;
	struct pollfd pfd = {.fd = mr_runtime_fd(rt), .events = POLLIN};
	assert_int_equal(mr_runtime_poll(rt, ev, 0, 0), 0); /* readies the descriptor */
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	mr_alloc_fail_nth_here(n);
	int count = mr_runtime_poll(rt, ev, 16, 0);
	mr_alloc_fail_nth(0);
	for (int i = 0; i < count; i++) {
		if (ev[i].type == MR_EV_DONE && ev[i].as.done.token == token) status = ev[i].status;
		mr_event_fini(&ev[i]);
	}
	return status;
}

/* Makes a pool, takes the only place, and waits for it, with the n-th allocation of the calls failing; true:
 * none failed. */
static bool all_goes_well(int strategy, uint64_t token, long n)
{
	mr_error error;
	uint32_t item = 0, more = 0;
	mr_options *o = options();
	int second = MR_NO_MEMORY;
	mr_alloc_fail_nth_here(n);
	int st = mr_pool_new(rt, o, strategy, 1, &pool, &error);
	if (st == MR_OK) {
		o = NULL;
		st = mr_pool_acquire(pool, token, MR_POOL_PUBLISH, -1, &item);
		if (st == MR_OK)
			second = mr_pool_acquire(pool, token + 1, MR_POOL_PUBLISH, -1, &more);
	}
	mr_alloc_fail_nth(0);
	if (o) {
		assert_int_equal(st, MR_NO_MEMORY);
		mr_options_free(o);
		return false;
	}
	if (st == MR_OK && !item) st = wait_done(token);
	if (st == MR_OK) assert_int_equal(mr_pool_release(pool, token), MR_OK);
	if (second == MR_OK && !more) second = wait_done(token + 1);
	if (second == MR_OK) assert_int_equal(mr_pool_release(pool, token + 1), MR_OK);
	mr_pool_counts left;
	mr_pool_count(pool, &left);
	assert_int_equal(left.active + left.waiting, 0);
	mr_pool_free(pool);
	return st == MR_OK && second == MR_OK;
}

static void test_every_allocation_of_the_host_may_fail(void **state)
{
	(void)state;
	for (int strategy = MR_POOLED; strategy <= MR_SHARED; strategy++) {
		long n = 1;
		uint64_t tokens = (uint64_t)strategy * 1000;
		while (n < 100 && !all_goes_well(strategy, tokens + 2 * (uint64_t)n + 1, n)) n++;
		assert_in_range(n, 5, 99);
	}
}

static void test_every_allocation_at_an_answer_may_fail(void **state)
{
	uint32_t item;
	(void)state;
	make(MR_SHARED, 2);
	channel_lent(1, MR_POOL_PUBLISH); /* it has connected */
	for (long n = 1; n < 100; n++) {
		uint64_t token = 10 + (uint64_t)n;
		int st = -1;
		let_pass(0.02); /* nobody else allocates, either */
		assert_int_equal(mr_pool_acquire(pool, token, MR_POOL_PUBLISH, -1, &item), MR_OK);
		assert_int_equal(item, 0);
		while (st < 0) st = pull_failing(token, n);
		counts_are(st == MR_OK ? 2 : 1, 0, 0);
		if (st == MR_OK) {
			assert_true(n > 1);
			return;
		}
		assert_int_equal(st, MR_NO_MEMORY);
	}
	fail_msg("it never succeeded");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
	const struct CMUnitTest tests[] = {
		T(connections_are_lent_at_once_unopened_and_reused),
		T(what_is_not_lent_cannot_be_given_back),
		T(a_secret_is_renewed_for_all_of_a_pool),
		T(options_that_do_not_fit_together_are_told_at_once),
		T(T3_no_place_is_exhausted_or_a_wait_with_its_own_timeout),
		T(T3_who_waits_longest_is_next_and_nobody_overtakes),
		T(places_and_deadlines_meet_in_every_order),
		T(a_place_given_to_who_had_just_given_up_comes_back),
		T(a_deadline_makes_the_descriptor_readable),
		T(a_place_given_back_makes_the_descriptor_readable),
		T(a_deadline_follows_the_clock_that_was_moved),
		T(a_poll_that_asks_for_an_alarm_wakes_the_io_thread_before_it_sleeps),
		T(hand_overs_leave_room_for_what_the_io_thread_tells),
		T(channels_of_two_connections_publish_and_consume),
		T(a_shared_pool_serves_its_waiters_with_channels),
		T(why_it_cannot_be_opened_is_told_and_the_place_is_free_again),
		T(the_channels_of_a_connection_may_be_fewer_than_the_pools),
		T(a_lost_connection_costs_no_place),
		T(it_grows_to_its_limit_and_shrinks_when_told),
		T(a_broken_one_is_closed_and_another_takes_its_place),
		T(what_it_gives_up_is_freed),
		T(close_ends_all_tells_all_and_leaves_it_usable),
		T(a_connection_that_was_lent_says_closed_when_its_pool_was),
		T(a_channel_that_was_lent_says_closed_when_its_pool_was),
		T(a_lent_channel_of_a_replaced_connection_says_closed),
		T(a_lent_channel_of_a_kept_connection_says_closed),
		T(free_tells_those_who_wait),
		T(the_runtime_may_go_with_all_that_is_under_way),
		T(the_runtime_frees_a_lent_channel_that_had_ended),
		T(the_host_may_free_what_it_was_lent),
		T(what_the_host_keeps_is_its_own_when_the_pool_is_done),
		T(what_the_host_keeps_after_the_close_is_its_own_too),
		T(a_connection_that_inherits_takes_the_place_in_the_pool),
		T(in_a_fork_every_call_fails),
		T(every_allocation_of_the_host_may_fail),
		T(every_allocation_at_an_answer_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
