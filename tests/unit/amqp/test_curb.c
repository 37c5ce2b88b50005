/* test_curb: consumers without prefetch, and a host that is far behind (FIELD-R1).
 * SPDX-License-Identifier: MIT */
#include "session_bench.h"

#include "codec/client_method.h"
#include "codec/method.h"

#include <stdio.h>

#define FAR 200000 /* loose messages: over any bound */

static struct mr_tally *tally;
static int curbed;
static char shown[256]; /* the tag of the last message told */

static void on_curbed(void *owner, const struct mr_curbed *what)
{
	(void)owner;
	assert_int_equal(what->queue.size, 1);
	curbed++;
}

static void on_told(void *owner, const mr_event *event)
{
	if (event->type == MR_EV_DELIVERY)
		snprintf(shown, sizeof shown, "%s", event->as.delivery->consumer_tag);
	if (event->type == MR_EV_DONE && event->as.done.reply && event->as.done.reply->name_size)
		snprintf(shown, sizeof shown, "%s", event->as.done.reply->name);
	on_event(owner, event);
}

static void consume(struct bench *b, const char *queue, uint32_t flags)
{
	mr_request r = {.operation = MR_BASIC_CONSUME,
		.number = 9,
		.name = mr_slice_str(queue),
		.extra = mr_slice_str("tag"),
		.flags = flags};
	mr_session_request(b->s, 1, 5, 1, &r, 10000);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(b, 3);
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
}

static void start(struct bench *b)
{
	ready(b);
	tally = b->options.tally = mr_tally_new();
	b->options.curbed = on_curbed;
	b->options.emit = on_told;
	curbed = 0;
	mr_request qos = {.operation = MR_BASIC_QOS};
	mr_session_request(b->s, 1, 4, 1, &qos, 10000);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
}

static void finish(struct bench *b)
{
	tally->loose = 0;
	end(b);
	mr_tally_release(tally);
}

static void deliver_by(struct bench *b, const char *consumer, uint64_t tag)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str(consumer),
			.tag = tag,
			.name = mr_slice_str("x"),
			.key = mr_slice_str("k")});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_str("m"), FRAME_MAX);
	feed(b, 4);
}

/* A message comes while the host is far behind. */
static void flood(struct bench *b, uint32_t flags)
{
	start(b);
	consume(b, "q", flags);
	tally->loose = FAR;
	deliver_by(b, "tag", 1);
}

static void answer_all(struct bench *b)
{
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
			.name = mr_slice_str("tag/curbed")});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag")});
	feed(b, 4);
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
}

/* The n-th method of ours. */
static struct mr_client_method spoken(struct bench *b, int n)
{
	struct mr_buffer *out = &mr_session_output(b->s)->bytes;
	const uint8_t *at = mr_buffer_data(out), *stop = at + mr_buffer_size(out);
	struct mr_client_method m = {0};
	mr_error error = {0};
	for (; at < stop; at += mr_get32(at + 3) + 8) {
		struct mr_frame frame = {.type = at[0],
			.channel = 1,
			.payload = at + 7,
			.size = mr_get32(at + 3)};
		if (at[0] == MR_FRAME_METHOD && n-- == 0)
			assert_int_equal(mr_client_method_decode(&frame, &m, &error), MR_OK);
	}
	return m;
}

static void is_cancel_of(struct bench *b, int n, const char *tag)
{
	struct mr_client_method m = spoken(b, n);
	assert_int_equal(m.id, MR_M_BASIC_CANCEL);
	assert_true(mr_slice_equal(m.names[0], mr_slice_str(tag)));
}

