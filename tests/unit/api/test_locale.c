/* test_locale: a C host whose locale has a decimal comma.
 * Covers: runtime/base/number.c by mr_number_read
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <locale.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"
#include "base/number.h"
#include "config/options.h"
#include "moonrabbit.h"

/* A locale of this test's own, so that none need be installed. */
static int set_comma(void **state)
{
	static const char source[] = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\n"
				     "grouping 3;3\nEND LC_NUMERIC\n";
	char folder[] = "/tmp/comma.XXXXXX", path[64], command[200];
	(void)state;
	if (!mkdtemp(folder)) return -1;
	snprintf(path, sizeof path, "%s/source", folder);
	FILE *file = fopen(path, "w");
	fwrite(source, 1, sizeof source - 1, file);
	fclose(file);
	snprintf(command, sizeof command,
		"localedef -c -i %s --no-archive %s/comma >/dev/null 2>&1", path, folder);
	int warned = system(command);
	setenv("LOCPATH", folder, 1);
	bool is_set = setlocale(LC_ALL, "comma") != NULL;
	snprintf(command, sizeof command, "rm -rf %s", folder);
	warned += system(command);
	(void)warned; /* of the categories that are not there */
	if (!is_set) print_error("no locale could be compiled: is localedef here?\n");
	return is_set ? 0 : -1;
}

static void test_the_locale_is_what_it_should_be(void **state)
{
	char text[16];
	(void)state;
	snprintf(text, sizeof text, "%.1f", 1.5);
	assert_string_equal(text, "1,5");
}

/* FIELD-R10 */
static void test_numbers_are_written_with_a_point(void **state)
{
	char text[256];
	(void)state;
	mr_number_format(text, sizeof text, "%.3f %g %d", 0.5, 1e-7, 1234567);
	assert_string_equal(text, "0.500 1e-07 1234567");
	mr_number_text(text, 0.1);
	assert_string_equal(text, "0.1");
	mr_table *t = mr_table_new();
	mr_value v = {.type = 'd', .as.real = 2.25};
	mr_table_add(t, "n", 1, &v);
	size_t size = mr_log_format(text, sizeof text, MR_LOG_JSON, NULL, MR_LOG_INFO,
		mr_slice_str("m"), t);
	text[size] = '\0';
	assert_non_null(strstr(text, "\"n\":2.25"));
	mr_table_free(t);
}

/* FIELD-R10: in URLs, and in what is said of them. */
static void test_numbers_are_read_with_a_point(void **state)
{
	mr_error error = {0};
	mr_options *o = mr_options_new();
	(void)state;
	assert_true(mr_number_read("0.25", NULL) == 0.25);
	assert_int_equal(mr_options_text(o, "connect_timeout", mr_slice_str("2.5"), &error), MR_OK);
	assert_int_equal(mr_options_text(o, "connect_timeout", mr_slice_str("2,5"), &error),
		MR_BAD_OPTION);
	assert_int_equal(mr_options_number(o, "heartbeat", 1.5, &error), MR_BAD_OPTION);
	assert_non_null(strstr(error.text, "not 1.5"));
	mr_options_free(o);
}

static mr_runtime *rt;

static void pull(uint32_t type, mr_event *out)
{
	for (double until = mr_now() + 20; mr_now() < until;) {
		if (mr_runtime_poll(rt, out, 1, 1) != 1) continue;
		if (out->type == type) return;
		mr_event_fini(out);
	}
	fail_msg("no event %u", type);
}

static void get_page(uint16_t port, const char *path, char *out, size_t capacity)
{
	char request[64];
	size_t used = 0;
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), n;
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
	assert_int_equal(write(fd, request, (size_t)n), n);
	ssize_t got;
	while ((got = read(fd, out + used, capacity - used - 1)) > 0) used += (size_t)got;
	out[used] = '\0';
	close(fd);
}

/* No digit is followed by a comma and a digit. */
static void has_no_comma(const char *text)
{
	for (const char *c = text; (c = strchr(c, ',')); c++) {
		bool is_decimal =
			c > text && c[-1] >= '0' && c[-1] <= '9' && c[1] >= '0' && c[1] <= '9';
		if (is_decimal) fail_msg("a decimal comma: %.60s", c > text + 30 ? c - 30 : text);
	}
}

/* FIELD-R10: the pages, which the I/O thread writes while the host has that locale. */
static void test_the_pages_have_points(void **state)
{
	static char page[200000];
	mr_event ev;
	(void)state;
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_meter_handled_many(mr_meter_of(rt, "q", 1), 3, 0.125);
	assert_int_equal(mr_http_listen(rt, 1, "127.0.0.1", 0), MR_OK);
	pull(MR_EV_DONE, &ev);
	uint16_t port = (uint16_t)ev.as.done.reply->message_count;
	mr_event_fini(&ev);
	get_page(port, "/metrics", page, sizeof page);
	has_no_comma(page);
	assert_non_null(strstr(page, "moonrabbit_handler_seconds_sum{queue=\"q\"} 0.375000000\n"));
	assert_non_null(strstr(page, "le=\"2.5e-05\""));
	get_page(port, "/health?verbose", page, sizeof page);
	has_no_comma(page);
	assert_string_equal(localeconv()->decimal_point, ","); /* the host's is its own */
	mr_runtime_free(rt, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_locale_is_what_it_should_be),
		cmocka_unit_test(test_numbers_are_written_with_a_point),
		cmocka_unit_test(test_numbers_are_read_with_a_point),
		cmocka_unit_test(test_the_pages_have_points),
	};
	return cmocka_run_group_tests(tests, set_comma, NULL);
}
