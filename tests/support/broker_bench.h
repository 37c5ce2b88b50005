/* broker_bench: a broker and clients that say whole frames to it, without sockets.
 * SPDX-License-Identifier: MIT */
#ifndef BROKER_BENCH_H
#define BROKER_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "broker/client/channel.h"
#include "broker/client/session.h"
#include "broker/client/turn.h"
#include "broker/store/deadline.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "codec/client_method.h"
#include "codec/frame.h"
#include "codec/properties.h"
#include "codec/table.h"

struct client {
	struct mr_broker_session *session;
	struct mr_buffer in;
};

static void nobody(void *owner) { (void)owner; }

static inline void put(struct mr_buffer *b, const void *data, size_t size)
{
	while (mr_buffer_append(b, data, size) != MR_OK) {
	} /* the test's own memory does not fail */
}

static inline void put_number(struct mr_buffer *b, uint64_t n, size_t width)
{
	while (width-- > 0) put(b, &(uint8_t){(uint8_t)(n >> 8 * width)}, 1);
}

static inline void put_frame(struct mr_buffer *out, int type, int channel, const void *data,
	size_t size)
{
	put_number(out, (uint64_t)type, 1);
	put_number(out, (uint64_t)channel, 2);
	put_number(out, size, 4);
	put(out, data, size);
	put_number(out, MR_FRAME_END, 1);
}

/* Fields as in client_method.c: w d q o numbers, s l texts, T a table (NULL: empty). w is a ticket. */
static inline void put_method(struct mr_buffer *out, int channel, uint32_t id, const char *fields,
	va_list args)
{
	struct mr_buffer b = {0};
	put_number(&b, id, 4);
	for (; *fields; fields++) {
		if (*fields == 'T') {
			const mr_table *t = va_arg(args, const mr_table *);
			if (!t)
				put_number(&b, 0, 4);
			else
				while (mr_table_encode(&b, t, NULL) != MR_OK) {}
		} else if (*fields == 's' || *fields == 'l') {
			const char *text = va_arg(args, const char *);
			put_number(&b, strlen(text), *fields == 's' ? 1 : 4);
			put(&b, text, strlen(text));
		} else {
			int n = *fields == 'w' ? 0 : va_arg(args, int);
			size_t width = *fields == 'o'   ? 1
			               : *fields == 'd' ? 4
			               : *fields == 'q' ? 8
			                                : 2;
			put_number(&b, (uint64_t)n, width);
		}
	}
	put_frame(out, MR_FRAME_METHOD, channel, mr_buffer_data(&b), mr_buffer_size(&b));
	mr_buffer_fini(&b);
}

/* Queues a method that `feed` brings to the broker. */
static inline void say(struct client *c, int channel, uint32_t id, const char *fields, ...)
{
	va_list args;
	va_start(args, fields);
	put_method(&c->in, channel, id, fields, args);
	va_end(args);
}

static inline void feed(struct client *c)
{
	size_t want = 0;
	mr_buffer_consume(&c->in, mr_broker_session_feed(c->session, mr_buffer_data(&c->in),
					  mr_buffer_size(&c->in), &want));
	mr_turn_end(c->session->broker);
}

#define QUEUE_DECLARE(c, ch, q, bits, t) say(c, ch, MR_M_QUEUE_DECLARE, "wsoT", q, bits, t)
#define QUEUE_BIND(c, ch, q, x, k, t) say(c, ch, MR_M_QUEUE_BIND, "wsssoT", q, x, k, 0, t)
#define EXCHANGE_DECLARE(c, ch, x, ty, bits, t)                                                    \
	say(c, ch, MR_M_EXCHANGE_DECLARE, "wssoT", x, ty, bits, t)
#define CONSUME(c, ch, q, tag, bits, t) say(c, ch, MR_M_BASIC_CONSUME, "wssoT", q, tag, bits, t)
#define GET(c, ch, q, no_ack) say(c, ch, MR_M_BASIC_GET, "wso", q, no_ack)
#define ACK(c, ch, tag, multiple) say(c, ch, MR_M_BASIC_ACK, "qo", tag, multiple)
#define NACK(c, ch, tag, bits) say(c, ch, MR_M_BASIC_NACK, "qo", tag, bits)
#define CHANNEL_OPEN(c, ch) say(c, ch, MR_M_CHANNEL_OPEN, "s", "")
#define CHANNEL_CLOSE(c, ch) say(c, ch, MR_M_CHANNEL_CLOSE, "wsww", "")

static inline void qos(struct client *c, int channel, int count, bool global)
{
	const uint8_t payload[] = {0, 60, 0, 10, 0, 0, 0, 0, (uint8_t)(count >> 8), (uint8_t)count,
		global};
	put_frame(&c->in, MR_FRAME_METHOD, channel, payload, sizeof payload);
}