static void test_another_begins_with_acks_and_prefetch_before_the_first_ends(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, MR_NO_ACK);
	assert_int_equal(curbed, 1);
	assert_int_equal(spoken(&b, 0).id, MR_M_BASIC_QOS);
	assert_int_equal(spoken(&b, 0).numbers[0], 256);
	struct mr_client_method m = spoken(&b, 1);
	assert_int_equal(m.id, MR_M_BASIC_CONSUME);
	assert_true(mr_slice_equal(m.names[1], mr_slice_str("tag/curbed")));
	assert_int_equal(m.bits, 0);
	assert_int_equal(spoken(&b, 2).id, MR_M_BASIC_QOS);
	assert_int_equal(spoken(&b, 2).numbers[0], 0);
	is_cancel_of(&b, 3, "tag");
	deliver_by(&b, "tag", 2); /* what was on its way is told */
	answer_all(&b);
	deliver_by(&b, "tag", 3);
	assert_int_equal(curbed, 1);
	finish(&b);
}

static void test_a_first_message_of_usual_bounds_changes_nothing(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	consume(&b, "q", MR_NO_ACK);
	deliver_by(&b, "tag", 1);
	assert_int_equal(curbed, 0);
	assert_int_equal(said(&b, 0), 0);
	finish(&b);
}

static void test_without_acks_what_comes_is_held_and_acked_when_it_is_told(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, MR_NO_ACK);
	answer_all(&b);
	int told = b.count;
	deliver_by(&b, "tag/curbed", 2);
	deliver_by(&b, "tag/curbed", 3);
	assert_int_equal(b.count, told);
	assert_true(mr_session_let_go(b.s)); /* still behind */
	assert_int_equal(b.count, told);
	tally->loose = 0;
	assert_false(mr_session_let_go(b.s));
	assert_int_equal(b.count, told + 2);
	assert_string_equal(shown, "tag");
	mr_session_flush(b.s);
	assert_int_equal(spoken(&b, 0).id, MR_M_BASIC_ACK);
	assert_int_equal(spoken(&b, 0).tag, 3);
	deliver_by(&b, "tag/curbed", 4); /* caught up: at once */
	assert_int_equal(b.count, told + 3);
	mr_session_flush(b.s);
	assert_int_equal(spoken(&b, 1).tag, 4);
	finish(&b);
}

static void test_with_acks_the_host_settles_as_ever(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, 0);
	assert_int_equal(curbed, 1);
	answer_all(&b);
	int told = b.count;
	deliver_by(&b, "tag/curbed", 2);
	assert_int_equal(b.count, told + 1);
	assert_string_equal(shown, "tag");
	mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0); /* of the first consumer */
	mr_session_settle(b.s, 1, 1, 2, MR_ACK, 0);
	mr_session_flush(b.s);
	assert_int_equal(spoken(&b, 0).tag, 2);
	finish(&b);
}

static void test_a_cancel_is_of_the_one_that_there_is_and_gives_back_what_is_held(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, MR_NO_ACK);
	deliver_by(&b, "tag/curbed", 2);
	mr_request r = {.operation = MR_BASIC_CANCEL, .extra = mr_slice_str("tag")};
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	mr_session_request(b.s, 1, 7, 1, &r, 10000);
	is_cancel_of(&b, 0, "tag/curbed");
	answer_all(&b);
	assert_int_equal(b.ends[7], 0); /* that was the first one's */
	assert_true(mr_session_has_consumer(b.s, 1, 9));
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag/curbed")});
	feed(&b, 5);
	assert_int_equal(b.ends[7], 1);
	assert_string_equal(shown, "tag");
	assert_int_equal(spoken(&b, 0).id, MR_M_BASIC_NACK);
	assert_int_equal(spoken(&b, 0).tag, 2);
	assert_false(mr_session_has_consumer(b.s, 1, 9));
	assert_int_equal(b.stats.violations, 0);
	finish(&b);
}

static void test_of_the_brokers_two_cancels_the_host_hears_one(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, 0);
	int told = b.count;
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL, .name = mr_slice_str("tag")});
	feed(&b, 5);
	assert_int_equal(b.count, told);
	answer_all(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL, .name = mr_slice_str("tag/curbed")});
	feed(&b, 5);
	assert_int_equal(b.count, told + 1);
	event_is(&b, told, MR_EV_CANCEL, MR_CANCELLED, 0);
	finish(&b);
}

