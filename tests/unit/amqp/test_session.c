/* test_session: a whole connection without a socket: the server's bytes in, ours and the events out.
 * Covers: runtime/amqp/channel_requests.c by MR_BASIC_GET
 * Covers: runtime/amqp/content.c by MR_M_BASIC_RETURN
 * Covers: runtime/amqp/handshake.c by mr_handshake_init
 * Covers: runtime/amqp/inbound.c by MR_M_BASIC_DELIVER
 * Covers: runtime/amqp/message.c by MR_CONSUMER_LARGE
 * SPDX-License-Identifier: MIT */
#include "session_bench.h"

#include "amqp/handshake.h"

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
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	struct mr_consumer_view view;
	mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0);
	assert_true(mr_session_view_consumer(b.s, 1, 9, &view));
	assert_true(view.is_alone && view.delivered == 3 && view.in_flight == 2);
	assert_false(mr_session_view_consumer(b.s, 1, 12345, &view));
	assert_int_equal(mr_session_unconfirmed(b.s), 0);
	for (uint64_t t = 2; t <= 3; t++) mr_session_settle(b.s, 1, 1, t, MR_ACK, 0);
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

static void test_a_cut_in_the_login_is_a_refusal_only_where_the_broker_tells_none(void **state)
{
	struct mr_login login = {0};
	struct mr_handshake hs;
	mr_error error;
	const mr_value yes = {.type = 't', .as.boolean = true};
	(void)state;
	mr_handshake_init(&hs, &login);
	assert_int_equal(mr_handshake_lost(&hs, MR_STREAM_LOST, &error), MR_STREAM_LOST);
	hs.step = MR_HS_TUNE;
	assert_int_equal(mr_handshake_lost(&hs, MR_STREAM_LOST, &error), MR_AUTHENTICATION_FAILED);
	hs.step = MR_HS_OPEN;
	assert_int_equal(mr_handshake_lost(&hs, MR_STREAM_LOST, &error), MR_VHOST_ACCESS_REFUSED);
	assert_int_equal(mr_handshake_lost(&hs, MR_TLS_FAILED, &error), MR_TLS_FAILED);
	hs.server_properties = mr_table_new();
	mr_table *told = mr_table_nest(hs.server_properties, "capabilities", 12, 'F');
	assert_int_equal(mr_table_add(told, "authentication_failure_close", 28, &yes), MR_OK);
	for (hs.step = MR_HS_START; hs.step <= MR_HS_OPEN; hs.step++)
		assert_int_equal(mr_handshake_lost(&hs, MR_STREAM_LOST, &error), MR_STREAM_LOST);
	mr_handshake_fini(&hs);
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
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 404,
			.text = mr_slice_str("NOT_FOUND")});
	feed(&b, 3);
	event_is(&b, 0, MR_EV_CONFIRM, MR_LOST, 1);
	event_is(&b, 1, MR_EV_CHANNEL, MR_NOT_FOUND, 0); /* before anybody asks if it is open */
	event_is(&b, 2, MR_EV_DONE, MR_NOT_FOUND, 5);
	event_is(&b, 3, MR_EV_DONE, MR_NOT_FOUND, 6);
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

static void test_what_comes_behind_the_brokers_close_is_of_the_past(void **state)
{
	struct bench b;
	struct mr_method deliver = {.id = MR_M_BASIC_DELIVER,
		.other = mr_slice_str("tag"),
		.tag = 1};
	(void)state;
	ready(&b);
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 406,
			.text = mr_slice_str("x")});
	say(&b, 1, deliver); /* as RabbitMQ 3.10 was seen to do */
	feed(&b, 3);
	open_channel(&b, 1);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	say(&b, 1, deliver);
	say(&b, 1, deliver);
	feed(&b, 4); /* after open-ok it counts again, and its content is missing */
	assert_int_equal(said(&b, 2), MR_M_CHANNEL_CLOSE);
	end(&b);
}

