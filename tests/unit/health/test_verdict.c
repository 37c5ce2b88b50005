/* test_verdict: vitals, and what is said of them as health and as metrics.
 * Covers: runtime/bridge/meter.c by mr_meter_look
 * Covers: runtime/health/metrics.c by mr_metrics_write
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/value.h"
#include "health/metrics.h"
#include "health/verdict.h"

static struct mr_vitals vitals;
static mr_health_options options;
static struct mr_node checks;

static int setup(void **state)
{
	(void)state;
	memset(&vitals, 0, sizeof vitals);
	vitals.wanted = vitals.open = 1;
	vitals.consumers = vitals.consuming = 2;
	vitals.last_delivery = -1;
	options = mr_health_defaults;
	mr_list_init(&checks);
	return 0;
}

static mr_health *judge(void)
{
	mr_health *h = mr_verdict(&vitals, &options, &checks, 10000);
	assert_non_null(h);
	assert_non_null(h->report);
	return h;
}

static void assert_page(mr_table *page, const char *expected) /* takes the page */
{
	struct mr_buffer b = {0};
	assert_non_null(page);
	assert_int_equal(mr_json_table(&b, page), MR_OK);
	mr_buffer_append(&b, "", 1);
	assert_string_equal((char *)mr_buffer_data(&b), expected);
	mr_buffer_fini(&b);
	mr_table_free(page);
}

/* What fails, and the first reason. */
static void assert_fails(uint32_t bits, const char *reason)
{
	mr_health *h = judge();
	const mr_value *error = mr_table_find(h->report, "error");
	assert_int_equal(h->failing, bits);
	assert_int_equal(h->healthy, bits == 0);
	if (reason) {
		assert_non_null(error);
		assert_string_equal(error->as.bytes.data, reason);
	} else {
		assert_null(error);
	}
	mr_verdict_free(h);
}

static void test_all_is_well(void **state)
{
	(void)state;
	mr_health *h = judge();
	assert_true(h->healthy && h->ready && h->live);
	assert_page(mr_verdict_health(h, false), "{\"status\":\"healthy\"}");
	assert_page(mr_verdict_ready(h), "{\"status\":\"ready\"}");
	assert_page(mr_verdict_live(h), "{\"status\":\"alive\"}");
	assert_page(mr_verdict_health(h, true),
		"{\"status\":\"healthy\",\"broker\":\"connected\",\"checks\":{"
		"\"connected\":{\"status\":\"healthy\",\"detail\":\"1 of 1 open\"},"
		"\"consuming\":{\"status\":\"healthy\",\"detail\":\"2 of 2 consuming\"},"
		"\"blocked\":{\"status\":\"healthy\"},\"stalled\":{\"status\":\"healthy\"}}}");
	mr_verdict_free(h);
}

static void test_connections(void **state)
{
	(void)state;
	vitals.wanted = vitals.open = 0;
	assert_fails(MR_CHECK_CONNECTED, "connected: no connection is open yet");
	vitals.connects = 1;
	assert_fails(MR_CHECK_CONNECTED, "connected: no connection is open");
	vitals.wanted = 1;
	strcpy(vitals.trouble, "rabbit:5672: connection refused");
	assert_fails(MR_CHECK_CONNECTED, "connected: rabbit:5672: connection refused");
	vitals.wanted = 3;
	vitals.open = 2;
	assert_fails(MR_CHECK_CONNECTED, "connected: 2 of 3 open; rabbit:5672: connection refused");
	options.checks &= ~(uint32_t)MR_CHECK_CONNECTED;
	assert_fails(0, NULL);
}

static void test_consumers(void **state)
{
	(void)state;
	vitals.consuming = 1;
	strcpy(vitals.missing, "queue \"a\": on its way back");
	assert_fails(MR_CHECK_CONSUMING,
		"consuming: 1 of 2 consuming; queue \"a\": on its way back");
	vitals.missing[0] = '\0';
	vitals.consumers = vitals.consuming = 0;
	assert_fails(0, NULL); /* who only publishes is well */
	options.consumers = 2;
	assert_fails(MR_CHECK_CONSUMING, "consuming: 0 of 0 consuming; at least 2 should");
}

