/* test_setup: a list of requests with one end.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "moonrabbit_testing.h"

#define S(text)                                                                                    \
	{                                                                                          \
		text, sizeof text - 1                                                              \
	}
#define COUNT(list) (uint32_t)(sizeof(list) / sizeof((list)[0]))

static mr_runtime *rt;
static mr_server *server;
static mr_connection *connection;
static mr_channel *channel;
static mr_reply reply; /* of the last DONE */
static int deliveries, dones;
static long live;

/* Takes events until the request with this token has ended, and some more; its status. */
static int wait_done(uint64_t token)
{
	int status = -1;
	double deadline = mr_now() + 20;
	while (status < 0 && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		if (ev.type == MR_EV_DELIVERY) {
			deliveries++;
			mr_delivery_settle(rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE);
		}
		if (ev.type == MR_EV_DONE) {
			dones++;
			memset(&reply, 0, sizeof reply);
			if (ev.as.done.reply) reply = *ev.as.done.reply;
			if (ev.as.done.token == token) status = ev.status;
		}
		mr_event_fini(&ev);
	}
	return status;
}

static void open_channel(void)
{
	assert_int_equal(mr_channel_open(connection, 2, &channel), MR_OK);
	assert_int_equal(wait_done(2), MR_OK);
	dones = 0;
}

static int begin(void **state)
{
	mr_error error;
	mr_options *o;
	(void)state;
	live = mr_alloc_live();
	o = mr_options_new();
	deliveries = 0;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	assert_int_equal(mr_server_open(&server, "setup", &error), MR_OK);
	assert_int_equal(mr_options_string(o, "url", "memory://setup", 14, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(connection, 1), MR_OK);
	assert_int_equal(wait_done(1), MR_OK);
	open_channel();
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

static mr_table *arguments(int64_t length)
{
	mr_table *t = mr_table_new();
	const mr_value v = {.type = 'l', .as.integer = length};
	assert_int_equal(mr_table_add(t, "x-max-length", 12, &v), MR_OK);
	return t;
}

static void test_all_requests_have_one_end(void **state)
{
	uint64_t number;
	mr_request list[] = {
		{.operation = MR_EXCHANGE_DECLARE, .name = S("events"), .extra = S("topic")},
		{.operation = MR_QUEUE_DECLARE, .name = S("q"), .arguments = arguments(10)},
		{.operation = MR_QUEUE_BIND,
			.name = S("q"),
			.extra = S("events"),
			.routing_key = S("a.*")},
		{.operation = MR_BASIC_QOS, .number = 10},
		{.operation = MR_CONFIRM_SELECT},
		{.operation = MR_BASIC_CONSUME, .name = S("q"), .number = 7},
	};
	(void)state;
	assert_int_equal(mr_setup(channel, 10, list, COUNT(list)), MR_OK);
	memset(list, 0, sizeof list); /* they were copied */
	assert_int_equal(wait_done(10), MR_OK);
	assert_int_equal(dones, 1);
	assert_int_equal(reply.message_count, 6);
	assert_int_equal(reply.error.kind, MR_OK);
	assert_int_equal(reply.name_size, 1);
	assert_string_equal(reply.name, "q");
	assert_int_equal(
		mr_channel_publish(channel, "events", 6, "a.b", 3, "x", 1, NULL, 0, 0, 0, &number),
		MR_OK);
	assert_int_equal(number, 1); /* confirms are on */
	for (double deadline = mr_now() + 20; !deliveries && mr_now() < deadline;) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		deliveries += ev.type == MR_EV_DELIVERY && ev.as.delivery->consumer == 7;
		if (ev.type == MR_EV_DELIVERY)
			mr_delivery_settle(rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE);
		mr_event_fini(&ev);
	}
	assert_int_equal(deliveries, 1);
}

static void test_a_queue_that_the_broker_names_is_used_by_what_follows(void **state)
{
	const mr_request list[] = {
		{.operation = MR_QUEUE_DECLARE, .flags = MR_EXCLUSIVE},
		{.operation = MR_QUEUE_BIND, .extra = S("amq.fanout")},
		{.operation = MR_BASIC_CONSUME, .number = 1},
	};
	uint64_t number;
	(void)state;
	assert_int_equal(mr_setup(channel, 10, list, COUNT(list)), MR_OK);
	assert_int_equal(wait_done(10), MR_OK);
	assert_int_equal(reply.message_count, 3);
	assert_true(reply.name_size > 8);
	assert_int_equal(strncmp(reply.name, "amq.gen", 7), 0);
	assert_int_equal(mr_channel_publish(channel, "amq.fanout", 10, "", 0, "x", 1, NULL, 0, 0, 0,
				 &number),
		MR_OK);
	for (double deadline = mr_now() + 20; !deliveries && mr_now() < deadline;) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 1) != 1) continue;
		deliveries += ev.type == MR_EV_DELIVERY;
		if (ev.type == MR_EV_DELIVERY) mr_delivery_release(rt, ev.as.delivery);
		mr_event_fini(&ev);
	}
	assert_int_equal(deliveries, 1);
}

