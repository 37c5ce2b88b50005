/* session_bench: a client session without a socket, and hands to play its server.
 * SPDX-License-Identifier: MIT */
#ifndef MR_TEST_SESSION_BENCH_H
#define MR_TEST_SESSION_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/session.h"
#include "base/alloc.h"
#include "base/value.h"
#include "codec/frame.h"

#define FRAME_MAX 131072
#define EVENTS 512
#define TOKENS 256

/* One client session, the server's bytes that wait for it, and what it told. */
struct bench {
	struct mr_login login;
	struct mr_session_options options;
	struct mr_session *s;
	mr_stats stats;
	struct mr_buffer server;
	int types[EVENTS], statuses[EVENTS];
	uint64_t tokens[EVENTS], lasts[EVENTS];
	int count;
	int ends[TOKENS]; /* how many MR_EV_DONE each token got */
	char body[64];    /* of the last message, when it is short */
};

static inline void note_numbers(struct bench *b, const mr_event *ev)
{
	uint64_t *token = &b->tokens[b->count], *last = &b->lasts[b->count++];
	*token = *last = 0;
	if (ev->type == MR_EV_DONE) *token = ev->as.done.token;
	if (ev->type == MR_EV_RETURN) *token = ev->as.returned.number;
	if (ev->type == MR_EV_CHANNEL) *last = ev->as.channel.last_tag;
	if (ev->type != MR_EV_CONFIRM) return;
	*token = ev->as.confirm.first;
	*last = ev->as.confirm.last;
}

static inline mr_delivery *delivery_of(const mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DELIVERY: return ev->as.delivery;
	case MR_EV_RETURN: return ev->as.returned.delivery;
	case MR_EV_DONE: return ev->as.done.reply ? ev->as.done.reply->delivery : NULL;
	default: return NULL;
	}
}

static inline void on_event(void *owner, const mr_event *event)
{
	struct bench *b = owner;
	mr_event ev = *event;
	if (b->count < EVENTS) {
		b->types[b->count] = (int)ev.type;
		b->statuses[b->count] = ev.status;
		note_numbers(b, &ev);
	}
	mr_delivery *d = delivery_of(&ev);
	if (ev.type == MR_EV_DONE && ev.as.done.token < TOKENS) b->ends[ev.as.done.token]++;
	if (d && d->body_size < sizeof b->body) {
		memcpy(b->body, d->body, d->body_size);
		b->body[d->body_size] = '\0';
	}
	if (d) mr_delivery_give(b->options.pool, d);
	mr_event_fini(&ev);
}

static inline bool begin(struct bench *b)
{
	memset(b, 0, sizeof *b);
	b->login = (struct mr_login){.frame_max = FRAME_MAX, .channel_max = 2047, .heartbeat = 10};
	b->login.user = b->login.password = mr_slice_str("guest");
	b->login.vhost = mr_slice_str("/");
	b->login.mechanism = mr_slice_str("PLAIN");
	b->login.connection_name = mr_slice_str("test");
	b->options = (struct mr_session_options){.login = &b->login,
		.connection = 1,
		.stats = &b->stats};
	b->options.max_message_size = 1 << 20;
	b->options.blocked_timeout = 5000;
	b->options.emit = on_event;
	b->options.owner = b;
	return mr_delivery_pool_open(&b->options.pool) == MR_OK &&
	       mr_session_open(&b->s, &b->options) == MR_OK && mr_session_start(b->s, 0) == MR_OK;
}

static inline void end(struct bench *b)
{
	mr_error why = {.kind = MR_STREAM_LOST};
	if (b->s) mr_session_end(b->s, &why);
	mr_session_free(b->s);
	if (b->options.pool) assert_int_equal(mr_delivery_pool_out(b->options.pool, NULL), 0);
	mr_delivery_pool_close(b->options.pool);
	mr_buffer_fini(&b->server);
}

static inline void say(struct bench *b, uint16_t channel, struct mr_method m)
{
	mr_method_put(&b->server, channel, &m, FRAME_MAX, NULL);
}

/* Shows the session what the server said, `piece` bytes at a time. */
static inline void feed_pieces(struct bench *b, size_t piece, mr_msec now)
{
	size_t shown = 0, want;
	while (mr_buffer_size(&b->server)) {
		shown += piece;
		if (shown > mr_buffer_size(&b->server)) shown = mr_buffer_size(&b->server);
		size_t used = mr_session_feed(b->s, mr_buffer_data(&b->server), shown, now, &want);
		if (!used && shown == mr_buffer_size(&b->server)) return;
		mr_buffer_consume(&b->server, used);
		shown -= used;
	}
}

static inline void feed(struct bench *b, mr_msec now) { feed_pieces(b, SIZE_MAX / 2, now); }

static inline void shake(struct bench *b)
{
	mr_table *t = mr_table_new();
	struct mr_method start = {.id = MR_M_CONNECTION_START,
		.text = mr_slice_str("PLAIN"),
		.table = t};
	start.other = mr_slice_str("en_US");
	say(b, 0, start);
	mr_table_free(t);
	say(b, 0,
		(struct mr_method){.id = MR_M_CONNECTION_TUNE,
			.channel_max = 100,
			.count = FRAME_MAX,
			.heartbeat = 4});
	say(b, 0, (struct mr_method){.id = MR_M_CONNECTION_OPEN_OK});
}

static inline void open_channel(struct bench *b, uint16_t number)
{
	mr_session_channel_open(b->s, number, 100u + number, number, 100000);
	say(b, number, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
}

static inline void ready(struct bench *b)
{
	assert_true(begin(b));
	shake(b);
	feed(b, 1);
	assert_int_equal(mr_session_state(b->s), MR_SESSION_OPEN);
	open_channel(b, 1);
	feed(b, 2);
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
	b->count = 0;
}

static inline void ask(struct bench *b, uint64_t token, int operation, uint32_t number)
{
	mr_request r = {.operation = operation, .number = number, .name = mr_slice_str("q")};
	mr_session_request(b->s, 1, token, 1, &r, 10000);
}

static inline void deliver_for(struct bench *b, const char *consumer, uint64_t tag, mr_slice body)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str(consumer),
			.tag = tag,
			.name = mr_slice_str("x"),
			.key = mr_slice_str("k")});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\x10\x00\x02", 3), body, FRAME_MAX);
}

static inline void deliver_bytes(struct bench *b, uint64_t tag, mr_slice body)
{
	deliver_for(b, "tag", tag, body);
}

static inline void deliver(struct bench *b, uint64_t tag, const char *body)
{
	deliver_bytes(b, tag, mr_slice_str(body));
}

/* Of our output: the id of method number `n`, 0 when there are fewer. */
static inline uint32_t said(struct bench *b, int n)
{
	struct mr_buffer *out = &mr_session_output(b->s)->bytes;
	const uint8_t *at = mr_buffer_data(out), *stop = at + mr_buffer_size(out);
	for (; at < stop; at += mr_get32(at + 3) + 8)
		if (at[0] == MR_FRAME_METHOD && n-- == 0) return mr_get32(at + 7);
	return 0;
}

static inline void event_is(const struct bench *b, int n, int type, int status, uint64_t token)
{
	assert_true(n < b->count);
	assert_int_equal(b->types[n], type);
	assert_int_equal(b->statuses[n], status);
	assert_int_equal(b->tokens[n], token);
}

#endif
