/* test_farewell: mr_runtime_stop, as a host with consumers, publishes and pools sees it.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "moonrabbit_testing.h"

#define MESSAGES 50
enum { CONNECT = 1, CHANNEL, DECLARE, CONSUME, SELECT, STOP = 50, OTHER };

static mr_runtime *rt;
static mr_server *server;
static mr_connection *connection;
static mr_channel *channel;
static mr_delivery *held[2 * MESSAGES];
static int held_count;
static uint64_t confirmed, lost; /* publishes */
static bool settles;             /* each delivery, as it comes */
static long live;

/* Takes events until the request with this token has ended; its status, -1: it has not. */
static int wait_done(uint64_t token, double seconds)
{
	double deadline = mr_now() + seconds;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, seconds / 10) != 1) continue;
		int status = ev.type == MR_EV_DONE && ev.as.done.token == token ? ev.status : -1;
		if (ev.type == MR_EV_CONFIRM) {
			uint64_t n = ev.as.confirm.last - ev.as.confirm.first + 1;
			*(ev.status == MR_OK ? &confirmed : &lost) += n;
		}
		if (ev.type == MR_EV_DELIVERY && settles)
			mr_delivery_settle(rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE);
		else if (ev.type == MR_EV_DELIVERY)
			held[held_count++] = ev.as.delivery;
		mr_event_fini(&ev);
		if (status >= 0) return status;
	}
	return -1;
}

static mr_options *options(void)
{
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "memory://quit", 13, &error), MR_OK);
	return o;
}

static void request(uint64_t token, int operation)
{
	const mr_request r = {.operation = operation, .name = {"quit", 4}, .number = 1};
	assert_int_equal(mr_channel_request(channel, token, &r), MR_OK);
}

static int begin(void **state)
{
	mr_error error;
	mr_options *o;
	(void)state;
	live = mr_alloc_live();
	held_count = 0;
	confirmed = lost = 0;
	settles = false;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	assert_int_equal(mr_server_open(&server, "quit", &error), MR_OK);
	o = options();
	assert_int_equal(mr_connection_new(rt, o, &connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(connection, CONNECT), MR_OK);
	assert_int_equal(wait_done(CONNECT, 20), MR_OK);
	assert_int_equal(mr_channel_open(connection, CHANNEL, &channel), MR_OK);
	assert_int_equal(wait_done(CHANNEL, 20), MR_OK);
	request(DECLARE, MR_QUEUE_DECLARE);
	request(SELECT, MR_CONFIRM_SELECT);
	assert_int_equal(wait_done(SELECT, 20), MR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_channel_free(channel);
	mr_runtime_free(rt, 5);
	mr_server_close(server);
	assert_int_equal(mr_alloc_live(), live);
	return 0;
}

static void free_all(double timeout)
{
	mr_channel_free(channel);
	channel = NULL;
	mr_runtime_free(rt, timeout);
	rt = NULL;
}

static void publish(int count)
{
	uint64_t number;
	for (int i = 0; i < count; i++)
		assert_int_equal(mr_channel_publish(channel, "", 0, "quit", 4, "x", 1, NULL, 0, 0,
					 30, &number),
			MR_OK);
}

static void hold_all(void)
{
	request(CONSUME, MR_BASIC_CONSUME);
	publish(MESSAGES);
	double deadline = mr_now() + 20;
	while (held_count < MESSAGES && mr_now() < deadline) wait_done(999, 0.05);
	assert_int_equal(held_count, MESSAGES);
}

static void settle_held(void)
{
	while (held_count)
		assert_int_equal(
			mr_delivery_settle(rt, held[--held_count], MR_ACK, MR_SETTLE_RELEASE),
			MR_OK);
}

/* The number of messages that are left in the queue. */
static uint32_t left(void)
{
	mr_error error;
	mr_connection *c;
	mr_channel *ch;
	uint32_t count = UINT32_MAX;
	mr_options *o = options();
	const mr_request r = {.operation = MR_QUEUE_DECLARE,
		.name = {"quit", 4},
		.flags = MR_PASSIVE};
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(c, 100), MR_OK);
	assert_int_equal(wait_done(100, 20), MR_OK);
	assert_int_equal(mr_channel_open(c, 101, &ch), MR_OK);
	assert_int_equal(wait_done(101, 20), MR_OK);
	assert_int_equal(mr_channel_request(ch, 102, &r), MR_OK);
	for (double deadline = mr_now() + 20; count == UINT32_MAX && mr_now() < deadline;) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		if (ev.type == MR_EV_DONE && ev.as.done.token == 102)
			count = ev.as.done.reply->message_count;
		mr_event_fini(&ev);
	}
	mr_connection_free(c);
	return count;
}

static void test_it_waits_for_confirms_and_for_what_the_host_holds(void **state)
{
	(void)state;
	hold_all();
	publish(10);
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(STOP, 0.3), -1); /* the host has deliveries */
	assert_int_equal(mr_connection_state(connection), MR_CONNECTION_OPEN);
	settles = true;
	settle_held();
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	assert_int_equal(confirmed, MESSAGES + 10);
	assert_int_equal(lost, 0);
	assert_int_equal(mr_connection_state(connection), MR_CONNECTION_CLOSED);
	assert_true(left() <= 10); /* those that came before the cancel were taken */
	double begun = mr_now();
	free_all(30);
	assert_true(mr_now() - begun < 5);
}

static void test_no_message_comes_after_the_cancel(void **state)
{
	(void)state;
	hold_all();
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(STOP, 0.2), -1);
	publish(20); /* the channel is open for the host's last publishes */
	assert_int_equal(wait_done(STOP, 0.2), -1);
	assert_int_equal(held_count, MESSAGES);
	settle_held();
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	assert_int_equal(confirmed, MESSAGES + 20);
	assert_int_equal(left(), 20);
}

