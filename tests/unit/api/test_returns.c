/* test_returns: which of its publishes came back, as a C host is told.
 * Feature: returned publishes, from the broker to the host
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "moonrabbit.h"

#define PAIRS 200

static mr_runtime *rt;
static mr_connection *connection;
static mr_channel *channel;
static int ends[2 * PAIRS + 2]; /* by number; -1: none yet */
static int returns[2 * PAIRS + 2];
static uint64_t tokens;

static void note(const mr_event *ev)
{
	if (ev->type == MR_EV_RETURN) {
		returns[ev->as.returned.number]++;
		mr_delivery_release(rt, ev->as.returned.delivery);
	}
	for (uint64_t n = ev->as.confirm.first;
		ev->type == MR_EV_CONFIRM && n <= ev->as.confirm.last; n++) {
		assert_int_equal(ends[n], -1);
		ends[n] = ev->status;
		if (ev->status != MR_RETURNED) continue;
		uint64_t told = n + (uint64_t)(int64_t)ev->as.confirm.shift;
		assert_true(returns[told] > 0); /* its message came before, under this number */
		returns[told]--;
	}
}

/* Pulls events until the request has ended, or, without one, until so many publishes have. */
static void pull(uint64_t token, uint64_t publishes)
{
	double deadline = mr_now() + 60;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 5) != 1) continue;
		bool is_done = token && ev.type == MR_EV_DONE && ev.as.done.token == token;
		if (is_done) assert_int_equal(ev.status, MR_OK);
		note(&ev);
		mr_event_fini(&ev);
		for (uint64_t n = 1; publishes && n <= publishes && ends[n] != -1; n++)
			is_done = n == publishes;
		if (is_done) return;
	}
	fail_msg("in vain waited for request %d or %d publishes", (int)token, (int)publishes);
}

static mr_table *kind_of(const char *kind)
{
	mr_table *t = mr_table_new();
	mr_value v = {.type = 'S', .as.bytes = {kind, strlen(kind)}};
	assert_int_equal(mr_table_add(t, "kind", 4, &v), MR_OK);
	return t;
}

static void request(int operation, const char *extra, mr_table *arguments)
{
	mr_request r = {.operation = operation, .name = {"kept", 4}, .arguments = arguments};
	if (extra) r.extra = (mr_bytes){extra, strlen(extra)};
	assert_int_equal(mr_channel_request(channel, ++tokens, &r), MR_OK);
	pull(tokens, 0);
}

static int begin(void **state)
{
	mr_error error;
	mr_options *o = mr_options_new();
	(void)state;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) ends[i] = -1;
	memset(returns, 0, sizeof returns);
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	assert_int_equal(mr_options_string(o, "url", "memory://", 9, &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(connection, ++tokens), MR_OK);
	pull(tokens, 0);
	assert_int_equal(mr_channel_open(connection, ++tokens, &channel), MR_OK);
	pull(tokens, 0);
	request(MR_QUEUE_DECLARE, NULL, NULL);
	request(MR_QUEUE_BIND, "amq.headers", kind_of("good"));
	request(MR_CONFIRM_SELECT, NULL, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	return 0;
}

static uint64_t publish(const char *kind)
{
	char encoded[256];
	uint64_t number = 0;
	mr_properties p = {.flags = MR_HAS_HEADERS, .headers = kind_of(kind)};
	int size = mr_properties_encode(&p, encoded, sizeof encoded);
	assert_true(size > 0 && size <= (int)sizeof encoded);
	mr_table_free(p.headers);
	assert_int_equal(mr_channel_publish(channel, "amq.headers", 11, "key", 3, "equal", 5,
				 encoded, (size_t)size, MR_MANDATORY, 60, &number),
		MR_OK);
	return number;
}

/* FIELD-W1: equal exchange, key and body, other headers. */
static void test_each_publish_of_a_c_host_ends_as_the_broker_said(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < PAIRS; i++) {
		assert_int_equal(publish(i % 2 ? "good" : "none"), 2 * i + 1);
		assert_int_equal(publish(i % 2 ? "none" : "good"), 2 * i + 2);
	}
	pull(0, 2 * PAIRS);
	for (uint64_t n = 1; n <= 2 * PAIRS; n++) {
		uint64_t pair = (n - 1) / 2;
		bool is_second = n % 2 == 0, is_good = (pair % 2 == 1) != is_second;
		assert_int_equal(ends[n], is_good ? MR_OK : MR_RETURNED);
		assert_int_equal(returns[n], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_each_publish_of_a_c_host_ends_as_the_broker_said, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
