/* test_out_of_place: methods and content where they are not due: in the middle of a message, on a channel that is
 * opening or closing, of another class, twice (FIELD R19).
 * Feature: what is out of place, whichever file of a session meets it
 * SPDX-License-Identifier: MIT */
#include "odd_bench.h"

static void say_start_of_a_message(struct bench *b, uint64_t tag)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str("tag"),
			.tag = tag});
	mr_buffer_append(&b->server, "\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\4\0\0\xce", 22);
}

/* FIELD-R19: it is an end all the same, and no other will come. */
static void test_the_end_of_a_channel_is_heard_in_the_middle_of_a_message(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	say_start_of_a_message(&b, 1);
	say(&b, 1,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 406,
			.text = mr_slice_str("PRECONDITION_FAILED")});
	feed(&b, 3);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE_OK);
	assert_int_equal(said(&b, 1), NOTHING);
	event_is(&b, 0, MR_EV_CHANNEL, MR_PRECONDITION_FAILED, 0);
	assert_false(mr_session_has_channel(b.s, 1));
	assert_int_equal(b.stats.violations, 1);
	end(&b);
	ready(&b);
	say_start_of_a_message(&b, 1);
	feed(&b, 3);
	mr_session_channel_close(b.s, 1, 7, 1, 100000);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 4);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 7);
	assert_false(mr_session_has_channel(b.s, 1));
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* FIELD-R19: the consumer that is there is not the one that nobody asked for. */
static void test_a_consumer_that_is_told_twice_is_not_cancelled(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
	clear(&b);
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	feed(&b, 3);
	assert_int_equal(said(&b, 0), NOTHING);
	assert_int_equal(b.stats.violations, 1);
	assert_true(mr_session_has_consumer(b.s, 1, 5));
	end(&b);
}

/* FIELD-R19 */
static void test_content_of_what_means_nothing_is_ignored_whatever_its_class_and_channel(
	void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		/* a method of class 70, its content header of that class, its body */
		{"\1\0\1\0\0\0\4\0\x46\0\x3c\xce"
		 "\2\0\1\0\0\0\x0e\0\x46\0\0\0\0\0\0\0\0\0\1\0\0\xce"
		 "\3\0\1\0\0\0\1x\xce",
			43},
		/* likewise, with a header that is too short to be one of ours */
		{"\1\0\1\0\0\0\4\0\x46\0\x3c\xce"
		 "\2\0\1\0\0\0\4\0\x46\0\0\xce"
		 "\3\0\1\0\0\0\1x\xce",
			33},
		/* on channel 0 */
		{"\1\0\0\0\0\0\4\0\x46\0\x3c\xce"
		 "\2\0\0\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\1\0\0\xce"
		 "\3\0\0\0\0\0\1x\xce",
			43},
		/* connection.update-secret-ok on a channel */
		{"\1\0\1\0\0\0\4\0\x0a\0\x47\xce", 12},
		{"\1\0\1\0\0\0\4\0\x0a\0\x33\xce", 12},   /* connection.close-ok, likewise */
		{"\1\0\0\0\0\0\4\0\x14\0\x29\xce", 12},   /* channel.close-ok on channel 0 */
		{"\1\0\0\0\0\0\4\0\x0a\0\x47\xce", 12},   /* update-secret-ok for nothing */
		{"\1\0\0\0\0\0\5\0\x0a\0\x29\0\xce", 13}, /* a second open-ok */
		{"\1\0\1\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce", 16}, /* channel.open-ok, likewise */
		/* a nack of many up to a publish that never was */
		{"\1\0\1\0\0\0\x0d\0\x3c\0\x78\0\0\0\0\0\0\0\x09\1\xce", 21},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		ready(&b);
		mr_buffer_append(&b.server, cases[i].bytes, cases[i].size);
		feed(&b, 3);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		assert_int_equal(said(&b, 0), NOTHING);
		assert_int_equal(b.stats.violations, 1);
		ask_named(&b, 6, MR_QUEUE_DECLARE, "next", "");
		say_named(&b, MR_M_QUEUE_DECLARE_OK, "next");
		feed(&b, 4);
		event_is(&b, 0, MR_EV_DONE, MR_OK, 6);
		end(&b);
	}
}

