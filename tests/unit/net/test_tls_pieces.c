/* test_tls_pieces: an output in pieces by TLS, over a stream that takes little, with little memory.
 * Feature: a session's output in pieces, by TLS
 * SPDX-License-Identifier: MIT */
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "amqp/outbox.h"
#include "base/alloc.h"
#include "codec/frame.h"
#include "moonrabbit_testing.h"
#include "net/tcp.h"
#include "net/tls.h"
#include "net/tls_inside.h"
#include "tls_bench.h"

#define PLACES 64 /* as a link */
#define BODY_MOST 200000

static unsigned seed;

static size_t below(size_t most) { return (size_t)rand_r(&seed) % most; }

/* ---- a host that has little memory ---- */

static bool is_scarce;

static void *resize(void *memory, size_t size)
{
	return is_scarce && below(2) ? NULL : realloc(memory, size);
}

/* ---- a stream that takes some bytes, or none ---- */

struct stingy {
	struct over over;
	size_t taken;
};

static ssize_t stingy_write(struct mr_stream *s, const void *data, size_t size, mr_error *error)
{
	struct stingy *c = (struct stingy *)s;
	size_t most = below(3) ? 1 + below(40000) : 0;
	if (!most) return 0;
	ssize_t n =
		c->over.lower->class->write(c->over.lower, data, size < most ? size : most, error);
	if (n > 0) c->taken += (size_t)n;
	return n;
}

static const struct mr_stream_class stingy_class = {over_connect, over_read, NULL, stingy_write,
	NULL, over_pending, over_end, over_close, NULL};

/* ---- a pair of streams ---- */

struct bench {
	struct mr_tls_context *contexts[2];
	struct stingy stingy; /* below the client */
	struct mr_stream *client, *server;
	struct mr_outbox out;
	struct mr_buffer model; /* what the server must still get */
	uint32_t frame_max;
};

static void begin(struct bench *b, int version, uint32_t frame_max)
{
	const struct mr_tls_options o = {.no_verify = true};
	const struct mr_tls_target to = {.host = "localhost"};
	struct mr_stream *lower;
	int fds[2];
	*b = (struct bench){.stingy = {.over = {.stream = {.class = &stingy_class}}},
		.frame_max = frame_max};
	for (int i = 0; i < 2; i++)
		assert_int_equal(mr_tls_context_open(&b->contexts[i], &o, NULL), MR_OK);
	certify(b->contexts[1]->ctx);
	assert_int_equal(SSL_CTX_set_max_proto_version(b->contexts[1]->ctx, version), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(mr_tcp_adopt(&b->stingy.over.lower, fds[0]), MR_OK);
	assert_int_equal(mr_tcp_adopt(&lower, fds[1]), MR_OK);
	assert_int_equal(mr_tls_open(&b->client, b->contexts[0], &b->stingy.over.stream, &to, NULL),
		MR_OK);
	assert_int_equal(mr_tls_accept(&b->server, b->contexts[1], lower, NULL), MR_OK);
	shake_hands(b->client, b->server);
}

static void end(struct bench *b)
{
	b->client->class->close(b->client);
	b->server->class->close(b->server);
	for (int i = 0; i < 2; i++) mr_tls_context_close(b->contexts[i]);
	mr_outbox_fini(&b->out);
	mr_buffer_fini(&b->model);
}

/* ---- what is sent ---- */

static void put_bytes(struct bench *b)
{
	char bytes[300];
	size_t size = below(sizeof bytes);
	for (size_t i = 0; i < size; i++) bytes[i] = (char)below(256);
	assert_int_equal(mr_buffer_append(&b->out.bytes, bytes, size), MR_OK);
	assert_int_equal(mr_buffer_append(&b->model, bytes, size), MR_OK);
}

static void put_body(struct bench *b, bool is_kept)
{
	static const mr_slice properties = {"\x10\x00\x02", 3};
	struct mr_outbox_mark before = mr_outbox_mark(&b->out);
	mr_slice body = {.size = 1 + below(BODY_MOST)};
	char *block = mr_malloc(body.size);
	assert_non_null(block);
	for (size_t i = 0; i < body.size; i++) block[i] = (char)(i * 7 + i / 251 + seed);
	body.data = block;
	assert_int_equal(mr_outbox_put_content(&b->out, 3, properties, body, block, b->frame_max),
		MR_OK);
	if (is_kept) {
		assert_int_equal(mr_frame_put_content(&b->model, 3, properties, body, b->frame_max),
			MR_OK);
		return;
	}
	mr_outbox_cut(&b->out, before);
	mr_free(block);
}

/* As a link writes; without memory now and then. */
static void write_out(struct bench *b)
{
	struct iovec places[PLACES];
	while (mr_outbox_size(&b->out)) {
		int count = mr_outbox_view(&b->out, places, PLACES);
		is_scarce = below(2);
		ssize_t n = b->client->class->writev(b->client, places, count, NULL);
		is_scarce = false;
		assert_true(n >= 0);
		if (n == 0) break;
		mr_outbox_consume(&b->out, (size_t)n);
	}
}

static void take(struct bench *b)
{
	static char got[65536];
	ssize_t n;
	while ((n = b->server->class->read(b->server, got, sizeof got, NULL)) > 0) {
		assert_in_range(n, 1, mr_buffer_size(&b->model));
		assert_memory_equal(got, mr_buffer_data(&b->model), (size_t)n);
		mr_buffer_consume(&b->model, (size_t)n);
	}
	assert_int_equal(n, 0);
}

static void drain(struct bench *b)
{
	while (mr_outbox_size(&b->out)) {
		write_out(b);
		take(b);
	}
}

static void any_pieces(int version, uint32_t frame_max)
{
	long live = mr_alloc_live();
	for (unsigned round = 1; round <= 4; round++) {
		struct bench b;
		seed = round * 1000 + frame_max;
		begin(&b, version, frame_max);
		for (int step = 0; step < 150; step++) {
			switch (below(7)) {
			case 0: put_body(&b, true); break;
			case 1: put_body(&b, false); break;
			case 2: put_bytes(&b); break;
			case 3: take(&b); break;
			case 4: drain(&b); break; /* the records' memory is freed */
			default: write_out(&b);
			}
		}
		drain(&b);
		take(&b);
		assert_int_equal(mr_buffer_size(&b.model), 0);
		end(&b);
		assert_int_equal(mr_alloc_live(), live);
	}
}

static void test_any_pieces_arrive_as_one_buffer_would(void **state)
{
	(void)state;
	any_pieces(TLS1_3_VERSION, 131072);
	any_pieces(TLS1_3_VERSION, 4096);
	any_pieces(TLS1_2_VERSION, 131072);
	any_pieces(TLS1_2_VERSION, 4096);
}

static int set_up(void **state)
{
	(void)state;
	mr_tls_prepare();
	return mr_set_allocator(resize, free);
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
		cmocka_unit_test(test_any_pieces_arrive_as_one_buffer_would),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