static void test_what_is_held_goes_with_recover_and_with_the_channel(void **state)
{
	struct bench b;
	(void)state;
	for (int way = 0; way < 2; way++) {
		flood(&b, MR_NO_ACK);
		answer_all(&b);
		deliver_by(&b, "tag/curbed", 2);
		int told = b.count;
		tally->loose = 0;
		if (way == 0) ask(&b, 7, MR_BASIC_RECOVER, 0);
		mr_session_let_go(b.s);
		if (way == 0) assert_int_equal(b.count, told); /* the broker takes it back */
		say(&b, 1,
			(struct mr_method){.id = way ? MR_M_CHANNEL_CLOSE : MR_M_BASIC_RECOVER_OK,
				.code = 404});
		feed(&b, 5);
		assert_false(mr_session_let_go(b.s));
		finish(&b);
	}
}

static void test_some_cannot_be_curbed_and_go_on_as_they_were(void **state)
{
	static const struct {
		const char *queue;
		uint32_t flags;
		int first;
		uint32_t answer;
	} cases[] = {
		{"q", MR_NO_ACK | MR_EXCLUSIVE, 0, 0},
		{"", MR_NO_ACK, 0, 0},
		{"amq.rabbitmq.reply-to", MR_NO_ACK, 0, 0},
		{"q", MR_NO_ACK, MR_TX_SELECT, MR_M_TX_SELECT_OK},
	};
	struct bench b;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		start(&b);
		if (cases[i].first) {
			ask(&b, 6, cases[i].first, 0);
			say(&b, 1, (struct mr_method){.id = cases[i].answer});
		}
		consume(&b, cases[i].queue, cases[i].flags);
		tally->loose = FAR;
		int told = b.count;
		deliver_by(&b, "tag", 1);
		assert_int_equal(b.count, told + 1);
		assert_int_equal(curbed, 0);
		finish(&b);
	}
}

static void test_large_messages_get_a_small_prefetch(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	consume(&b, "q", 0);
	tally->loose = 10;
	tally->loose_bytes = 200u << 20;
	deliver_by(&b, "tag", 1);
	assert_int_equal(spoken(&b, 0).numbers[0], 2);
	tally->loose_bytes = 0;
	finish(&b);
}

static void request(struct bench *b, uint64_t token, int operation, const char *tag)
{
	mr_request r = {.operation = operation,
		.number = 8,
		.name = mr_slice_str("q"),
		.extra = mr_slice_str(tag)};
	mr_session_request(b->s, 1, token, 1, &r, 10000);
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
}

static void test_one_that_is_cancelled_already_is_not_begun_anew(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	consume(&b, "q", MR_NO_ACK);
	request(&b, 7, MR_BASIC_CANCEL, "tag");
	tally->loose = FAR;
	deliver_by(&b, "tag", 1); /* it was on its way */
	assert_int_equal(curbed, 0);
	assert_int_equal(said(&b, 0), 0);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag")});
	feed(&b, 5);
	assert_int_equal(b.ends[7], 1);
	assert_false(mr_session_has_consumer(b.s, 1, 9));
	finish(&b);
}

static void test_one_whose_queue_is_being_deleted_is_not_begun_anew(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	consume(&b, "q", MR_NO_ACK);
	request(&b, 7, MR_QUEUE_DELETE, "");
	tally->loose = FAR;
	deliver_by(&b, "tag", 1);
	assert_int_equal(curbed,
		0); /* the broker would close the channel: there is no such queue */
	say(&b, 1, (struct mr_method){.id = MR_M_QUEUE_DELETE_OK});
	feed(&b, 5);
	deliver_by(&b, "tag", 2); /* it was another */
	assert_int_equal(curbed, 1);
	finish(&b);
}