/* FIELD-R19: nobody could settle it, as nobody has the channel yet. */
static void test_a_message_before_open_ok_costs_the_channel(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_channel_open(b.s, 2, 102, 2, 100000);
	clear(&b);
	say(&b, 2,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str("tag"),
			.tag = 1});
	mr_frame_put_content(&b.server, 2, mr_slice_of("\0\0", 2), mr_slice_str("body"), FRAME_MAX);
	feed(&b, 3);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE);
	assert_int_equal(b.stats.violations, 1);
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 4);
	assert_false(mr_session_has_channel(b.s, 2));
	assert_int_equal(b.ends[102], 1);
	assert_true(mr_session_has_channel(b.s, 1));
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* FIELD-R19: it is told as nobody's, for the host to give it back. */
static void test_a_message_for_no_consumer_is_told_as_nobodys_and_counted(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	ask_named(&b, 6, MR_BASIC_CANCEL, "t", "");
	deliver_to(&b, 1, "t"); /* on its way */
	say_named(&b, MR_M_BASIC_CANCEL_OK, "t");
	feed(&b, 3);
	assert_int_equal(b.stats.violations, 0);
	clear(&b);
	deliver_to(&b, 2, "t"); /* behind its end */
	deliver_to(&b, 3, "stranger");
	feed(&b, 4);
	assert_int_equal(b.stats.violations, 2);
	event_is(&b, 0, MR_EV_DELIVERY, 0, 0);
	event_is(&b, 1, MR_EV_DELIVERY, 0, 0);
	mr_session_settle(b.s, 1, 1, 2, MR_NACK, MR_SETTLE_REQUEUE);
	assert_int_equal(said(&b, 0), MR_M_BASIC_NACK);
	end(&b);
}