/* `properties` NULL: none. */
static inline void publish(struct client *c, int channel, const char *exchange, const char *key,
	int bits, const mr_properties *properties, mr_slice body)
{
	struct mr_buffer b = {0};
	say(c, channel, MR_M_BASIC_PUBLISH, "wsso", exchange, key, bits);
	put_number(&b, 60, 2);
	put_number(&b, 0, 2);
	put_number(&b, body.size, 8);
	if (properties)
		while (mr_properties_put(&b, properties, NULL) != MR_OK) {}
	else
		put_number(&b, 0, 2);
	put_frame(&c->in, MR_FRAME_HEADER, channel, mr_buffer_data(&b), mr_buffer_size(&b));
	mr_buffer_fini(&b);
	for (size_t at = 0; at < body.size; at += 100000) {
		size_t n = body.size - at < 100000 ? body.size - at : 100000;
		put_frame(&c->in, MR_FRAME_BODY, channel, body.data + at, n);
	}
}

/* Handshake, as guest on "/", and channel 1. */
static inline void arrive(struct client *c, struct mr_broker *b)
{
	struct mr_broker_session_options options = {nobody, NULL};
	static const uint8_t tune_ok[] = {0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0};
	struct mr_buffer m = {0};
	*c = (struct client){.session = mr_broker_session_open(b, &options)};
	if (!c->session) return;
	put(&c->in, "AMQP\0\0\x09\x01", 8);
	put_number(&m, MR_M_CONNECTION_START_OK, 4);
	put_number(&m, 0, 4);
	put(&m, "\5PLAIN\0\0\0\x0c\0guest\0guest\0", 6 + 4 + 12 + 1);
	put_frame(&c->in, MR_FRAME_METHOD, 0, mr_buffer_data(&m), mr_buffer_size(&m));
	mr_buffer_fini(&m);
	put_frame(&c->in, MR_FRAME_METHOD, 0, tune_ok, sizeof tune_ok);
	say(c, 0, MR_M_CONNECTION_OPEN, "sso", "/", "", 0);
	CHANNEL_OPEN(c, 1);
}

static inline void leave(struct client *c)
{
	struct mr_broker *b = c->session ? c->session->broker : NULL;
	mr_broker_session_close(c->session);
	if (b) mr_turn_end(b);
	mr_buffer_fini(&c->in);
	c->session = NULL;
}

/* The first method that the broker said, 0 when there is none; what belongs to it stays in *m. */
struct heard {
	uint32_t id;
	uint16_t channel;
	const uint8_t *at; /* behind the id; until the next hear() */
	size_t size;
};
static inline struct heard hear(struct client *c)
{
	static const struct mr_guard guard = {1 << 20, UINT16_MAX, 1 << 30};
	struct mr_buffer *out = mr_broker_session_output(c->session);
	struct mr_frame f;
	size_t used, want;
	for (;;) {
		if (mr_frame_next(&guard, mr_buffer_data(out), mr_buffer_size(out), &f, &used,
			    &want, NULL) != MR_OK ||
			!used)
			return (struct heard){0};
		out->start += used;
		if (f.type == MR_FRAME_METHOD)
			return (struct heard){mr_get32(f.payload), f.channel, f.payload + 4,
				f.size - 4};
	}
}
static inline void hush(struct client *c)
{
	mr_buffer_consume(mr_broker_session_output(c->session), SIZE_MAX);
	mr_broker_session_wrote(c->session);
	mr_turn_end(c->session->broker);
}
#define HEARS(c, method) assert_int_equal(hear(c).id, method)

static inline void ready(struct client *c, struct mr_broker *b)
{
	arrive(c, b);
	assert_non_null(c->session);
	feed(c);
	assert_int_equal(c->session->state, MR_BS_OPEN);
	hush(c);
}

static inline struct mr_queue *queue_of(struct mr_broker *b, const char *name)
{
	return mr_vhost_queue(mr_broker_vhost(b, mr_slice_str("/")), mr_slice_str(name));
}

static inline struct mr_broker *new_broker(void)
{
	struct mr_broker *b = NULL;
	assert_int_equal(mr_broker_open(&b, 1, 1), MR_OK);
	return b;
}

static inline void add_number(mr_table *t, const char *key, int64_t n)
{
	mr_value v = {.type = 'l', .as.integer = n};
	while (mr_table_add(t, key, strlen(key), &v) != MR_OK) {}
}
static inline void add_text(mr_table *t, const char *key, const char *text)
{
	while (mr_table_add_string(t, key, mr_slice_str(text)) != MR_OK) {}
}
static inline mr_table *new_table(void)
{
	mr_table *t;
	while (!(t = mr_table_new())) {}
	return t;
}

#define BODY mr_slice_str("body")

#endif