static void test_a_tag_that_has_no_room_for_more_stays(void **state)
{
	struct bench b;
	char tag[256];
	(void)state;
	memset(tag, 't', 255);
	tag[255] = '\0';
	start(&b);
	mr_request r = {.operation = MR_BASIC_CONSUME,
		.number = 9,
		.name = mr_slice_str("q"),
		.flags = MR_NO_ACK};
	mr_session_request(b.s, 1, 5, 1, &r, 10000);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str(tag)});
	feed(&b, 3);
	tally->loose = FAR;
	int told = b.count;
	deliver_by(&b, tag, 1);
	assert_int_equal(curbed, 0);
	assert_int_equal(b.count, told + 1);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	finish(&b);
}

static void test_a_tag_that_the_program_uses_is_not_taken(void **state)
{
	struct bench b;
	(void)state;
	for (int is_answered = 0; is_answered < 2; is_answered++) {
		start(&b);
		consume(&b, "q", MR_NO_ACK);
		request(&b, 7, MR_BASIC_CONSUME, "tag/curbed");
		if (is_answered)
			say(&b, 1,
				(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
					.name = mr_slice_str("tag/curbed")});
		tally->loose = FAR;
		deliver_by(&b, "tag", 1);
		assert_int_equal(curbed, 0);
		finish(&b);
	}
}

static uint64_t order[8]; /* the tags of the messages told */
static int order_count;

static void on_order(void *owner, const mr_event *event)
{
	if (event->type == MR_EV_DELIVERY) order[order_count++] = event->as.delivery->tag;
	on_event(owner, event);
}

static void test_what_the_first_still_gets_comes_behind_what_is_held(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	b.options.emit = on_order;
	order_count = 0;
	consume(&b, "q", MR_NO_ACK);
	tally->loose = FAR;
	deliver_by(&b, "tag", 1);
	deliver_by(&b, "tag/curbed", 2); /* they take turns until the first is cancelled */
	deliver_by(&b, "tag", 3);
	answer_all(&b);
	assert_int_equal(order_count, 3);
	for (uint64_t i = 0; i < 3; i++) assert_int_equal(order[i], i + 1);
	deliver_by(&b, "tag/curbed", 4);
	assert_int_equal(order_count, 3);
	mr_session_flush(b.s);
	assert_int_equal(spoken(&b, 0).id, MR_M_BASIC_ACK);
	assert_int_equal(spoken(&b, 0).tag, 2);
	finish(&b);
}

static void test_an_answer_to_many_leaves_out_what_is_held(void **state)
{
	static const int ways[] = {MR_ACK, MR_NACK};
	struct bench b;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		flood(&b, MR_NO_ACK);
		answer_all(&b);
		ask(&b, 6, MR_BASIC_QOS, 10);
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
		request(&b, 7, MR_BASIC_CONSUME, "acks");
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
				.name = mr_slice_str("acks")});
		feed(&b, 3);
		deliver_by(&b, "acks", 2);
		deliver_by(&b, "tag/curbed", 3); /* held */
		deliver_by(&b, "acks", 4);
		mr_session_settle(b.s, 1, 1, 4, ways[i],
			MR_SETTLE_MULTIPLE | (i ? MR_SETTLE_REQUEUE : 0));
		mr_session_flush(b.s);
		uint32_t id = i ? MR_M_BASIC_NACK : MR_M_BASIC_ACK;
		for (int n = 0; n < 2; n++) {
			assert_int_equal(spoken(&b, n).id, id);
			assert_int_equal(spoken(&b, n).tag, n ? 4 : 2);
			if (n) assert_int_equal(spoken(&b, n).bits & 1, 0); /* multiple */
		}
		assert_int_equal(spoken(&b, 2).id, 0);
		mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
		tally->loose = 0;
		assert_false(mr_session_let_go(b.s));
		mr_session_flush(b.s);
		assert_int_equal(spoken(&b, 0).id, MR_M_BASIC_ACK);
		assert_int_equal(spoken(&b, 0).tag, 3);
		finish(&b);
	}
}

