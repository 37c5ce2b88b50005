/* test_health: health as a C host sees it: a struct, events, meters, and pages while the host is away.
 * Covers: runtime/base/event.c by mr_event_fini
 * Covers: runtime/health/health.c by mr_health_note
 * Covers: runtime/health/host_pages.c by MR_EV_PAGE
 * Covers: runtime/health/vitals.c by last_delivery
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "moonrabbit.h"

static mr_runtime *rt;
static mr_connection *connection;
static long live;

static int setup(void **state)
{
	(void)state;
	live = mr_alloc_live();
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_runtime_free(rt, 5);
	assert_int_equal(mr_alloc_live(), live);
	return 0;
}

static uint64_t token_of(const mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DONE: return ev->as.done.token;
	case MR_EV_HEALTH: return ev->as.health.token;
	case MR_EV_PAGE: return ev->as.page.token;
	default: return 0;
	}
}

/* Polls until there is an event of this type and token. */
static mr_event wait_for(uint32_t type, uint64_t token)
{
	double deadline = mr_now() + 10;
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(rt, &ev, 1, 0.1) != 1) continue;
		if (ev.type == type && token_of(&ev) == token) return ev;
		mr_event_fini(&ev);
	}
	fail_msg("in vain waited for an event");
	return (mr_event){0};
}

static mr_health ask(void)
{
	assert_int_equal(mr_health_ask(rt, 7), MR_OK);
	mr_event ev = wait_for(MR_EV_HEALTH, 7);
	assert_non_null(ev.as.health.health);
	mr_health h = *ev.as.health.health;
	assert_non_null(h.report);
	h.report = NULL;
	mr_event_fini(&ev);
	return h;
}

static void open_connection(void)
{
	static const char url[] = "memory://";
	mr_error error = {0};
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", url, strlen(url), &error), MR_OK);
	assert_int_equal(mr_connection_new(rt, o, &connection, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(connection, 3), MR_OK);
	mr_event ev = wait_for(MR_EV_DONE, 3);
	assert_int_equal(ev.status, MR_OK);
	mr_event_fini(&ev);
}

static uint16_t listen_somewhere(void)
{
	assert_int_equal(mr_http_listen(rt, 5, "127.0.0.1", 0), MR_OK);
	mr_event ev = wait_for(MR_EV_DONE, 5);
	assert_int_equal(ev.status, MR_OK);
	char name[32];
	uint16_t port = (uint16_t)ev.as.done.reply->message_count;
	snprintf(name, sizeof name, "127.0.0.1:%u", port);
	assert_string_equal(ev.as.done.reply->name, name);
	mr_event_fini(&ev);
	return port;
}

static int request(uint16_t port, const char *path)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[256];
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	send(fd, text, strlen(text), MSG_NOSIGNAL);
	return fd;
}

static const char *answer_of(int fd)
{
	static char answer[1 << 20];
	ssize_t n;
	size_t size = 0;
	while ((n = recv(fd, answer + size, sizeof answer - 1 - size, 0)) > 0) size += (size_t)n;
	answer[size] = '\0';
	close(fd);
	return answer;
}

/* Asks as another process would: the host is not in mr_runtime_poll meanwhile. */
static const char *get(uint16_t port, const char *path) { return answer_of(request(port, path)); }

static void test_health_is_a_struct(void **state)
{
	(void)state;
	mr_health h = ask();
	assert_false(h.healthy || h.ready);
	assert_true(h.live);
	assert_int_equal(h.failing, MR_CHECK_CONNECTED);
	assert_true(h.last_delivery < 0);
	open_connection();
	h = ask();
	assert_true(h.healthy && h.ready && h.live);
	assert_int_equal(h.connections, 1);
	assert_int_equal(h.connections_open, 1);
	assert_int_equal(mr_health_stopping(rt), MR_OK);
	h = ask();
	assert_true(h.healthy && h.stopping && !h.ready);
}