static void test_after_the_time_it_is_forced_and_says_so(void **state)
{
	(void)state;
	hold_all();
	double begun = mr_now();
	assert_int_equal(mr_runtime_stop(rt, STOP, 0.3), MR_OK);
	assert_int_equal(wait_done(STOP, 20), MR_TIMEOUT);
	assert_true(mr_now() - begun >= 0.29);
	assert_int_equal(mr_connection_state(connection), MR_CONNECTION_CLOSED);
	assert_int_equal(mr_delivery_settle(rt, held[0], MR_ACK, 0), MR_STALE);
	while (held_count) mr_delivery_release(rt, held[--held_count]);
	assert_int_equal(left(), MESSAGES);
}

/* A broker that answers nothing: publishes end as lost, in bounded time. */
static void test_a_silent_broker_does_not_hold_it_up(void **state)
{
	(void)state;
	assert_int_equal(mr_server_fault(server, MR_FAULT_SILENT, 1, NULL), MR_OK);
	publish(3);
	double begun = mr_now();
	assert_int_equal(mr_runtime_stop(rt, STOP, 0.3), MR_OK);
	assert_true(mr_now() - begun < 0.25); /* it does not block */
	assert_int_equal(wait_done(STOP, 20), MR_TIMEOUT);
	assert_true(mr_now() - begun < 10);
	assert_int_equal(lost, 3);
	assert_int_equal(mr_server_fault(server, MR_FAULT_SILENT, 0, NULL), MR_OK);
}

static void test_without_a_connection_it_ends_at_once(void **state)
{
	(void)state;
	mr_connection_free(connection);
	channel = NULL; /* it was open, and went along */
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	assert_int_equal(mr_runtime_stop(rt, 0, 30), MR_BAD_ARGUMENT);
}

static void test_a_connection_in_its_back_off_is_closed_at_once(void **state)
{
	bool retrying = false;
	(void)state;
	assert_int_equal(mr_connection_retry(connection, 600), MR_OK); /* the host decides */
	assert_int_equal(mr_server_fault(server, MR_FAULT_DROP, 0, NULL), MR_OK);
	while (!retrying) {
		mr_event ev;
		assert_int_equal(mr_runtime_poll(rt, &ev, 1, 20), 1);
		retrying = ev.type == MR_EV_CONNECTION &&
		           ev.as.connection.state == MR_CONNECTION_RETRYING;
		mr_event_fini(&ev);
	}
	assert_int_equal(mr_connection_retry(connection, 600), MR_OK);
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	assert_int_equal(mr_connection_state(connection), MR_CONNECTION_CLOSED);
}

static void test_a_second_stop_brings_the_end_forward(void **state)
{
	(void)state;
	hold_all();
	assert_int_equal(mr_runtime_stop(rt, STOP, 600), MR_OK);
	assert_int_equal(mr_runtime_stop(rt, OTHER, 0), MR_OK);
	assert_int_equal(wait_done(STOP, 20), MR_TIMEOUT);
	assert_int_equal(wait_done(OTHER, 20), MR_TIMEOUT);
	while (held_count) mr_delivery_release(rt, held[--held_count]);
}

static void test_waits_for_places_in_pools_end_and_items_can_be_released(void **state)
{
	mr_error error;
	mr_pool *pool;
	uint32_t item;
	(void)state;
	assert_int_equal(mr_pool_new(rt, options(), MR_POOLED, 1, &pool, &error), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 70, MR_POOL_PUBLISH, 0, &item), MR_OK);
	mr_connection *c = mr_pool_connection(pool, item);
	assert_int_equal(mr_connection_open(c, 71), MR_OK);
	assert_int_equal(wait_done(71, 20), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 72, MR_POOL_PUBLISH, 600, &item), MR_OK);
	assert_int_equal(item, 0);
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(72, 20), MR_CLOSED);
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	assert_int_equal(mr_connection_state(c), MR_CONNECTION_CLOSED);
	assert_int_equal(mr_pool_release(pool, 70), MR_OK);
	mr_pool_free(pool);
}

static void test_shared_pools_end_too(void **state)
{
	mr_error error;
	mr_pool *pool;
	uint32_t item;
	(void)state;
	assert_int_equal(mr_pool_new(rt, options(), MR_SHARED, 4, &pool, &error), MR_OK);
	assert_int_equal(mr_pool_acquire(pool, 70, MR_POOL_PUBLISH, 20, &item), MR_OK);
	if (!item) assert_int_equal(wait_done(70, 20), MR_OK);
	assert_int_equal(mr_runtime_stop(rt, STOP, 30), MR_OK);
	assert_int_equal(wait_done(STOP, 20), MR_OK);
	mr_pool_release(pool, 70);
	mr_pool_free(pool);
}

static void test_a_free_during_a_stop_ends_it(void **state)
{
	(void)state;
	hold_all();
	assert_int_equal(mr_runtime_stop(rt, STOP, 600), MR_OK);
	double begun = mr_now();
	free_all(5);
	assert_true(mr_now() - begun < 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_it_waits_for_confirms_and_for_what_the_host_holds),
		TEST(test_no_message_comes_after_the_cancel),
		TEST(test_after_the_time_it_is_forced_and_says_so),
		TEST(test_a_silent_broker_does_not_hold_it_up),
		TEST(test_without_a_connection_it_ends_at_once),
		TEST(test_a_connection_in_its_back_off_is_closed_at_once),
		TEST(test_a_second_stop_brings_the_end_forward),
		TEST(test_waits_for_places_in_pools_end_and_items_can_be_released),
		TEST(test_shared_pools_end_too),
		TEST(test_a_free_during_a_stop_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