static int refused;

static void on_refused(void *owner, const mr_error *why)
{
	(void)owner;
	assert_int_equal(why->code, 530);
	refused++;
}

static int asked;

static bool never(void *owner, mr_slice queue)
{
	(void)owner;
	assert_true(mr_slice_equal(queue, mr_slice_str("q")));
	asked++;
	return false;
}

static void select_tx(struct bench *b)
{
	mr_request r = {.operation = MR_TX_SELECT};
	mr_session_request(b->s, 1, 6, 1, &r, 10000);
}

/* Behind what was settled: the first one again, the end of the second, the transaction. */
static void is_undone(struct bench *b, int at, int no_ack)
{
	struct mr_client_method m = spoken(b, at);
	assert_int_equal(m.id, MR_M_BASIC_CONSUME);
	assert_true(mr_slice_equal(m.names[1], mr_slice_str("tag")));
	assert_int_equal(m.bits, no_ack ? 2 : 0); /* of its bits that one alone */
	is_cancel_of(b, at + 1, "tag/curbed");
}

static void test_a_transaction_begins_with_consumers_as_they_were_asked_for(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, MR_NO_ACK);
	answer_all(&b);
	deliver_by(&b, "tag/curbed", 2); /* held */
	int told = b.count;
	select_tx(&b);
	assert_int_equal(b.count, told + 1);
	is_undone(&b, 0, 1);
	assert_int_equal(spoken(&b, 2).id, MR_M_BASIC_ACK); /* outside of the transaction */
	assert_int_equal(spoken(&b, 2).tag, 2);
	assert_int_equal(spoken(&b, 3).id, MR_M_TX_SELECT);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	deliver_by(&b, "tag/curbed", 3); /* it was on its way */
	assert_int_equal(b.count, told + 2);
	assert_string_equal(shown, "tag");
	deliver_by(&b, "tag", 4);
	assert_int_equal(b.count, told + 3);
	mr_session_flush(b.s);
	assert_int_equal(spoken(&b, 0).tag, 3);
	assert_int_equal(spoken(&b, 1).id, 0);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag/curbed")});
	say(&b, 1, (struct mr_method){.id = MR_M_TX_SELECT_OK});
	feed(&b, 5);
	assert_int_equal(b.ends[6], 1);
	assert_true(mr_session_has_consumer(b.s, 1, 9));
	assert_int_equal(curbed, 1);
	assert_int_equal(b.stats.violations, 0);
	finish(&b);
}

static void test_so_does_one_before_the_first_consumer_has_ended(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, 0);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	select_tx(&b);
	is_undone(&b, 0, 0);
	assert_int_equal(spoken(&b, 2).id, MR_M_TX_SELECT);
	answer_all(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag/curbed")});
	say(&b, 1, (struct mr_method){.id = MR_M_TX_SELECT_OK});
	feed(&b, 5);
	request(&b, 7, MR_BASIC_CANCEL, "tag");
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag")});
	feed(&b, 5);
	assert_int_equal(b.ends[7], 1);
	assert_false(mr_session_has_consumer(b.s, 1, 9));
	assert_int_equal(b.stats.violations, 0);
	finish(&b);
}

static void test_behind_it_the_tag_of_the_second_consumer_is_free_again(void **state)
{
	struct bench b;
	(void)state;
	flood(&b, 0);
	answer_all(&b);
	select_tx(&b);
	request(&b, 7, MR_BASIC_CONSUME, "tag/curbed");
	assert_int_equal(b.ends[7], 1); /* it may still get messages */
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_CANCEL_OK, .name = mr_slice_str("tag/curbed")});
	say(&b, 1, (struct mr_method){.id = MR_M_TX_SELECT_OK});
	feed(&b, 5);
	request(&b, 8, MR_BASIC_CONSUME, "tag/curbed");
	assert_int_equal(b.ends[8], 0);
	say(&b, 1,
		(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
			.name = mr_slice_str("tag/curbed")});
	feed(&b, 5);
	assert_int_equal(b.ends[8], 1);
	assert_true(mr_session_has_consumer(b.s, 1, 8));
	deliver_by(&b, "tag/curbed", 2);
	assert_string_equal(shown, "tag/curbed"); /* the program's own */
	deliver_by(&b, "tag", 3);
	assert_string_equal(shown, "tag");
	finish(&b);
}