static void test_what_comes_behind_the_answer_to_our_close_is_of_the_past(void **state)
{
	struct bench b;
	struct mr_method deliver = {.id = MR_M_BASIC_DELIVER,
		.other = mr_slice_str("tag"),
		.tag = 1};
	(void)state;
	ready(&b);
	mr_session_channel_close(b.s, 1, 6, 1, 9000);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	say(&b, 1,
		deliver); /* as RabbitMQ was seen to do, once in an hour of the settlement model */
	feed(&b, 3);
	open_channel(&b, 1);
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
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	mr_session_feed(b.s, (const uint8_t *)"", 0, 9000, &(size_t){0});
	mr_session_tick(b.s, 10000, true);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(&b, 10001);
	assert_int_equal(b.count, 1);
	assert_int_equal(said(&b, 0), MR_M_BASIC_CANCEL);
	end(&b);
}

static void test_heartbeats_and_blocking_have_their_deadlines(void **state)
{
	struct bench b;
	(void)state;
	ready(&b); /* 4 s were agreed; last heard at 2 */
	mr_session_wrote(b.s, 2);
	assert_int_equal(mr_session_deadline(b.s), 2002);
	assert_false(mr_session_tick(b.s, 2002, true));
	assert_int_equal(mr_buffer_data(&mr_session_output(b.s)->bytes)[0], MR_FRAME_HEARTBEAT);
	assert_false(mr_session_tick(b.s, 8001, true));
	mr_session_wrote(b.s, 8001);
	assert_int_equal(mr_session_deadline(b.s), 8002);
	assert_true(mr_session_tick(b.s, 8002, true));
	assert_false(mr_session_tick(b.s, 8002, true));
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

/* FIELD-R3: RabbitMQ's beats may be an interval and a little apart; only two intervals are a loss. */
static void test_a_peer_may_beat_a_little_late_for_ever(void **state)
{
	const uint8_t beat[] = {MR_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, MR_FRAME_END};
	struct bench b;
	mr_msec now = 2;
	size_t want;
	(void)state;
	ready(&b); /* 4 s were agreed */
	for (int i = 0; i < 50; i++) {
		mr_msec next = now + (i % 2 ? 4001 : 7999);
		for (; now < next; now++) assert_false(mr_session_tick(b.s, now, true));
		mr_session_feed(b.s, beat, sizeof beat, now, &want);
	}
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	assert_true(
		mr_session_tick(b.s, now + 8000, true)); /* look first: it may lie in the socket */
	mr_session_feed(b.s, beat, sizeof beat, now + 8000, &want);
	assert_false(mr_session_tick(b.s, now + 8000, true));
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* ---- a connection from its first byte to its last ---- */

static void publish_two(struct bench *b)
{
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2),
		.flags = MR_MANDATORY,
		.epoch = 1,
		.deadline = 9000};
	p.body = mr_slice_str("body");
	for (p.number = 1; p.number <= 2; p.number++) mr_session_publish(b->s, 1, &p);
}

/* What a broker has to say to a host that asked for everything. */
static void answer_all(struct bench *b)
{
	mr_slice tag = mr_slice_str("tag"), none = mr_slice_of("\0\0", 2);
	say(b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_RETURN, .code = 312});
	mr_frame_put_content(&b->server, 1, none, mr_slice_str("body"), FRAME_MAX);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 2, .flags = 1});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = tag});
	deliver(b, 1, "body");
	mr_frame_put_heartbeat(&b->server);
	deliver(b, 2, "");
	say(b, 1, (struct mr_method){.id = MR_M_QUEUE_DECLARE_OK, .name = mr_slice_str("q")});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_GET_OK, .tag = 3, .count = 7});
	mr_frame_put_content(&b->server, 1, none, mr_slice_str("got"), FRAME_MAX);
	say(b, 0, (struct mr_method){.id = MR_M_CONNECTION_BLOCKED, .text = tag});
	say(b, 0, (struct mr_method){.id = MR_M_CONNECTION_UNBLOCKED});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL, .name = tag, .flags = 1});
	say(b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE, .code = 404, .text = tag});
	say(b, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .code = 320, .text = tag});
}