static void test_blocked_and_stalled(void **state)
{
	(void)state;
	vitals.blocked = 1;
	strcpy(vitals.blocker, "rabbit:5672: low on memory");
	assert_fails(MR_CHECK_BLOCKED,
		"blocked: the broker takes no publishes: rabbit:5672: low on memory");
	vitals.blocked = 0;
	vitals.busy = 5;
	assert_fails(0, NULL);
	options.stalled = 4;
	strcpy(vitals.where, "the handler of queue \"a\", x.lua:3");
	strcpy(vitals.traceback, "stack traceback: ...");
	assert_fails(MR_CHECK_STALLED, "stalled: the script has not yielded for 5.0 s: "
				       "the handler of queue \"a\", x.lua:3");
	options.stalled = 0;
	assert_fails(0, NULL);
	vitals.stalled = true; /* the watchdog's word */
	mr_health *h = judge();
	const mr_value *all = mr_table_find(h->report, "checks");
	const mr_value *check = mr_table_find(all->as.nested, "stalled");
	assert_true(mr_table_find(check->as.nested, "seconds")->as.real == 5);
	assert_string_equal(mr_table_find(check->as.nested, "traceback")->as.bytes.data,
		"stack traceback: ...");
	assert_true(h->ready && h->live);
	mr_verdict_free(h);
}

static void test_live_gives_a_script_up_only_after_long(void **state)
{
	(void)state;
	vitals.busy = 899;
	mr_health *h = judge();
	assert_true(h->live);
	mr_verdict_free(h);
	vitals.busy = 901;
	h = judge();
	assert_false(h->live);
	assert_page(mr_verdict_live(h), "{\"status\":\"stalled\",\"seconds\":901}");
	mr_verdict_free(h);
	options.dead = 0;
	h = judge();
	assert_true(h->live);
	mr_verdict_free(h);
}

static void test_the_last_message(void **state)
{
	(void)state;
	vitals.uptime = vitals.last_delivery = 61;
	assert_fails(0, NULL);
	options.checks |= MR_CHECK_LAST_MESSAGE;
	options.last_message = 60;
	assert_fails(MR_CHECK_LAST_MESSAGE, "last_message: 61.0 s ago");
	vitals.last_delivery = -1;
	assert_fails(MR_CHECK_LAST_MESSAGE, "last_message: none yet");
	vitals.uptime = 59; /* it has had no time to get one */
	assert_fails(0, NULL);
}

static void test_checks_of_the_host(void **state)
{
	struct mr_host_check a = {.state = MR_NOTE_PENDING, .name = "database", .at = 8500};
	struct mr_host_check b = {.state = MR_NOTE_FAILING, .name = "disk", .detail = "full"};
	(void)state;
	mr_list_append(&checks, &a.node);
	assert_fails(0, NULL);
	mr_list_append(&checks, &b.node);
	assert_fails(MR_CHECK_HOST, "disk: full");
	a.state = MR_NOTE_FAILING;
	assert_fails(MR_CHECK_HOST, "database");
	mr_health *h = judge();
	assert_true(h->ready); /* that is of the messaging alone */
	const mr_value *all = mr_table_find(h->report, "checks");
	const mr_value *check = mr_table_find(all->as.nested, "database");
	assert_true(mr_table_find(check->as.nested, "age")->as.real == 1.5);
	mr_verdict_free(h);
}

static void test_ready_tells_its_own_reasons(void **state)
{
	struct mr_host_check b = {.state = MR_NOTE_FAILING, .name = "connected-to-disk"};
	(void)state;
	mr_list_append(&checks, &b.node);
	vitals.consuming = 1;
	vitals.stopping = true;
	mr_health *h = judge();
	assert_false(h->ready);
	assert_page(mr_verdict_ready(h), "{\"status\":\"stopping\",\"reasons\":["
					 "\"the program is stopping\","
					 "\"consuming: 1 of 2 consuming\"]}");
	mr_verdict_free(h);
}

static void test_it_survives_the_end_of_memory(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	vitals.open = 0;
	for (long n = 1; n < 200; n++) {
		mr_alloc_fail_nth(n);
		mr_health *h = mr_verdict(&vitals, &options, &checks, 0);
		mr_table *page = h ? mr_verdict_health(h, false) : NULL;
		mr_alloc_fail_nth(0);
		bool is_whole = h && h->report && page;
		if (h) assert_int_equal(h->failing, MR_CHECK_CONNECTED);
		mr_table_free(page);
		mr_verdict_free(h);
		assert_int_equal(mr_alloc_live(), live);
		if (is_whole && n > 20) return;
	}
	fail_msg("it never succeeded");
}

/* ---- metrics ---- */

static char *metrics(struct mr_buffer *b, const struct mr_meter *const *meters, size_t count,
	const struct mr_histogram *confirms)
{
	mr_health *h = judge();
	assert_int_equal(mr_metrics_write(b, &vitals, h, meters, count, confirms, NULL, 0), MR_OK);
	mr_verdict_free(h);
	mr_buffer_append(b, "", 1);
	return (char *)mr_buffer_data(b);
}

static void assert_line(const char *page, const char *line)
{
	char text[512];
	snprintf(text, sizeof text, "\n%s\n", line);
	if (!strstr(page, text)) fail_msg("there is no line %s", line);
}