static void has_prefetch(struct bench *b, int n, uint32_t prefetch)
{
	struct mr_client_method m = spoken(b, n);
	assert_int_equal(m.id, MR_M_BASIC_QOS);
	assert_int_equal(m.numbers[0], prefetch);
}

static void test_before_a_transaction_consumers_have_no_prefetch_again(void **state)
{
	struct bench b;
	(void)state;
	for (int no_ack = 0; no_ack < 2; no_ack++) {
		flood(&b, no_ack ? MR_NO_ACK : 0);
		answer_all(&b);
		ask(&b, 7, MR_BASIC_QOS, 10); /* for consumers to come */
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
		feed(&b, 5);
		mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
		select_tx(&b);
		has_prefetch(&b, 0, 0);
		struct mr_client_method m = spoken(&b, 1);
		assert_int_equal(m.id, MR_M_BASIC_CONSUME);
		assert_true(mr_slice_equal(m.names[1], mr_slice_str("tag")));
		assert_int_equal(m.bits, no_ack ? 2 : 0);
		has_prefetch(&b, 2, 10);
		is_cancel_of(&b, 3, "tag/curbed");
		assert_int_equal(spoken(&b, 4).id, MR_M_TX_SELECT);
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_CONSUME_OK,
				.name = mr_slice_str("tag")});
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_CANCEL_OK,
				.name = mr_slice_str("tag/curbed")});
		say(&b, 1, (struct mr_method){.id = MR_M_TX_SELECT_OK});
		feed(&b, 5);
		assert_int_equal(b.ends[6], 1);
		assert_int_equal(b.ends[7], 1);
		assert_true(mr_session_has_consumer(b.s, 1, 9));
		assert_int_equal(b.stats.violations, 0);
		finish(&b);
	}
}

static void test_a_transaction_without_memory_for_that_costs_the_connection(void **state)
{
	struct bench b;
	bool is_done = false;
	(void)state;
	for (long n = 1; !is_done; n++) {
		assert_true(n < 20);
		flood(&b, MR_NO_ACK);
		answer_all(&b);
		deliver_by(&b, "tag/curbed", 2);        /* held */
		mr_outbox_fini(mr_session_output(b.s)); /* so that writing allocates, too */
		mr_alloc_fail_nth(n);
		select_tx(&b);
		mr_alloc_fail_nth(0);
		/* Of it all or nothing: what comes behind may fail alone. */
		bool is_undone_whole = spoken(&b, 1).id == MR_M_BASIC_CANCEL;
		is_done = b.ends[6] == 0;
		mr_session_flush(b.s);
		assert_int_equal(mr_session_state(b.s),
			is_undone_whole ? MR_SESSION_OPEN : MR_SESSION_CLOSED);
		assert_true(!is_done || is_undone_whole);
		finish(&b);
	}
}

static void test_a_queue_of_which_a_second_consumer_would_do_harm_is_left_alone(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	b.options.may_curb = never;
	consume(&b, "q", 0);
	tally->loose = FAR;
	deliver_by(&b, "tag", 1);
	assert_int_equal(curbed, 0);
	finish(&b);
}

static char declared[300]; /* what was told of queues */

static void on_declared(void *owner, mr_slice queue, bool is_single_active)
{
	size_t size = strlen(declared);
	(void)owner;
	snprintf(declared + size, sizeof declared - size, "%.*s:%d ", (int)queue.size, queue.data,
		is_single_active);
}