/* Up to where the broker's answers wait to be fed; false when it did not get there. */
static bool ask_all(struct bench *b)
{
	if (!begin(b)) return false;
	shake(b);
	feed(b, 1);
	if (mr_session_state(b->s) != MR_SESSION_OPEN) return false;
	open_channel(b, 1);
	feed(b, 2);
	ask(b, 5, MR_CONFIRM_SELECT, 0);
	publish_two(b);
	ask(b, 6, MR_BASIC_CONSUME, 9);
	ask(b, 7, MR_QUEUE_DECLARE, 0);
	ask(b, 8, MR_BASIC_GET, 0);
	ask(b, 9, MR_QUEUE_DELETE, 0);
	answer_all(b);
	return true;
}

static void test_a_stream_cut_anywhere_means_the_same(void **state)
{
	struct bench whole, b;
	size_t want;
	(void)state;
	assert_true(ask_all(&whole));
	size_t size = mr_buffer_size(&whole.server);
	feed(&whole, 3);
	assert_int_equal(whole.count, 15);
	assert_int_equal(mr_session_error(whole.s)->kind, MR_CONNECTION_FORCED);
	for (size_t cut = 0; cut <= size; cut++) {
		assert_true(ask_all(&b));
		size_t used = mr_session_feed(b.s, mr_buffer_data(&b.server), cut, 3, &want);
		assert_true(used <= cut && cut - used < 200);
		mr_buffer_consume(&b.server, used);
		feed(&b, 3);
		assert_int_equal(b.count, whole.count);
		assert_memory_equal(b.types, whole.types, sizeof b.types);
		assert_memory_equal(b.statuses, whole.statuses, sizeof b.statuses);
		assert_memory_equal(b.tokens, whole.tokens, sizeof b.tokens);
		assert_memory_equal(b.lasts, whole.lasts, sizeof b.lasts);
		end(&b);
	}
	end(&whole);
}

static void test_every_request_ends_once_wherever_the_transport_breaks(void **state)
{
	size_t size = 1, want;
	(void)state;
	for (size_t cut = 0; cut <= size; cut++) {
		struct bench b;
		uint64_t confirmed = 0;
		assert_true(ask_all(&b));
		size = mr_buffer_size(&b.server);
		mr_session_feed(b.s, mr_buffer_data(&b.server), cut, 3, &want);
		end(&b);
		for (int token = 5; token <= 9; token++) assert_int_equal(b.ends[token], 1);
		for (int i = 0; i < b.count; i++)
			if (b.types[i] == MR_EV_CONFIRM) confirmed += b.lasts[i] - b.tokens[i] + 1;
		assert_int_equal(confirmed, 2);
	}
}

static void test_every_failing_allocation_ends_well(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 250; n++) {
		struct bench b;
		mr_alloc_fail_nth(n);
		if (ask_all(&b)) {
			feed_pieces(&b, 300, 3);
			mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0);
			mr_session_flush(b.s);
		}
		mr_alloc_fail_nth(0);
		end(&b);
		for (int token = 0; token < TOKENS; token++) assert_true(b.ends[token] <= 1);
		assert_int_equal(mr_alloc_live(), live);
	}
}

/* ---- ends ---- */

static void test_a_connection_closed_by_the_broker_takes_its_channels_along(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	open_channel(&b, 2);
	feed(&b, 3);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	b.count = 0;
	ask(&b, 5, MR_QUEUE_DECLARE, 0);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	say(&b, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .code = 320});
	deliver(&b, 1, "what comes behind is not read");
	feed(&b, 4);
	assert_int_equal(b.count, 3);
	event_is(&b, 0, MR_EV_CHANNEL, MR_CONNECTION_FORCED, 0);
	event_is(&b, 1, MR_EV_DONE, MR_CONNECTION_FORCED, 5);
	event_is(&b, 2, MR_EV_CHANNEL, MR_CONNECTION_FORCED, 0);
	assert_int_equal(said(&b, 0), MR_M_CONNECTION_CLOSE_OK);
	assert_int_equal(said(&b, 1), 0);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	assert_int_equal(mr_session_deadline(b.s), MR_NEVER);
	ask(&b, 6, MR_QUEUE_DECLARE, 0);
	event_is(&b, 3, MR_EV_DONE, MR_CONNECTION_FORCED, 6);
	end(&b);
}