static void test_pages_are_served_while_the_host_is_away(void **state)
{
	(void)state;
	open_connection();
	uint16_t port = listen_somewhere();
	const char *answer = get(port, "/health");
	assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
	assert_non_null(strstr(answer, "\r\n\r\n{\"status\":\"healthy\"}"));
	mr_health_options o = {.checks = MR_CHECK_STALLED, .stalled = 0.05};
	assert_int_equal(mr_health_configure(rt, &o), MR_OK);
	mr_event ev;
	mr_runtime_mark(rt)->busy = 1;
	mr_runtime_poll(rt, &ev, 0, 0); /* sends it; from here on the host is busy */
	double deadline = mr_now() + 10;
	do answer = get(port, "/health");
	while (!strstr(answer, "503") && mr_now() < deadline);
	assert_non_null(strstr(answer, "stalled: the script has not yielded for "));
	assert_non_null(
		strstr(get(port, "/metrics"), "\nmoonrabbit_check_healthy{check=\"stalled\"} 0\n"));
	assert_int_equal(mr_http_close(rt, 6), MR_OK);
	ev = wait_for(MR_EV_DONE, 6);
	mr_event_fini(&ev);
	listen_somewhere();
}

static double cpu_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_without_descriptors_it_waits_for_some(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rlimit before, few = {.rlim_cur = 128, .rlim_max = 0};
	static const char request[] = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n";
	int taken[128], count = 0, fd;
	char answer[512];
	mr_event ev;
	(void)state;
	a.sin_port = htons(listen_somewhere());
	getrlimit(RLIMIT_NOFILE, &before);
	few.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
	while (count < 128 && (fd = dup(0)) >= 0) taken[count++] = fd;
	close(taken[--count]); /* for our end of the connection; there is none for theirs */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
	double cpu = cpu_seconds(), deadline = mr_now() + 0.5;
	while (mr_now() < deadline) mr_runtime_poll(rt, &ev, 1, deadline - mr_now());
	assert_true(cpu_seconds() - cpu < 0.25);
	while (count) close(taken[--count]);
	ssize_t n = recv(fd, answer, sizeof answer - 1, 0); /* within a second */
	setrlimit(RLIMIT_NOFILE, &before);
	close(fd);
	assert_true(n > 12);
	answer[n] = '\0';
	assert_non_null(strstr(answer, "200 OK"));
}