/* FIELD-R19: behind the last number there is no next one. */
static void test_the_last_delivery_tag_of_all_costs_the_channel(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	feed(&b, 3);
	clear(&b);
	deliver_to(&b, UINT64_MAX - 1, "t");
	feed(&b, 3);
	mr_session_settle(b.s, 1, 1, UINT64_MAX - 1, MR_ACK, 0);
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	clear(&b);
	deliver_to(&b, UINT64_MAX, "t");
	feed(&b, 4);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* ---- every method in every phase ---- */

/* OPENING: under a number that was not used before. REOPENING: under one whose past may still come. */
enum phase { OPEN, OPENING, REOPENING, CLOSING, IN_THE_MIDDLE, REFUSED, GONE, PHASES };

static const uint32_t from_a_broker[] = {MR_M_CONNECTION_START, MR_M_CONNECTION_SECURE,
	MR_M_CONNECTION_TUNE, MR_M_CONNECTION_OPEN_OK, MR_M_CONNECTION_CLOSE,
	MR_M_CONNECTION_CLOSE_OK, MR_M_CONNECTION_BLOCKED, MR_M_CONNECTION_UNBLOCKED,
	MR_M_CHANNEL_OPEN_OK, MR_M_CHANNEL_FLOW, MR_M_CHANNEL_CLOSE, MR_M_CHANNEL_CLOSE_OK,
	MR_M_EXCHANGE_DECLARE_OK, MR_M_EXCHANGE_DELETE_OK, MR_M_EXCHANGE_BIND_OK,
	MR_M_EXCHANGE_UNBIND_OK, MR_M_QUEUE_DECLARE_OK, MR_M_QUEUE_BIND_OK, MR_M_QUEUE_PURGE_OK,
	MR_M_QUEUE_DELETE_OK, MR_M_QUEUE_UNBIND_OK, MR_M_BASIC_QOS_OK, MR_M_BASIC_CONSUME_OK,
	MR_M_BASIC_CANCEL, MR_M_BASIC_CANCEL_OK, MR_M_BASIC_RETURN, MR_M_BASIC_DELIVER,
	MR_M_BASIC_GET_OK, MR_M_BASIC_GET_EMPTY, MR_M_BASIC_ACK, MR_M_BASIC_NACK,
	MR_M_BASIC_RECOVER_OK, MR_M_CONFIRM_SELECT_OK, MR_M_TX_SELECT_OK, MR_M_TX_COMMIT_OK,
	MR_M_TX_ROLLBACK_OK};

static bool has_content(uint32_t id)
{
	return id == MR_M_BASIC_RETURN || id == MR_M_BASIC_DELIVER || id == MR_M_BASIC_GET_OK;
}

static void come_to(struct bench *b, enum phase phase)
{
	ready(b);
	if (phase == CLOSING) mr_session_channel_close(b->s, 1, 7, 1, 100000);
	if (phase == IN_THE_MIDDLE) say_start_of_a_message(b, 1);
	if (phase == REFUSED) mr_buffer_append(&b->server, "\3\0\1\0\0\0\1x\xce", 9);
	if (phase == OPENING || phase == REOPENING || phase == GONE) {
		mr_session_channel_close(b->s, 1, 7, 1, 100000);
		say(b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	}
	feed(b, 3);
	if (phase == OPENING) mr_session_channel_open(b->s, 2, 8, 2, 100000);
	if (phase == REOPENING) mr_session_channel_open(b->s, 1, 8, 1, 100000);
	clear(b);
}

/* The broker goes on as one does: it answers our close, and our open if it has not ended the channel. */
static void go_on(struct bench *b, uint16_t number, enum phase phase, uint32_t id)
{
	bool is_closed = id == MR_M_CHANNEL_CLOSE || id == MR_M_CHANNEL_CLOSE_OK;
	bool is_answered = is_closed || id == MR_M_CHANNEL_OPEN_OK;
	if ((phase == OPENING && !is_answered) ||
		(phase == REOPENING && id != MR_M_CHANNEL_OPEN_OK))
		say(b, number, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	bool is_closing = phase == REFUSED || phase == CLOSING || said(b, 0) == MR_M_CHANNEL_CLOSE;
	if (is_closing && id != MR_M_CHANNEL_CLOSE_OK)
		say(b, number, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(b, 5);
}

/* The channel goes on, or its number serves again; the connection lives. */
static void serves_still(struct bench *b, uint16_t number, enum phase phase)
{
	uint32_t epoch = number;
	assert_int_equal(mr_session_state(b->s), MR_SESSION_OPEN);
	if (!mr_session_has_channel(b->s, number)) {
		epoch = 9;
		mr_session_channel_open(b->s, number, 90, epoch, 100000);
		say(b, number, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
		feed(b, 6);
	} else if (phase == IN_THE_MIDDLE) { /* what was ignored left the message whole */
		mr_buffer_append(&b->server, "\3\0\1\0\0\0\4body\xce", 12);
	}
	mr_request r = {.operation = MR_QUEUE_DECLARE, .name = mr_slice_str("q")};
	mr_session_request(b->s, number, 91, epoch, &r, 100000);
	say(b, number, (struct mr_method){.id = MR_M_QUEUE_DECLARE_OK, .name = mr_slice_str("q")});
	feed(b, 6);
	assert_int_equal(b->ends[91], 1);
	event_is(b, b->count - 1, MR_EV_DONE, MR_OK, 91);
	assert_int_equal(mr_session_state(b->s), MR_SESSION_OPEN);
}

static void try_method(enum phase phase, uint32_t id)
{
	struct bench b;
	come_to(&b, phase);
	uint16_t number = phase == OPENING ? 2 : 1;
	mr_table *t = mr_table_new();
	say(&b, number,
		(struct mr_method){.id = id,
			.name = mr_slice_str("n"),
			.other = mr_slice_str("o"),
			.text = mr_slice_str("t"),
			.code = 406,
			.tag = 3,
			.table = t});
	mr_table_free(t);
	if (has_content(id))
		mr_frame_put_content(&b.server, number, mr_slice_of("\0\0", 2),
			mr_slice_str("body"), FRAME_MAX);
	feed(&b, 4);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	go_on(&b, number, phase, id);
	serves_still(&b, number, phase);
	end(&b);
}

/* FIELD-R19: the channel goes on, or ends and its number serves again; the connection lives. */
static void test_no_method_on_a_channel_costs_more_than_it_in_any_phase(void **state)
{
	size_t count = sizeof from_a_broker / sizeof *from_a_broker;
	(void)state;
	for (int phase = 0; phase < PHASES; phase++)
		for (size_t i = 0; i < count; i++) try_method((enum phase)phase, from_a_broker[i]);
}

/* FIELD-R19: likewise, of frames that no method explains, and of content that is not what its header says. */
static void test_no_mess_on_a_channel_costs_more_than_it_in_any_phase(void **state)
{
#define DELIVER "\1\0\1\0\0\0\x10\0\x3c\0\x3c\0\0\0\0\0\0\0\0\1\0\0\0\xce"
#define HEADER_OF_1 "\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\1\0\0\xce"
#define CASE(bytes)                                                                                \
	{                                                                                          \
		bytes, sizeof bytes - 1                                                            \
	}
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		CASE("\3\0\1\0\0\0\1x\xce"),                            /* a body of nothing */
		CASE("\3\0\1\0\0\0\0\xce"),                             /* an empty one */
		CASE(HEADER_OF_1), CASE(DELIVER "\3\0\1\0\0\0\1x\xce"), /* no header */
		CASE(DELIVER HEADER_OF_1 HEADER_OF_1),
		CASE(DELIVER HEADER_OF_1 "\3\0\1\0\0\0\2xx\xce"), /* longer than its header says */
		CASE(DELIVER DELIVER HEADER_OF_1 "\3\0\1\0\0\0\1x\xce"),
		CASE(DELIVER "\2\0\1\0\0\0\x0e\0\x32\0\0\0\0\0\0\0\0\0\1\0\0\xce"), /* class 50 */
		CASE(DELIVER "\2\0\1\0\0\0\2\0\x3c\xce"), /* half a header */
		CASE(DELIVER "\2\0\1\0\0\0\x0e\0\x3c\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\xce"
			     "\3\0\1\0\0\0\1x\xce"
			     "\1\0\1\0\0\0\4\0\x14\0\x29\xce"), /* 2^64-1 bytes, and close-ok */
		CASE("\1\0\1\0\0\0\x0c\0\x3c\0\x3c\1t\0\0\0\0\0\0\xce"), /* half a deliver */
		CASE("\1\0\1\0\0\0\5\0\x3c\0\x1e\1\xce"),                /* half a cancel */
		CASE("\1\0\1\0\0\0\4\0\x14\0\x28\xce"),                  /* half a channel.close */
		CASE("\1\0\1\0\0\0\2\0\x32\xce"),                        /* half an id */
		CASE("\1\0\1\0\0\0\0\xce"),                              /* none */
	};
	(void)state;
	for (int phase = 0; phase < PHASES; phase++)
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			struct bench b;
			char frames[200];
			uint16_t number = phase == OPENING ? 2 : 1;
			if (phase == IN_THE_MIDDLE && i < 2) continue; /* it is of that message */
			come_to(&b, (enum phase)phase);
			memcpy(frames, cases[i].bytes, cases[i].size);
			for (size_t at = 0; at < cases[i].size; at += (uint8_t)frames[at + 6] + 8u)
				frames[at + 2] = (char)number;
			mr_buffer_append(&b.server, frames, cases[i].size);
			feed(&b, 4);
			assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
			if (mr_session_has_channel(b.s, number))
				go_on(&b, number, (enum phase)phase, NOTHING);
			serves_still(&b, number, (enum phase)phase);
			end(&b);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_end_of_a_channel_is_heard_in_the_middle_of_a_message),
		cmocka_unit_test(test_a_consumer_that_is_told_twice_is_not_cancelled),
		cmocka_unit_test(
			test_content_of_what_means_nothing_is_ignored_whatever_its_class_and_channel),
		cmocka_unit_test(test_a_message_before_open_ok_costs_the_channel),
		cmocka_unit_test(test_a_message_for_no_consumer_is_told_as_nobodys_and_counted),
		cmocka_unit_test(test_the_last_delivery_tag_of_all_costs_the_channel),
		cmocka_unit_test(test_no_method_on_a_channel_costs_more_than_it_in_any_phase),
		cmocka_unit_test(test_no_mess_on_a_channel_costs_more_than_it_in_any_phase),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