static void test_a_close_of_ours_is_over_with_close_ok(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_shutdown(b.s);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSING);
	assert_int_equal(said(&b, 0), MR_M_CONNECTION_CLOSE);
	ask(&b, 5, MR_QUEUE_DECLARE, 0);
	assert_int_equal(b.ends[5], 1);
	deliver(&b, 1, "crossed");
	say(&b, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE_OK});
	feed(&b, 3);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	assert_int_equal(mr_session_error(b.s)->kind, MR_CLOSED);
	end(&b);
}

static void test_both_sides_may_close_a_connection_at_once(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_shutdown(b.s);
	say(&b, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .code = 320});
	feed(&b, 3);
	assert_int_equal(said(&b, 0), MR_M_CONNECTION_CLOSE);
	assert_int_equal(said(&b, 1), MR_M_CONNECTION_CLOSE_OK);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	end(&b);
}

/* ---- violations ---- */

static uint16_t close_code(struct bench *b)
{
	struct mr_buffer *out = &mr_session_output(b->s)->bytes;
	return said(b, 0) == MR_M_CONNECTION_CLOSE ? mr_get16(mr_buffer_data(out) + 11) : 0;
}

static void test_a_broken_stream_is_answered_with_its_code(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		int code;
	} cases[] = {
		{"\x05\0\0\0\0\0\0\xce", 8, 501},              /* no such type */
		{"\x01\0\1\0\0\0\4\0\x32\0\x0b\xcf", 12, 501}, /* wrong end */
		{"\x01\0\1\0\2\0\0", 7, 501},                  /* over frame_max, payload unseen */
		{"\x08\0\1\0\0\0\0\xce", 8, 501},              /* a heartbeat on channel 1 */
		{"\x01\0\xc8\0\0\0\4\0\x32\0\x0b\xce", 12, 504}, /* over channel_max */
		{"\x01\0\0\0\0\0\2\0\x32\xce", 10, 501},         /* half a method id on channel 0 */
		{"\x01\0\0\0\0\0\4\0\x0a\0\x32\xce", 12, 502},   /* connection.close, empty */
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		ready(&b);
		mr_buffer_append(&b.server, cases[i].bytes, cases[i].size);
		feed(&b, 3);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
		assert_int_equal(close_code(&b), cases[i].code);
		end(&b);
	}
}

/* What the session said last of a large message. */
static struct mr_too_large seen_large;
static int large_count;
static void on_too_large(void *owner, const struct mr_too_large *what)
{
	(void)owner;
	seen_large = *what;
	large_count++;
}

/* A body of 1 MiB and a byte, in frames of the server's. */
static void say_large_body(struct bench *b)
{
	static char body[(1 << 20) + 1];
	mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_of(body, sizeof body),
		FRAME_MAX);
}

static void consume_as(struct bench *b, int flags, uint32_t number)
{
	mr_request r = {.operation = MR_BASIC_CONSUME,
		.number = number,
		.name = mr_slice_str("q"),
		.extra = mr_slice_str("tag"),
		.flags = (uint32_t)flags};
	mr_session_request(b->s, 1, 5, 1, &r, 10000);
	if (!(flags & MR_NO_ACK)) say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(b, 3);
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
	b->count = 0;
}

static void consume_on_channel_1(struct bench *b, int flags) { consume_as(b, flags, 7); }

/* FIELD-W15, FAULTS S2: only that delivery suffers, within bounded memory. */
static void test_a_message_over_the_limit_is_rejected_and_the_next_one_comes(void **state)
{
	(void)state;
	for (int no_ack = 0; no_ack < 2; no_ack++) {
		struct bench b;
		size_t held = 0;
		ready(&b);
		b.options.too_large = on_too_large;
		large_count = 0;
		consume_on_channel_1(&b, no_ack ? MR_NO_ACK : 0);
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_DELIVER,
				.other = mr_slice_str("tag"),
				.tag = 1,
				.key = mr_slice_str("k")});
		say_large_body(&b);
		deliver(&b, 2, "small");
		while (mr_buffer_size(&b.server)) {
			size_t bytes, want;
			size_t size = mr_buffer_size(&b.server);
			size_t piece =
				size < FRAME_MAX + 8 ? size : FRAME_MAX + 8; /* a whole frame */
			mr_buffer_consume(&b.server,
				mr_session_feed(b.s, mr_buffer_data(&b.server), piece, 4, &want));
			mr_delivery_pool_out(b.options.pool, &bytes);
			if (bytes > held) held = bytes;
		}
		assert_true(held < 1024);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		assert_int_equal(large_count, 1);
		assert_int_equal(seen_large.size, (1 << 20) + 1);
		assert_int_equal(seen_large.limit, 1 << 20);
		assert_string_equal(seen_large.fate, no_ack ? "dropped" : "rejected");
		assert_int_equal(b.stats.oversized, 1);
		assert_int_equal(said(&b, 0), no_ack ? 0 : MR_M_BASIC_REJECT);
		assert_int_equal(b.count, 1); /* the small one */
		assert_int_equal(b.types[0], MR_EV_DELIVERY);
		end(&b);
	}
}

