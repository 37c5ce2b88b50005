/* test_session: a whole connection without a socket: the server's bytes in, ours and the events out.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/frame.h"
#include "amqp/session.h"
#include "base/alloc.h"
#include "base/value.h"

#define FRAME_MAX 131072
#define EVENTS 512

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
};

static void on_event(void *owner, const mr_event *event)
{
	struct bench *b = owner;
	mr_event ev = *event;
	if (b->count < EVENTS) {
		b->types[b->count] = (int)ev.type;
		b->statuses[b->count] = ev.status;
		b->tokens[b->count] = ev.token;
		b->lasts[b->count++] = ev.last;
	}
	mr_delivery *d = NULL;
	if (ev.type == MR_EV_DELIVERY || ev.type == MR_EV_RETURN) d = ev.data.delivery;
	if (ev.type == MR_EV_DONE && ev.data.reply) d = ev.data.reply->delivery;
	if (d) mr_delivery_give(b->options.pool, d);
	mr_event_fini(&ev);
}

static bool begin(struct bench *b)
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

static void end(struct bench *b)
{
	mr_error why = {.kind = MR_STREAM_LOST};
	if (b->s) mr_session_lose(b->s, &why);
	mr_session_free(b->s);
	if (b->options.pool) assert_int_equal(mr_delivery_pool_out(b->options.pool, NULL), 0);
	mr_delivery_pool_close(b->options.pool);
	mr_buffer_fini(&b->server);
}

static void say(struct bench *b, uint16_t channel, struct mr_method m)
{
	mr_method_put(&b->server, channel, &m, FRAME_MAX, NULL);
}

/* Shows the session what the server said, `piece` bytes at a time. */
static void feed_pieces(struct bench *b, size_t piece, mr_msec now)
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

static void feed(struct bench *b, mr_msec now) { feed_pieces(b, SIZE_MAX / 2, now); }

static void shake(struct bench *b)
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

static void open_channel(struct bench *b, uint16_t number)
{
	mr_session_channel_open(b->s, number, 100u + number, number, 100000);
	say(b, number, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
}

static void ready(struct bench *b)
{
	assert_true(begin(b));
	shake(b);
	feed(b, 1);
	assert_int_equal(mr_session_state(b->s), MR_SESSION_OPEN);
	open_channel(b, 1);
	feed(b, 2);
	mr_buffer_consume(mr_session_output(b->s), SIZE_MAX);
	b->count = 0;
}

static void ask(struct bench *b, uint64_t token, int operation, uint32_t number)
{
	mr_request r = {.operation = operation, .number = number, .name = mr_slice_str("q")};
	mr_session_request(b->s, 1, token, 1, &r, 10000);
}

static void deliver(struct bench *b, uint64_t tag, const char *body)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str("tag"),
			.tag = tag,
			.name = mr_slice_str("x"),
			.key = mr_slice_str("k")});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\x10\x00\x02", 3), mr_slice_str(body),
		FRAME_MAX);
}

/* Of our output: the id of method number `n`, 0 when there are fewer. */
static uint32_t said(struct bench *b, int n)
{
	struct mr_buffer *out = mr_session_output(b->s);
	const uint8_t *at = mr_buffer_data(out), *stop = at + mr_buffer_size(out);
	for (; at < stop; at += mr_get32(at + 3) + 8)
		if (at[0] == MR_FRAME_METHOD && n-- == 0) return mr_get32(at + 7);
	return 0;
}

static void event_is(const struct bench *b, int n, int type, int status, uint64_t token)
{
	assert_true(n < b->count);
	assert_int_equal(b->types[n], type);
	assert_int_equal(b->statuses[n], status);
	assert_int_equal(b->tokens[n], token);
}