static void test_metrics_count(void **state)
{
	struct mr_buffer b = {0};
	struct mr_histogram confirms = {0};
	(void)state;
	vitals.stats.delivered = 12;
	vitals.stats.bytes_in = UINT64_C(1) << 40;
	vitals.retrying = 3;
	mr_histogram_add(&confirms, 2000000);
	mr_histogram_add(&confirms, UINT64_C(200000000000));
	const char *page = metrics(&b, NULL, 0, &confirms);
	assert_line(page, "moonrabbit_healthy 1");
	assert_line(page, "moonrabbit_deliveries_total 12");
	assert_line(page, "# TYPE moonrabbit_deliveries_total counter");
	assert_line(page, "moonrabbit_received_bytes_total 1099511627776");
	assert_line(page, "moonrabbit_connections{state=\"retrying\"} 3");
	assert_line(page, "moonrabbit_check_healthy{check=\"consuming\"} 1");
	assert_line(page, "moonrabbit_publish_confirm_seconds_bucket{le=\"0.001\"} 0");
	assert_line(page, "moonrabbit_publish_confirm_seconds_bucket{le=\"0.0025\"} 1");
	assert_line(page, "moonrabbit_publish_confirm_seconds_bucket{le=\"100\"} 1");
	assert_line(page, "moonrabbit_publish_confirm_seconds_bucket{le=\"+Inf\"} 2");
	assert_line(page, "moonrabbit_publish_confirm_seconds_sum 200.002000000");
	assert_line(page, "moonrabbit_publish_confirm_seconds_count 2");
	assert_null(strstr(page, "last_delivery")); /* there was none */
	mr_buffer_fini(&b);
}

static void test_labels_are_escaped(void **state)
{
	struct mr_buffer b = {0};
	struct mr_histogram confirms = {0};
	(void)state;
	struct mr_meter *m = mr_meter_new(mr_slice_str("a\"b\\c\nd\xff"));
	const struct mr_meter *meters[] = {m};
	mr_meter_add(m, 3, 1000, 1);
	mr_meter_look(m, 7);
	const char *page = metrics(&b, meters, 1, &confirms);
	const char *name = "a\\\"b\\\\c\\\\x0ad\\\\xff";
	char line[256];
	snprintf(line, sizeof line, "moonrabbit_handler_seconds_count{queue=\"%s\"} 3", name);
	assert_line(page, line);
	snprintf(line, sizeof line,
		"moonrabbit_handler_seconds_bucket{queue=\"%s\",le=\"1e-05\"} 3", name);
	assert_line(page, line);
	snprintf(line, sizeof line, "moonrabbit_handler_failures_total{queue=\"%s\"} 1", name);
	assert_line(page, line);
	snprintf(line, sizeof line, "moonrabbit_queue_messages{queue=\"%s\"} 7", name);
	assert_line(page, line);
	mr_buffer_fini(&b);
	mr_free(m);
}

static void test_names_of_255_bytes_fit(void **state)
{
	char name[256];
	struct mr_buffer b = {0};
	struct mr_histogram confirms = {0};
	(void)state;
	memset(name, '"', 255);
	name[255] = '\0';
	struct mr_meter *m = mr_meter_new(mr_slice_str(name));
	const struct mr_meter *meters[] = {m};
	const char *page = metrics(&b, meters, 1, &confirms);
	const char *line = strstr(page, "moonrabbit_handler_seconds_count{queue=\"");
	assert_non_null(line);
	assert_int_equal(strcspn(line, "}"),
		strlen("moonrabbit_handler_seconds_count{queue=\"") + 511);
	mr_buffer_fini(&b);
	mr_free(m);
}

static void test_made_up_queue_names_share_a_label(void **state)
{
	(void)state;
	assert_string_equal(mr_meter_label(mr_slice_str("amq.gen-xyz")).data, "(server-named)");
	assert_string_equal(mr_meter_label(mr_slice_str("")).data, "(server-named)");
	assert_string_equal(mr_meter_label(mr_slice_str("amqp")).data, "amqp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_all_is_well, setup),
		cmocka_unit_test_setup(test_connections, setup),
		cmocka_unit_test_setup(test_consumers, setup),
		cmocka_unit_test_setup(test_blocked_and_stalled, setup),
		cmocka_unit_test_setup(test_live_gives_a_script_up_only_after_long, setup),
		cmocka_unit_test_setup(test_the_last_message, setup),
		cmocka_unit_test_setup(test_checks_of_the_host, setup),
		cmocka_unit_test_setup(test_ready_tells_its_own_reasons, setup),
		cmocka_unit_test_setup(test_it_survives_the_end_of_memory, setup),
		cmocka_unit_test_setup(test_metrics_count, setup),
		cmocka_unit_test_setup(test_labels_are_escaped, setup),
		cmocka_unit_test_setup(test_names_of_255_bytes_fit, setup),
		cmocka_unit_test(test_made_up_queue_names_share_a_label),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