/* FIELD-W15 */
static void test_a_message_over_the_limit_is_left_to_a_host_that_wants_it(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	b.options.too_large = on_too_large;
	large_count = 0;
	consume_as(&b, 0, MR_CONSUMER_LARGE + 7);
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str("tag"),
			.tag = 1,
			.key = mr_slice_str("k")});
	say_large_body(&b);
	feed(&b, 3);
	assert_int_equal(large_count, 1);
	assert_string_equal(seen_large.fate, "kept in its queue, unacked");
	assert_int_equal(said(&b, 0), 0);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.types[0], MR_EV_DELIVERY);
	end(&b);
}

/* FIELD-W15 */
static void test_a_got_message_over_the_limit_is_told_and_rejected(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 6, MR_BASIC_GET, 0);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_GET_OK, .tag = 1, .key = mr_slice_str("k")});
	say_large_body(&b);
	feed(&b, 3);
	event_is(&b, 0, MR_EV_DONE, MR_CONTENT_TOO_LARGE, 6);
	assert_int_equal(said(&b, 0), MR_M_BASIC_REJECT);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_RETURN, .code = 312});
	say_large_body(&b);
	feed(&b, 4);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	assert_int_equal(b.stats.oversized, 2);
	assert_int_equal(b.count, 1);
	end(&b);
}

/* FIELD-W15: its end was told when its time was up. */
static void test_a_message_over_the_limit_that_comes_late_is_told_no_second_time(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 6, MR_BASIC_GET, 0);
	mr_session_tick(b.s, 10000, true);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 6);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_GET_OK, .tag = 1, .key = mr_slice_str("k")});
	say_large_body(&b);
	feed(&b, 3);
	assert_int_equal(b.count, 1);
	assert_int_equal(said(&b, 0), MR_M_BASIC_REJECT);
	end(&b);
}

/* FIELD-R1: a prefetch of ours where the program asked for none, and never where it did. */
static void test_a_first_consume_with_acks_brings_a_prefetch(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask(&b, 5, MR_BASIC_CONSUME, 7);
	ask(&b, 6, MR_BASIC_CONSUME, 8);
	assert_int_equal(said(&b, 0), MR_M_BASIC_QOS);
	assert_int_equal(said(&b, 1), MR_M_BASIC_CONSUME);
	assert_int_equal(said(&b, 2), MR_M_BASIC_CONSUME);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	feed(&b, 3);
	assert_int_equal(b.count, 0); /* nobody asked for it */
	ask(&b, 9, MR_BASIC_QOS, 3);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("a")});
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("b")});
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	feed(&b, 4);
	event_is(&b, 2, MR_EV_DONE, MR_OK, 9);
	end(&b);

	ready(&b);
	ask(&b, 5, MR_BASIC_QOS, 0); /* no limit, as asked */
	ask(&b, 6, MR_BASIC_CONSUME, 7);
	assert_int_equal(said(&b, 1), MR_M_BASIC_CONSUME);
	end(&b);
	ready(&b);
	consume_on_channel_1(&b, MR_NO_ACK);
	ask(&b, 6, MR_BASIC_CONSUME, 8);
	assert_int_equal(said(&b, 0), MR_M_BASIC_QOS); /* the first with acks */
	end(&b);
}

