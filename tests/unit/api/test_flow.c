/* test_flow: a host that does not poll, and what it asked for.
 * Covers: runtime/api/publish.c by mr_channel_publish
 * Covers: runtime/io/event_queue.c by MR_EV_CONFIRM
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "moonrabbit.h"

#define FLOOD 30000 /* deliveries: more than the event ring holds, less than a link's bound */
#define PUBLISHES 50

struct side {
	mr_connection *connection;
	mr_channel *channel;
};

static mr_runtime *rt;
static struct side slow, other;
static size_t deliveries, confirms;

static void note(mr_event *ev)
{
	deliveries += ev->type == MR_EV_DELIVERY;
	if (ev->type == MR_EV_CONFIRM && ev->status == MR_OK)
		confirms += (size_t)(ev->as.confirm.last - ev->as.confirm.first + 1);
	if (ev->type == MR_EV_DELIVERY) mr_delivery_release(rt, ev->as.delivery);
	mr_event_fini(ev);
}

static int wait_for(uint64_t token)
{
	double deadline = mr_now() + 60;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 5) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = ev.status;
		note(&ev);
		if (is_it) return status;
	}
	fail_msg("token %d never came", (int)token);
	return -1;
}

static void poll_until(const size_t *count, size_t wanted)
{
	double deadline = mr_now() + 60;
	while (*count < wanted) {
		mr_event ev;
		assert_true(mr_now() < deadline);
		if (mr_runtime_poll(rt, &ev, 1, 5) == 1) note(&ev);
	}
}

static void publish(mr_channel *ch, const char *queue, double timeout)
{
	uint64_t number;
	assert_int_equal(mr_channel_publish(ch, "", 0, queue, strlen(queue), "x", 1, NULL, 0, 0,
				 timeout, &number),
		MR_OK);
}

static int request(mr_channel *ch, uint64_t token, int operation, const char *name, uint32_t flags)
{
	mr_request r = {.operation = operation, .name = {name, strlen(name)}, .flags = flags};
	assert_int_equal(mr_channel_request(ch, token, &r), MR_OK);
	return wait_for(token);
}

static void connect_side(struct side *side)
{
	mr_error error;
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", "memory://", 9, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &side->connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(side->connection, 1), MR_OK);
	assert_int_equal(wait_for(1), MR_OK);
	assert_int_equal(mr_channel_open(side->connection, 2, &side->channel), MR_OK);
	assert_int_equal(wait_for(2), MR_OK);
	assert_int_equal(request(side->channel, 3, MR_CONFIRM_SELECT, "", 0), MR_OK);
}

static int begin(void **state)
{
	(void)state;
	deliveries = confirms = 0;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	connect_side(&slow);
	connect_side(&other);
	assert_int_equal(request(slow.channel, 4, MR_QUEUE_DECLARE, "flood", 0), MR_OK);
	assert_int_equal(request(slow.channel, 5, MR_QUEUE_DECLARE, "aside", 0), MR_OK);
	for (size_t i = 1; i <= FLOOD; i++) {
		publish(slow.channel, "flood", 60);
		if (i % 1000 == 0) poll_until(&confirms, i);
	}
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	return 0;
}

static mr_stats stats(void)
{
	mr_stats s;
	mr_runtime_stats(rt, &s);
	return s;
}

/* The I/O thread has all of the flood, and nobody polls. */
static void let_it_pile_up(void)
{
	double deadline = mr_now() + 60;
	while (stats().in_flight < FLOOD - deliveries) {
		assert_true(mr_now() < deadline);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* FIELD-R1: confirms find room in the ring, and come before what is parked; on the same connection, too. */
static void test_confirms_reach_a_host_that_did_not_poll(void **state)
{
	(void)state;
	assert_int_equal(request(slow.channel, 6, MR_BASIC_CONSUME, "flood", MR_NO_ACK), MR_OK);
	let_it_pile_up();
	size_t confirmed = confirms, told = deliveries;
	for (int i = 0; i < PUBLISHES; i++) {
		publish(other.channel, "aside", 30);
		publish(slow.channel, "aside", 30);
	}
	while (stats().confirmed < FLOOD + 2 * PUBLISHES)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	poll_until(&confirms, confirmed + (size_t)2 * PUBLISHES);
	assert_true(deliveries - told < FLOOD / 4);
	/* The broker has a thread of its own: a busy machine may let it wait, and a host that polls meanwhile gets all of the
	 * flood. So this one polls when the answer has come. */
	uint64_t frames = stats().frames_in;
	mr_request passive = {.operation = MR_QUEUE_DECLARE,
		.name = {"aside", 5},
		.flags = MR_PASSIVE};
	assert_int_equal(mr_channel_request(other.channel, 7, &passive), MR_OK);
	while (stats().frames_in == frames) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(wait_for(7), MR_OK);
	assert_true(deliveries - told < FLOOD / 2);
	poll_until(&deliveries, FLOOD);
}

/* FIELD-R1: what is parked of a channel that ends needs no host: the broker has it again. */
static void test_a_connection_that_goes_takes_along_what_is_parked(void **state)
{
	(void)state;
	assert_int_equal(request(slow.channel, 6, MR_BASIC_QOS, "", 0), MR_OK);
	assert_int_equal(request(slow.channel, 7, MR_BASIC_CONSUME, "flood", 0), MR_OK);
	let_it_pile_up();
	assert_int_equal(mr_connection_close(slow.connection, 8, 10), MR_OK);
	/* A host that polls meanwhile is served until the close is through: so this one waits without. */
	double until = mr_now() + 30;
	while (stats().in_flight > FLOOD / 4 && mr_now() < until) poll(NULL, 0, 1);
	assert_true(stats().in_flight < FLOOD / 4);
	size_t told = deliveries;
	assert_int_equal(wait_for(8), MR_OK);
	assert_true(deliveries - told < FLOOD / 4);
	while (stats().in_flight) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.05) == 1) note(&ev);
	}
	assert_true(deliveries < FLOOD / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_confirms_reach_a_host_that_did_not_poll, begin,
			end),
		cmocka_unit_test_setup_teardown(
			test_a_connection_that_goes_takes_along_what_is_parked, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