/* The type of its argument x-single-active-consumer; 0: none. */
static void declare(struct bench *b, const char *name, uint32_t flags, char type)
{
	const mr_value value = {.type = (uint8_t)type, .as.boolean = true};
	mr_table *arguments = mr_table_new();
	if (type) mr_table_add(arguments, "x-single-active-consumer", 24, &value);
	mr_request r = {.operation = MR_QUEUE_DECLARE,
		.name = mr_slice_str(name),
		.flags = flags,
		.arguments = type ? arguments : NULL};
	mr_session_request(b->s, 1, 8, 1, &r, 10000);
	mr_table_free(arguments);
}

static void test_of_queues_it_is_told_how_they_were_declared(void **state)
{
	static const struct {
		const char *name;
		uint32_t flags;
		char type;
		const char *answer, *told;
	} cases[] = {
		{"q", 0, 't', "q", "q:1 "}, {"q", MR_UNRECORDED, 't', "q", "q:1 "},
		{"q", 0, 0, "q", "q:0 "}, {"q", 0, 'l', "q", "q:0 "},
		{"", 0, 't', "amq.gen-1", "amq.gen-1:1 "},
		{"q", MR_PASSIVE, 0, "q", ""}, /* the broker compares no arguments */
		{"q", MR_PASSIVE, 't', "q", ""}, {"q", 0, 't', NULL, ""}, /* it is refused */
	};
	struct bench b;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		start(&b);
		b.options.declared = on_declared;
		declared[0] = '\0';
		declare(&b, cases[i].name, cases[i].flags, cases[i].type);
		say(&b, 1,
			cases[i].answer ? (struct mr_method){.id = MR_M_QUEUE_DECLARE_OK,
						  .name = mr_slice_str(cases[i].answer)}
					: (struct mr_method){.id = MR_M_CHANNEL_CLOSE,
						  .code = 406,
						  .failing = MR_M_QUEUE_DECLARE});
		assert_string_equal(declared, "");
		feed(&b, 3);
		assert_string_equal(declared, cases[i].told);
		assert_int_equal(b.ends[8], 1);
		finish(&b);
	}
}

static void test_whether_it_may_be_is_asked_when_it_is_due_and_once(void **state)
{
	struct bench b;
	(void)state;
	start(&b);
	asked = 0;
	consume(&b, "q", 0);
	b.options.may_curb = never; /* the broker has refused another one meanwhile */
	deliver_by(&b, "tag", 1);
	assert_int_equal(asked, 0);
	tally->loose = FAR;
	for (uint64_t n = 2; n < 5; n++) deliver_by(&b, "tag", n);
	assert_int_equal(curbed, 0);
	assert_int_equal(asked, 1);
	assert_int_equal(said(&b, 0), 0);
	finish(&b);
}

static void test_that_the_broker_refuses_it_is_told(void **state)
{
	static const uint32_t ends[] = {MR_M_CHANNEL_CLOSE, MR_M_CONNECTION_CLOSE};
	struct bench b;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		refused = 0;
		flood(&b, 0);
		b.options.curb_refused = on_refused;
		say(&b, i ? 0 : 1,
			(struct mr_method){.id = ends[i],
				.code = 530,
				.failing = MR_M_BASIC_CONSUME,
				.text = mr_slice_str(
					"reached maximum (1) of consumers per channel")});
		feed(&b, 5);
		assert_int_equal(refused, 1);
		finish(&b);
	}
}

static void test_what_else_the_broker_refuses_is_no_refusal_of_it(void **state)
{
	static const uint32_t ends[] = {MR_M_CHANNEL_CLOSE, MR_M_CONNECTION_CLOSE};
	static const struct {
		uint16_t code;
		uint32_t failing;
	} cases[] = {
		{530, 0}, {530, MR_M_QUEUE_DECLARE}, /* the program's own, beside the curb */
		{530, MR_M_BASIC_PUBLISH}, {404, MR_M_BASIC_CONSUME}, /* its queue has gone */
	};
	struct bench b;
	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		refused = 0;
		flood(&b, 0);
		b.options.curb_refused = on_refused;
		say(&b, i % 2 ? 0 : 1,
			(struct mr_method){.id = ends[i % 2],
				.code = cases[i / 2].code,
				.failing = cases[i / 2].failing});
		feed(&b, 5);
		assert_int_equal(refused, 0);
		finish(&b);
	}
}