/* FIELD-R1: what a link that would pause must still read for. */
static void test_a_session_knows_what_it_waits_for(void **state)
{
	struct bench b;
	struct mr_publish p = {.epoch = 1, .number = 1, .deadline = 9000};
	mr_request get = {.operation = MR_BASIC_GET, .name = mr_slice_str("q")};
	(void)state;
	ready(&b);
	assert_false(mr_session_is_asking(b.s));
	ask(&b, 5, MR_CONFIRM_SELECT, 0);
	assert_true(mr_session_is_asking(b.s));
	say(&b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	feed(&b, 3);
	assert_false(mr_session_is_asking(b.s));
	mr_session_publish(b.s, 1, &p);
	assert_true(mr_session_is_asking(b.s));
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = 1});
	feed(&b, 4);
	assert_false(mr_session_is_asking(b.s));
	p.number = 2;
	mr_session_publish(b.s, 1, &p);
	mr_session_request(b.s, 1, 6, 1, &get, 9000);
	mr_session_tick(b.s, 9000, true); /* both have timed out: late answers interest nobody */
	assert_false(mr_session_is_asking(b.s));
	mr_session_channel_close(b.s, 1, 8, 1, 20000);
	assert_true(mr_session_is_asking(b.s));
	end(&b);
}

static void test_without_a_limit_of_frames_no_frame_may_claim_gigabytes(void **state)
{
	struct bench b;
	size_t want;
	(void)state;
	assert_true(begin(&b));
	b.login.frame_max = 0;
	shake(&b);
	uint8_t *at = mr_buffer_data(&b.server);
	while (mr_get32(at + 7) != MR_M_CONNECTION_TUNE) at += mr_get32(at + 3) + 8;
	mr_put32(at + 13, 0); /* frame_max of tune */
	feed(&b, 1);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	mr_session_feed(b.s, (const uint8_t *)"\x03\0\1\xff\xff\xff\xf0", 7, 2, &want);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_consumer_gets_its_deliveries_and_acks_them_in_one_frame),
		cmocka_unit_test(test_the_same_bytes_in_any_pieces_mean_the_same),
		cmocka_unit_test(
			test_a_cut_in_the_login_is_a_refusal_only_where_the_broker_tells_none),
		cmocka_unit_test(test_a_channel_closed_by_the_broker_ends_all_that_waits_on_it),
		cmocka_unit_test(test_what_comes_behind_the_brokers_close_is_of_the_past),
		cmocka_unit_test(test_what_comes_behind_the_answer_to_our_close_is_of_the_past),
		cmocka_unit_test(test_both_sides_may_close_a_channel_at_once),
		cmocka_unit_test(test_a_late_answer_is_swallowed_and_its_consumer_cancelled),
		cmocka_unit_test(test_heartbeats_and_blocking_have_their_deadlines),
		cmocka_unit_test(test_a_peer_may_beat_a_little_late_for_ever),
		cmocka_unit_test(test_a_stream_cut_anywhere_means_the_same),
		cmocka_unit_test(test_every_request_ends_once_wherever_the_transport_breaks),
		cmocka_unit_test(test_every_failing_allocation_ends_well),
		cmocka_unit_test(test_a_connection_closed_by_the_broker_takes_its_channels_along),
		cmocka_unit_test(test_a_close_of_ours_is_over_with_close_ok),
		cmocka_unit_test(test_both_sides_may_close_a_connection_at_once),
		cmocka_unit_test(test_a_broken_stream_is_answered_with_its_code),
		cmocka_unit_test(test_a_message_over_the_limit_is_rejected_and_the_next_one_comes),
		cmocka_unit_test(test_a_message_over_the_limit_is_left_to_a_host_that_wants_it),
		cmocka_unit_test(test_a_got_message_over_the_limit_is_told_and_rejected),
		cmocka_unit_test(
			test_a_message_over_the_limit_that_comes_late_is_told_no_second_time),
		cmocka_unit_test(test_a_first_consume_with_acks_brings_a_prefetch),
		cmocka_unit_test(test_a_session_knows_what_it_waits_for),
		cmocka_unit_test(test_without_a_limit_of_frames_no_frame_may_claim_gigabytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