static bool has_queue(const char *name)
{
	const mr_request ask = {.operation = MR_QUEUE_DECLARE,
		.name = {name, strlen(name)},
		.flags = MR_PASSIVE};
	mr_channel_free(channel);
	open_channel();
	assert_int_equal(mr_channel_request(channel, 20, &ask), MR_OK);
	return wait_done(20) == MR_OK;
}

static void test_the_first_failure_is_named_and_ends_the_list(void **state)
{
	const mr_request list[] = {
		{.operation = MR_QUEUE_DECLARE, .name = S("first")},
		{.operation = MR_QUEUE_BIND,
			.name = S("first"),
			.extra = S("no such exchange"),
			.routing_key = S("k")},
		{.operation = MR_QUEUE_DECLARE, .name = S("second"), .arguments = arguments(1)},
		{.operation = MR_QUEUE_DECLARE, .name = S("third"), .arguments = arguments(1)},
	};
	(void)state;
	assert_int_equal(mr_setup(channel, 10, list, COUNT(list)), MR_OK);
	assert_int_equal(wait_done(10), MR_NOT_FOUND);
	assert_int_equal(dones, 1);
	assert_int_equal(reply.message_count, 1);
	assert_int_equal(reply.error.kind, MR_NOT_FOUND);
	assert_int_equal(reply.error.code, 404);
	assert_int_equal(strncmp(reply.error.text, "request 1 (queue.bind): ", 24), 0);
	assert_non_null(strstr(reply.error.text, "no such exchange"));
	assert_true(has_queue("first"));
	assert_false(has_queue("second"));
	mr_channel_free(channel);
	open_channel();
	/* The token is free again. */
	assert_int_equal(mr_setup(channel, 10, list, 1), MR_OK);
	assert_int_equal(wait_done(10), MR_OK);
}

static void test_a_wrong_list_sends_nothing(void **state)
{
	char much[300];
	memset(much, 'x', sizeof much);
	const mr_request wrong[] = {{.operation = 99}, {.operation = MR_BASIC_GET, .name = S("q")},
		{.operation = MR_QUEUE_DECLARE, .name = {much, sizeof much}}};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const mr_request list[] = {{.operation = MR_QUEUE_DECLARE, .name = S("never")},
			wrong[i]};
		assert_int_equal(mr_setup(channel, 10, list, 2), MR_BAD_ARGUMENT);
	}
	const mr_request good = {.operation = MR_QUEUE_DECLARE, .name = S("good")};
	assert_int_equal(mr_setup(channel, 10, &good, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_setup(channel, 0, &good, 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_setup(channel, 10, &good, 1), MR_OK);
	assert_int_equal(mr_setup(channel, 10, &good, 1), MR_BAD_ARGUMENT); /* in use */
	assert_int_equal(wait_done(10), MR_OK);
	assert_false(has_queue("never"));
	mr_channel_free(channel);
	open_channel();
	mr_channel_close(channel, 30);
	assert_int_equal(mr_setup(channel, 10, &good, 1), MR_CLOSED);
	assert_int_equal(wait_done(30), MR_OK);
}

static void test_a_loss_in_the_middle_ends_it(void **state)
{
	const mr_request list[] = {
		{.operation = MR_QUEUE_DECLARE, .name = S("a"), .arguments = arguments(1)},
		{.operation = MR_QUEUE_DECLARE, .name = S("b"), .arguments = arguments(1)},
	};
	(void)state;
	assert_int_equal(mr_server_fault(server, MR_FAULT_SILENT, 1, NULL), MR_OK);
	assert_int_equal(mr_setup(channel, 10, list, COUNT(list)), MR_OK);
	assert_int_equal(mr_server_fault(server, MR_FAULT_DROP, 0, NULL), MR_OK);
	assert_int_equal(mr_server_fault(server, MR_FAULT_SILENT, 0, NULL), MR_OK);
	int status = wait_done(10);
	assert_true(status > 0);
	assert_int_equal(reply.error.kind, status);
	assert_int_equal(reply.message_count, 0);
	assert_int_equal(strncmp(reply.error.text, "request 0 (queue.declare): ", 27), 0);
}

static void test_the_end_of_the_runtime_frees_it(void **state)
{
	const mr_request list[] = {
		{.operation = MR_QUEUE_DECLARE, .name = S("a"), .arguments = arguments(1)},
		{.operation = MR_QUEUE_DECLARE, .name = S("b"), .arguments = arguments(1)},
	};
	(void)state;
	assert_int_equal(mr_setup(channel, 10, list, COUNT(list)), MR_OK);
	/* `end` counts the memory. */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_all_requests_have_one_end),
		TEST(test_a_queue_that_the_broker_names_is_used_by_what_follows),
		TEST(test_the_first_failure_is_named_and_ends_the_list),
		TEST(test_a_wrong_list_sends_nothing),
		TEST(test_a_loss_in_the_middle_ends_it),
		TEST(test_the_end_of_the_runtime_frees_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