static void test_notes_count_and_changes_are_told(void **state)
{
	(void)state;
	open_connection();
	assert_int_equal(mr_health_watch(rt, true), MR_OK);
	assert_int_equal(mr_health_note(rt, "disk", 4, MR_NOTE_FAILING, "full", 4), MR_OK);
	mr_event ev = wait_for(MR_EV_HEALTH, 0);
	assert_int_equal(ev.as.health.health->failing, MR_CHECK_HOST);
	mr_event_fini(&ev);
	assert_int_equal(mr_health_note(rt, "disk", 4, MR_NOTE_PASSING, "", 0), MR_OK);
	ev = wait_for(MR_EV_HEALTH, 0);
	assert_true(ev.as.health.health->healthy);
	mr_event_fini(&ev);
	for (int i = 0; i < 100; i++) { /* more than are kept */
		char name[16];
		int n = snprintf(name, sizeof name, "check-%d", i);
		mr_health_note(rt, name, (size_t)n, MR_NOTE_FAILING, "", 0);
	}
	assert_false(ask().healthy);
	mr_health_note(rt, "disk", 4, MR_NOTE_FORGET, "", 0);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
	char name[129] = {'x'};
	mr_health_options o = {.checks = 64};
	(void)state;
	memset(name, 'x', sizeof name);
	assert_int_equal(mr_health_configure(rt, &o), MR_BAD_ARGUMENT);
	o = (mr_health_options){.stalled = -1};
	assert_int_equal(mr_health_configure(rt, &o), MR_BAD_ARGUMENT);
	assert_int_equal(mr_health_note(rt, "", 0, 1, "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_health_note(rt, name, 129, 1, "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_health_note(rt, "a\0b", 3, 1, "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_health_note(rt, "a", 1, 9, "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_health_ask(rt, 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_listen(rt, 0, "127.0.0.1", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_listen(rt, 5, "nowhere", 0), MR_OK);
	mr_event ev = wait_for(MR_EV_DONE, 5);
	assert_int_equal(ev.status, MR_BAD_ARGUMENT);
	mr_event_fini(&ev);
}

static const mr_value *field(const mr_table *table, const char *key)
{
	for (uint32_t i = 0; i < table->count; i++) {
		mr_bytes k = table->fields[i].key;
		if (k.size == strlen(key) && memcmp(k.data, key, k.size) == 0)
			return &table->fields[i].value;
	}
	return NULL;
}

static void test_the_host_has_pages_of_its_own(void **state)
{
	(void)state;
	uint16_t port = listen_somewhere();
	assert_int_equal(mr_http_page(rt, "/jobs", true), MR_OK);
	assert_int_equal(mr_http_page(rt, "/live", true), MR_OK);
	mr_event ev = {0};
	ask(); /* commands are obeyed in their order */
	int fd = request(port, "/jobs?limit=5&x");
	while (ev.type != MR_EV_PAGE) assert_int_equal(mr_runtime_poll(rt, &ev, 1, 10), 1);
	const mr_value *query = field(ev.as.page.request, "query");
	assert_memory_equal(field(ev.as.page.request, "path")->as.bytes.data, "/jobs", 5);
	assert_memory_equal(field(query->as.nested, "limit")->as.bytes.data, "5", 1);
	assert_int_equal(field(query->as.nested, "x")->as.bytes.size, 0);
	assert_int_equal(mr_http_answer(rt, ev.as.page.token, 201, "text/plain", "done", 4), MR_OK);
	assert_int_equal(mr_http_answer(rt, ev.as.page.token, 200, "text/plain", "again", 5),
		MR_OK);
	mr_event_fini(&ev);
	mr_runtime_poll(rt, &ev, 0, 0); /* sends both */
	const char *answer = answer_of(fd);
	assert_non_null(strstr(answer, "HTTP/1.1 201 Created\r\nDate: "));
	assert_non_null(strstr(answer, "Content-Type: text/plain\r\n"));
	assert_non_null(strstr(answer, "\r\n\r\ndone"));
	assert_int_equal(mr_http_page(rt, "/live", false), MR_OK);
	ask();
	assert_non_null(strstr(get(port, "/live"), "{\"status\":\"alive\"}"));
	close(request(port, "/jobs")); /* a client that does not wait; freed with the runtime */
	fd = request(port, "/jobs");
	mr_runtime_free(rt, 1);
	assert_string_equal(answer_of(fd), "");
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
}

/* Each request that is gone by then would stay with it for ever. */
static void test_a_host_that_does_not_poll_is_asked_for_so_many_pages(void **state)
{
	int fds[64], pages = 0;
	mr_event ev;
	(void)state;
	uint16_t port = listen_somewhere();
	assert_int_equal(mr_http_page(rt, "/jobs", true), MR_OK);
	ask();
	for (int i = 0; i < 64; i++) {
		fds[i] = request(port, "/jobs");
		assert_non_null(strstr(get(port, "/live"), "200 OK")); /* it has been read */
	}
	const char *answer = get(port, "/jobs");
	assert_non_null(strstr(answer, "503"));
	assert_non_null(strstr(answer, "the program takes no requests at the moment"));
	for (; mr_runtime_poll(rt, &ev, 1, 0.2) == 1; mr_event_fini(&ev))
		pages += ev.type == MR_EV_PAGE;
	assert_int_equal(pages, 64);
	int fd = request(port, "/jobs");
	assert_int_equal(mr_runtime_poll(rt, &ev, 1, 10), 1);
	assert_int_equal(ev.type, MR_EV_PAGE);
	assert_int_equal(mr_http_answer(rt, ev.as.page.token, 200, "text/plain", "done", 4), MR_OK);
	mr_event_fini(&ev);
	mr_runtime_poll(rt, &ev, 0, 0); /* sends it */
	assert_non_null(strstr(answer_of(fd), "\r\n\r\ndone"));
	for (int i = 0; i < 64; i++) close(fds[i]);
}

static void test_pages_that_make_no_sense_are_refused(void **state)
{
	char path[258] = "/", type[129] = "";
	(void)state;
	memset(path + 1, 'x', 256);
	memset(type, 'x', 128);
	assert_int_equal(mr_http_page(rt, path, true), MR_BAD_ARGUMENT);
	path[256] = '\0';
	assert_int_equal(mr_http_page(rt, path, true), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_page(rt, "jobs", true), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_page(rt, NULL, true), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 0, 200, "text/plain", "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 99, "text/plain", "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 600, "text/plain", "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 200, "", "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 200, type, "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 200, "a\r\nb", "", 0), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 200, "text/plain", NULL, 1), MR_BAD_ARGUMENT);
	assert_int_equal(mr_http_answer(rt, 1, 200, "text/plain", NULL, 0), MR_OK);
	for (int i = 0; i < 100; i++) { /* more than are kept */
		snprintf(path, sizeof path, "/page-%d", i);
		assert_int_equal(mr_http_page(rt, path, true), MR_OK);
	}
	const char *answer = get(listen_somewhere(), "/page-99");
	assert_non_null(strstr(answer, "404 Not Found"));
	assert_non_null(strstr(answer, "\"/metrics\",\"/page-0\""));
	assert_non_null(strstr(answer, "\"/page-63\"]"));
}

static void test_meters_are_few(void **state)
{
	char name[16];
	(void)state;
	mr_meter *first = mr_meter_of(rt, "first", 5), *other = NULL;
	assert_non_null(first);
	assert_ptr_equal(mr_meter_of(rt, "first", 5), first);
	assert_ptr_equal(mr_meter_of(rt, "amq.gen-1", 9), mr_meter_of(rt, "amq.gen-2", 9));
	for (int i = 0; i < 1000; i++) {
		int n = snprintf(name, sizeof name, "queue-%d", i);
		other = mr_meter_of(rt, name, (size_t)n);
		assert_non_null(other);
	}
	assert_ptr_equal(mr_meter_of(rt, "another", 7), other);
	double began = mr_now() - 0.02;
	assert_true(mr_meter_handled(first, began, true) >= began + 0.02);
	mr_meter_handled_many(first, 10, 1e-6);
	mr_meter_messages(first, 42);
	mr_meter_paused(first, true);
	mr_meter_paused(NULL, true);
	mr_backlog *backlog = mr_backlog_of(rt, "out", 3);
	assert_non_null(backlog);
	assert_ptr_equal(mr_backlog_of(rt, "out", 3), backlog);
	mr_meter_handled(NULL, began, false);
	uint16_t port = listen_somewhere();
	const char *page = get(port, "/metrics");
	assert_non_null(strstr(page, "\nmoonrabbit_handler_seconds_count{queue=\"first\"} 11\n"));
	assert_non_null(strstr(page, "\nmoonrabbit_handler_failures_total{queue=\"first\"} 1\n"));
	assert_non_null(strstr(page, "\nmoonrabbit_queue_messages{queue=\"first\"} 42\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_health_is_a_struct, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_are_served_while_the_host_is_away, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_without_descriptors_it_waits_for_some, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_notes_count_and_changes_are_told, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_what_makes_no_sense_is_refused, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_the_host_has_pages_of_its_own, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_a_host_that_does_not_poll_is_asked_for_so_many_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_that_make_no_sense_are_refused, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_meters_are_few, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
