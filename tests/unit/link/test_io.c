/* test_io: what a link's stream says last.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/handshake.h"
#include "base/alloc.h"
#include "link/io.h"

static struct mr_services services;
static struct mr_config config;
static struct mr_login login;
static struct mr_session_options options;
static struct mr_session *session;
static struct mr_link_io io;
static mr_error told;
static int moves;
static enum mr_status end_of_reading; /* how the stream's last read ends; MR_OK: it has nothing */
static mr_slice unread;

/* ---- a stream that takes nothing any more ---- */

static ssize_t read_end(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	(void)s;
	if (unread.size) {
		size_t n = unread.size < size ? unread.size : size;
		memcpy(data, unread.data, n);
		unread = mr_slice_of(unread.data + n, unread.size - n);
		return (ssize_t)n;
	}
	if (end_of_reading == MR_OK) return 0;
	mr_error_set(error, end_of_reading, MR_SCOPE_CONNECTION, 0, "said by a read");
	return -1;
}

static ssize_t write_fails(struct mr_stream *s, const struct iovec *from, int count,
	mr_error *error)
{
	(void)s;
	(void)from;
	(void)count;
	mr_error_system(error, MR_STREAM_LOST, MR_SCOPE_CONNECTION, EPIPE, "said by a write");
	return -1;
}

static bool has_none(const struct mr_stream *s)
{
	(void)s;
	return false;
}

static void close_it(struct mr_stream *s) { (void)s; }

static const struct mr_stream_class class = {NULL, read_end, NULL, NULL, write_fails, has_none,
	close_it, close_it, NULL};
static struct mr_stream stream = {&class, -1, MR_WANT_READ};

/* ---- its owner ---- */

static void on_moved(void *owner)
{
	(void)owner;
	moves++;
}

static void on_broken(void *owner, const mr_error *why)
{
	(void)owner;
	told = *why;
	mr_link_io_stop(&io);
}

static int begin(void **state)
{
	static const struct mr_link_io_port port = {NULL, on_moved, on_broken};
	(void)state;
	memset(&services, 0, sizeof services);
	memset(&told, 0, sizeof told);
	moves = 0;
	unread = (mr_slice){0};
	services.loop = ev_loop_new(EVFLAG_NOENV);
	mr_timers_init(&services.timers, services.loop);
	mr_list_init(&services.dirty);
	mr_list_init(&services.eager);
	mr_list_init(&services.holding);
	mr_list_init(&services.paused);
	assert_int_equal(mr_buffer_reserve(&services.scratch, MR_READ_CHUNK), MR_OK);
	options = (struct mr_session_options){.login = &login, .stats = &services.stats};
	assert_int_equal(mr_session_open(&session, &options), MR_OK);
	assert_int_equal(mr_session_start(session, mr_clock_now()), MR_OK);
	mr_link_io_init(&io, &services, &config, 1, &port, mr_tally_new(),
		mr_calloc(1, sizeof(struct mr_gauge)));
	mr_link_io_start(&io, &stream, session);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_link_io_fini(&io);
	mr_session_free(session);
	mr_buffer_fini(&services.scratch);
	ev_loop_destroy(services.loop);
	return 0;
}

/* ---- the tests ---- */

/* FIELD-R13: a TLS 1.3 client hears that its certificate was refused when it takes itself to be through. */
static void test_the_alert_of_a_peer_is_told_when_a_write_failed_first(void **state)
{
	(void)state;
	end_of_reading = MR_TLS_FAILED;
	mr_link_io_flush(&io);
	assert_int_equal(told.kind, MR_TLS_FAILED);
	assert_string_equal(told.text, "said by a read");
}

static void test_a_peer_that_says_nothing_leaves_what_the_write_said(void **state)
{
	static const enum mr_status ends[] = {MR_OK, MR_STREAM_LOST, MR_NO_MEMORY};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		end_of_reading = ends[i];
		mr_link_io_flush(&io);
		assert_int_equal(told.kind, MR_STREAM_LOST);
		assert_int_equal(told.system, EPIPE);
		mr_link_io_start(&io, &stream, session);
	}
}

/* FIELD-R13 */
static void test_a_close_of_the_broker_comes_before_an_alert(void **state)
{
	static const char close[] =
		"\1\0\0\0\0\0\xf\0\12\0\62\1\x93\4nono\0\0\0\0\xce"; /* 403, "nono" */
	(void)state;
	unread = mr_slice_of(close, sizeof close - 1);
	end_of_reading = MR_TLS_FAILED;
	mr_link_io_flush(&io);
	assert_int_equal(moves, 1);
	assert_int_equal(told.kind, MR_OK);
	assert_int_equal(mr_session_error(session)->code, 403);
	assert_string_equal(mr_session_error(session)->text, "nono");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
	const struct CMUnitTest tests[] = {
		T(the_alert_of_a_peer_is_told_when_a_write_failed_first),
		T(a_peer_that_says_nothing_leaves_what_the_write_said),
		T(a_close_of_the_broker_comes_before_an_alert),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
