/* test_tls: the records of a TLS stream, and how many writes of the socket they take.
 * SPDX-License-Identifier: MIT */
#include <openssl/pem.h>
#include <openssl/x509.h>
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

#include "net/tcp.h"
#include "net/tls.h"
#include "net/tls_inside.h"
#include "tls_bench.h"

#define RECORD 16384         /* bytes of plain text, the most that TLS allows */
#define SEALED (RECORD + 22) /* TLS 1.3: head 5, kind 1, tag 16 */

/* ---- a server without a file: its certificate is made here ---- */

/* ---- a stream that counts what is written to it ---- */

struct counter {
	struct over over;
	size_t writes, records, longest; /* `longest`: bytes of the longest record */
};

static ssize_t counter_write(struct mr_stream *s, const void *data, size_t size, mr_error *error)
{
	struct counter *c = (struct counter *)s;
	const uint8_t *at = data, *end = at + size;
	c->writes++;
	while (at < end) { /* each write begins and ends with a record */
		assert_true(end - at >= 5);
		size_t record = 5 + (size_t)at[3] * 256 + at[4];
		assert_true(record <= (size_t)(end - at));
		if (record > c->longest) c->longest = record;
		c->records++;
		at += record;
	}
	assert_int_equal(c->over.lower->class->write(c->over.lower, data, size, error), size);
	return (ssize_t)size;
}

static const struct mr_stream_class counter_class = {over_connect, over_read, NULL, counter_write,
	NULL, over_pending, over_end, over_close, NULL};

/* ---- a pair of streams ---- */

struct bench {
	struct mr_tls_context *contexts[2];
	struct counter counter; /* below the client */
	struct mr_stream *client, *server;
};

static void begin(struct bench *b)
{
	const struct mr_tls_options o = {.no_verify = true};
	const struct mr_tls_target to = {.host = "localhost"};
	struct mr_stream *lower;
	int fds[2], size = 1 << 20;
	*b = (struct bench){.counter = {.over = {.stream = {.class = &counter_class}}}};
	for (int i = 0; i < 2; i++)
		assert_int_equal(mr_tls_context_open(&b->contexts[i], &o, NULL), MR_OK);
	certify(b->contexts[1]->ctx);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	assert_int_equal(mr_tcp_adopt(&b->counter.over.lower, fds[0]), MR_OK);
	assert_int_equal(mr_tcp_adopt(&lower, fds[1]), MR_OK);
	assert_int_equal(
		mr_tls_open(&b->client, b->contexts[0], &b->counter.over.stream, &to, NULL), MR_OK);
	assert_int_equal(mr_tls_accept(&b->server, b->contexts[1], lower, NULL), MR_OK);
	shake_hands(b->client, b->server);
	b->counter.writes = b->counter.records = b->counter.longest = 0;
}

static void end(struct bench *b)
{
	b->client->class->close(b->client);
	b->server->class->close(b->server);
	for (int i = 0; i < 2; i++) mr_tls_context_close(b->contexts[i]);
}

static char sent[256 * 1024], got[sizeof sent];

/* Writes as a link does, until all is taken; the server gets it. */
static void carry(struct bench *b, size_t size)
{
	size_t written = 0, read = 0;
	while (read < size) {
		ssize_t n = 0;
		if (written < size)
			n = b->client->class->write(b->client, sent + written, size - written,
				NULL);
		assert_true(n >= 0);
		written += (size_t)n;
		n = b->server->class->read(b->server, got + read, sizeof got - read, NULL);
		assert_true(n >= 0);
		read += (size_t)n;
	}
	assert_memory_equal(sent, got, size);
}

static void test_64_KiB_are_four_records_in_one_write(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	carry(&b, 4 * RECORD);
	assert_int_equal(b.counter.records, 4);
	assert_int_equal(b.counter.longest, SEALED);
	assert_int_equal(b.counter.writes, 1);
	end(&b);
}

static void test_what_a_turn_has_to_say_goes_out_in_one_write(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	carry(&b, 100);
	assert_int_equal(b.counter.records, 1);
	carry(&b, 2 * RECORD + 1);
	assert_int_equal(b.counter.records, 1 + 3);
	assert_int_equal(b.counter.writes, 2);
	end(&b);
}

static void test_more_than_64_KiB_take_a_write_for_each_64(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	carry(&b, sizeof sent);
	assert_int_equal(b.counter.records, sizeof sent / RECORD);
	assert_int_equal(b.counter.writes, 4);
	end(&b);
}

static int set_up(void **state)
{
	(void)state;
	mr_tls_prepare();
	for (size_t i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7 + i / 251);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mr_tls_thread_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64_KiB_are_four_records_in_one_write),
		cmocka_unit_test(test_what_a_turn_has_to_say_goes_out_in_one_write),
		cmocka_unit_test(test_more_than_64_KiB_take_a_write_for_each_64),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