static void test_a_consumer_gets_its_deliveries_and_acks_them_in_one_frame(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	for (uint64_t t = 1; t <= 3; t++) deliver(&b, t, "body");
	feed(&b, 3);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 5);
	for (int i = 1; i <= 3; i++) event_is(&b, i, MR_EV_DELIVERY, MR_OK, 0);
	mr_buffer_consume(mr_session_output(b.s), SIZE_MAX);
	for (uint64_t t = 1; t <= 3; t++) mr_session_settle(b.s, 1, 1, t, MR_ACK, 0);
	mr_session_settle(b.s, 1, 2, 1, MR_ACK, 0); /* another epoch: ignored */
	mr_session_settle(b.s, 2, 1, 1, MR_ACK, 0); /* another channel: ignored */
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	assert_int_equal(said(&b, 1), 0);
	end(&b);
}

static void test_the_same_bytes_in_any_pieces_mean_the_same(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		struct bench b;
		ready(&b);
		ask(&b, 5, MR_BASIC_CONSUME, 9);
		ask(&b, 6, MR_QUEUE_DECLARE, 0);
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
				.name = mr_slice_str("tag")});
		deliver(&b, 1, "first");
		deliver(&b, 2, "");
		say(&b, 1,
			(struct mr_method){.id = MR_M_QUEUE_DECLARE_OK,
				.name = mr_slice_str("q"),
				.count = 3});
		feed_pieces(&b, piece, 3);
		assert_int_equal(b.count, 4);
		event_is(&b, 1, MR_EV_DELIVERY, MR_OK, 0);
		event_is(&b, 3, MR_EV_DONE, MR_OK, 6);
		end(&b);
	}
}

static void test_a_channel_closed_by_the_broker_ends_all_that_waits_on_it(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_CONFIRM_SELECT, 0);
	ask(&b, 6, MR_QUEUE_DECLARE, 0);
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.number = 1,
		.epoch = 1,
		.deadline = 9000};
	mr_session_publish(b.s, 1, &p);
	mr_buffer_consume(mr_session_output(b.s), SIZE_MAX);
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 404,
			.text = mr_slice_str("NOT_FOUND")});
	feed(&b, 3);
	event_is(&b, 0, MR_EV_CONFIRM, MR_LOST, 1);
	event_is(&b, 1, MR_EV_DONE, MR_NOT_FOUND, 5);
	event_is(&b, 2, MR_EV_DONE, MR_NOT_FOUND, 6);
	event_is(&b, 3, MR_EV_CHANNEL, MR_NOT_FOUND, 0);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE_OK);
	p.number = 2;
	mr_session_publish(b.s, 1, &p); /* it was under way: lost, and nothing on the wire */
	event_is(&b, 4, MR_EV_CONFIRM, MR_LOST, 2);
	ask(&b, 7, MR_QUEUE_DECLARE, 0);
	event_is(&b, 5, MR_EV_DONE, MR_CLOSED, 7);
	assert_int_equal(said(&b, 1), 0);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

static void test_both_sides_may_close_a_channel_at_once(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_QUEUE_DECLARE, 0);
	mr_session_channel_close(b.s, 1, 6, 1, 9000);
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 406,
			.text = mr_slice_str("x")});
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 3);
	assert_int_equal(b.count, 2);
	event_is(&b, 0, MR_EV_DONE, MR_PRECONDITION_FAILED, 5);
	event_is(&b, 1, MR_EV_DONE, MR_OK, 6);
	open_channel(&b, 1); /* the number is free again */
	feed(&b, 4);
	event_is(&b, 2, MR_EV_DONE, MR_OK, 101);
	end(&b);
}

static void test_a_late_answer_is_swallowed_and_its_consumer_cancelled(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	mr_buffer_consume(mr_session_output(b.s), SIZE_MAX);
	mr_session_feed(b.s, (const uint8_t *)"", 0, 9000, &(size_t){0});
	mr_session_tick(b.s, 10000, true);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(&b, 10001);
	assert_int_equal(b.count, 1);
	assert_int_equal(said(&b, 0), MR_M_BASIC_CANCEL);
	end(&b);
}