static void ask_for_another(struct bench *b)
{
	mr_request r = {.operation = MR_BASIC_CONSUME,
		.number = 10,
		.name = mr_slice_str("q"),
		.extra = mr_slice_str("own")};
	mr_session_request(b->s, 1, 6, 1, &r, 10000);
}

/* Of two consumes that are out, the broker refuses the one that it has not answered first. */
static void test_that_the_programs_own_consume_is_refused_beside_it_is_no_refusal_of_it(
	void **state)
{
	struct bench b;
	(void)state;
	for (int is_behind = 0; is_behind < 2; is_behind++) {
		refused = 0;
		start(&b);
		consume(&b, "q", 0);
		b.options.curb_refused = on_refused;
		if (!is_behind) ask_for_another(&b);
		tally->loose = FAR;
		deliver_by(&b, "tag", 1);
		if (is_behind) ask_for_another(&b);
		say(&b, 1,
			(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
				.code = 530,
				.failing = MR_M_BASIC_CONSUME});
		feed(&b, 5);
		assert_int_equal(refused, is_behind);
		finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_that_the_programs_own_consume_is_refused_beside_it_is_no_refusal_of_it),
		cmocka_unit_test(test_another_begins_with_acks_and_prefetch_before_the_first_ends),
		cmocka_unit_test(test_a_first_message_of_usual_bounds_changes_nothing),
		cmocka_unit_test(test_without_acks_what_comes_is_held_and_acked_when_it_is_told),
		cmocka_unit_test(test_with_acks_the_host_settles_as_ever),
		cmocka_unit_test(
			test_a_cancel_is_of_the_one_that_there_is_and_gives_back_what_is_held),
		cmocka_unit_test(test_of_the_brokers_two_cancels_the_host_hears_one),
		cmocka_unit_test(test_what_is_held_goes_with_recover_and_with_the_channel),
		cmocka_unit_test(test_some_cannot_be_curbed_and_go_on_as_they_were),
		cmocka_unit_test(test_large_messages_get_a_small_prefetch),
		cmocka_unit_test(test_one_that_is_cancelled_already_is_not_begun_anew),
		cmocka_unit_test(test_one_whose_queue_is_being_deleted_is_not_begun_anew),
		cmocka_unit_test(test_a_tag_that_has_no_room_for_more_stays),
		cmocka_unit_test(test_a_tag_that_the_program_uses_is_not_taken),
		cmocka_unit_test(test_what_the_first_still_gets_comes_behind_what_is_held),
		cmocka_unit_test(test_an_answer_to_many_leaves_out_what_is_held),
		cmocka_unit_test(test_a_transaction_begins_with_consumers_as_they_were_asked_for),
		cmocka_unit_test(test_so_does_one_before_the_first_consumer_has_ended),
		cmocka_unit_test(test_behind_it_the_tag_of_the_second_consumer_is_free_again),
		cmocka_unit_test(test_before_a_transaction_consumers_have_no_prefetch_again),
		cmocka_unit_test(test_a_transaction_without_memory_for_that_costs_the_connection),
		cmocka_unit_test(
			test_a_queue_of_which_a_second_consumer_would_do_harm_is_left_alone),
		cmocka_unit_test(test_of_queues_it_is_told_how_they_were_declared),
		cmocka_unit_test(test_whether_it_may_be_is_asked_when_it_is_due_and_once),
		cmocka_unit_test(test_that_the_broker_refuses_it_is_told),
		cmocka_unit_test(test_what_else_the_broker_refuses_is_no_refusal_of_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
