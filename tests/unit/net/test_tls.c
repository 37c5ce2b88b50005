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

#define RECORD 16384         /* bytes of plain text, the most that TLS allows */
#define SEALED (RECORD + 22) /* TLS 1.3: head 5, kind 1, tag 16 */

/* ---- a server without a file: its certificate is made here ---- */

static void certify(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* ---- a stream that counts what is written to it ---- */

struct counter {
	struct mr_stream stream;
	struct mr_stream *lower;
	size_t writes, records, longest; /* `longest`: bytes of the longest record */
};

static enum mr_status counter_connect(struct mr_stream *s, mr_error *error)
{
	(void)s;
	(void)error;
	return MR_OK;
}

static ssize_t counter_read(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	struct counter *c = (struct counter *)s;
	return c->lower->class->read(c->lower, data, size, error);
}

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
	assert_int_equal(c->lower->class->write(c->lower, data, size, error), size);
	return (ssize_t)size;
}

static bool counter_pending(const struct mr_stream *s)
{
	(void)s;
	return false;
}

static void counter_end(struct mr_stream *s) { (void)s; }

static void counter_close(struct mr_stream *s)
{
	struct counter *c = (struct counter *)s;
	c->lower->class->close(c->lower);
}

static const struct mr_stream_class counter_class = {counter_connect, counter_read, NULL,
	counter_write, NULL, counter_pending, counter_end, counter_close, NULL};

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
	*b = (struct bench){.counter = {.stream = {.class = &counter_class}}};
	for (int i = 0; i < 2; i++)
		assert_int_equal(mr_tls_context_open(&b->contexts[i], &o, NULL), MR_OK);
	certify(b->contexts[1]->ctx);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	assert_int_equal(mr_tcp_adopt(&b->counter.lower, fds[0]), MR_OK);
	assert_int_equal(mr_tcp_adopt(&lower, fds[1]), MR_OK);
	assert_int_equal(mr_tls_open(&b->client, b->contexts[0], &b->counter.stream, &to, NULL),
		MR_OK);
	assert_int_equal(mr_tls_accept(&b->server, b->contexts[1], lower, NULL), MR_OK);
	enum mr_status ours = MR_TIMEOUT, theirs = MR_TIMEOUT;
	for (int i = 0; i < 20 && (ours == MR_TIMEOUT || theirs == MR_TIMEOUT); i++) {
		if (ours == MR_TIMEOUT) ours = b->client->class->connect(b->client, NULL);
		if (theirs == MR_TIMEOUT) theirs = b->server->class->connect(b->server, NULL);
	}
	assert_int_equal(ours, MR_OK);
	assert_int_equal(theirs, MR_OK);
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