static void test_violations_close_the_connection_with_their_code(void **state)
{
	static const struct {
		struct mr_method method;
		uint16_t channel;
		int kind;
	} cases[] = {
		{{.id = MR_M_QUEUE_DECLARE_OK, .name = {"q", 1}}, 1, MR_COMMAND_INVALID},
		{{.id = MR_M_BASIC_DELIVER, .other = {"t", 1}}, 7, MR_CHANNEL_ERROR},
		{{.id = MR_M_BASIC_ACK, .tag = 1}, 1, MR_COMMAND_INVALID},
		{{.id = MR_M_CONNECTION_TUNE}, 0, MR_COMMAND_INVALID},
		{{.id = MR_M_QUEUE_DECLARE, .name = {"q", 1}}, 1, MR_COMMAND_INVALID},
		{{.id = MR_M_CHANNEL_CLOSE_OK}, 1, MR_COMMAND_INVALID},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		ready(&b);
		say(&b, cases[i].channel, cases[i].method);
		feed(&b, 3);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
		assert_int_equal(mr_session_error(b.s)->kind, cases[i].kind);
		assert_int_equal(said(&b, 0), MR_M_CONNECTION_CLOSE);
		event_is(&b, 0, MR_EV_CHANNEL, cases[i].kind, 0);
		end(&b);
	}
}

static void test_heartbeats_and_blocking_have_their_deadlines(void **state)
{
	struct bench b;
	(void)state;
	ready(&b); /* 4 s were agreed; last heard at 2 */
	mr_session_wrote(b.s, 2);
	assert_int_equal(mr_session_deadline(b.s), 2002);
	assert_false(mr_session_tick(b.s, 2002, true));
	assert_int_equal(mr_buffer_data(mr_session_output(b.s))[0], MR_FRAME_HEARTBEAT);
	assert_true(mr_session_tick(b.s, 4002, true));
	assert_false(mr_session_tick(b.s, 4002, true));
	assert_int_equal(mr_session_error(b.s)->kind, MR_HEARTBEAT_TIMEOUT);
	end(&b);
	ready(&b);
	say(&b, 0,
		(struct mr_method){.id = MR_M_CONNECTION_BLOCKED,
			.text = mr_slice_str("low on memory")});
	feed(&b, 1000);
	event_is(&b, 0, MR_EV_BLOCKED, MR_OK, 0);
	mr_session_feed(b.s, (const uint8_t *)"\x08\0\0\0\0\0\0\xce", 8, 4500, &(size_t){0});
	mr_session_tick(b.s, 6000, true);
	assert_int_equal(mr_session_error(b.s)->kind, MR_BLOCKED_TIMEOUT);
	end(&b);
}

static void scenario(struct bench *b)
{
	if (!begin(b)) return;
	shake(b);
	feed(b, 1);
	if (mr_session_state(b->s) != MR_SESSION_OPEN) return;
	open_channel(b, 1);
	feed(b, 2);
	ask(b, 5, MR_CONFIRM_SELECT, 0);
	say(b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	ask(b, 6, MR_BASIC_CONSUME, 9);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	deliver(b, 1, "body");
	feed(b, 3);
	mr_session_settle(b->s, 1, 1, 1, MR_ACK, 0);
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.number = 1,
		.epoch = 1,
		.deadline = 9000};
	p.body = mr_slice_str("body");
	mr_session_publish(b->s, 1, &p);
	mr_session_flush(b->s);
}

static void test_every_failing_allocation_ends_well(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 300; n++) {
		struct bench b;
		mr_alloc_fail_nth(n);
		scenario(&b);
		mr_alloc_fail_nth(0);
		end(&b);
		assert_int_equal(mr_alloc_live(), live);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_consumer_gets_its_deliveries_and_acks_them_in_one_frame),
		cmocka_unit_test(test_the_same_bytes_in_any_pieces_mean_the_same),
		cmocka_unit_test(test_a_channel_closed_by_the_broker_ends_all_that_waits_on_it),
		cmocka_unit_test(test_both_sides_may_close_a_channel_at_once),
		cmocka_unit_test(test_a_late_answer_is_swallowed_and_its_consumer_cancelled),
		cmocka_unit_test(test_violations_close_the_connection_with_their_code),
		cmocka_unit_test(test_heartbeats_and_blocking_have_their_deadlines),
		cmocka_unit_test(test_every_failing_allocation_ends_well),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
