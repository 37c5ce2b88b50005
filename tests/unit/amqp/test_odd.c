/* test_odd: a broker that breaks the protocol, and what that costs (FIELD R19, R20).
 * Covers: runtime/amqp/channel_state.c by mr_amqp_channel_enter
 * Covers: runtime/amqp/session_state.c by mr_session_channel_at
 * Covers: runtime/base/machine.c by MR_INTERNAL_ERROR
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "odd_bench.h"

/* ---- a broker that breaks the protocol ---- */

/* FIELD-R19: all of it is ignored and counted, and the channel goes on. */
static void test_what_means_nothing_is_ignored_and_counted(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		int violations;
	} cases[] = {
		{"\1\0\1\0\0\0\4\0\x32\0\x63\xce", 12, 1}, /* no such method */
		{"\1\0\0\0\0\0\4\0\x0a\0\x63\xce", 12, 1}, /* nor of a connection */
		{"\1\0\1\0\0\0\4\0\x3c\0\x28\xce"          /* basic.publish, with content */
		 "\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\1\0\0\xce"
		 "\3\0\1\0\0\0\1x\xce",
			43, 1},
		/* queue.declare-ok of "q", basic.cancel-ok of "t": they say that they are nobody's */
		{"\1\0\1\0\0\0\x0e\0\x32\0\x0b\1q\0\0\0\0\0\0\0\0\xce", 22, 1},
		{"\1\0\1\0\0\0\6\0\x3c\0\x1f\1t\xce", 14, 1},
		{"\1\0\0\0\0\0\4\0\x0a\0\x33\xce", 12, 1}, /* connection.close-ok for nothing */
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		ready(&b);
		mr_buffer_append(&b.server, cases[i].bytes, cases[i].size);
		feed(&b, 3);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		assert_int_equal(said(&b, 0), NOTHING);
		assert_int_equal(b.stats.violations, cases[i].violations);
		ask_named(&b, 6, MR_QUEUE_DECLARE, "next", "");
		say_named(&b, MR_M_QUEUE_DECLARE_OK, "next");
		feed(&b, 4);
		event_is(&b, 0, MR_EV_DONE, MR_OK, 6);
		end(&b);
	}
}

/* FIELD-R19 */
static void test_confirms_of_unknown_publishes_are_ignored_and_counted(void **state)
{
	struct mr_publish p = {.properties = mr_slice_of("\0\0", 2), .number = 1, .epoch = 1};
	struct mr_method ack = {.id = MR_M_BASIC_ACK};
	struct bench b;
	(void)state;
	ready(&b);
	ack.tag = 1;
	say(&b, 1, ack); /* not in confirm mode */
	feed(&b, 3);
	assert_int_equal(b.stats.violations, 1);
	ask(&b, 5, MR_CONFIRM_SELECT, 0);
	say(&b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	feed(&b, 3);
	p.deadline = 9000;
	mr_session_publish(b.s, 1, &p);
	clear(&b);
	for (int multiple = 0; multiple < 2; multiple++) {
		ack.tag = 7;
		ack.flags = (uint32_t)multiple;
		say(&b, 1, ack);
	}
	feed(&b, 4);
	assert_int_equal(b.stats.violations, 3);
	assert_int_equal(b.count, 0); /* nothing is told as acked by it */
	ack.tag = 1;
	ack.flags = 0;
	say(&b, 1, ack);
	feed(&b, 5);
	event_is(&b, 0, MR_EV_CONFIRM, MR_OK, 1);
	end(&b);
}

/* FIELD-R19 */
static void test_a_gap_in_delivery_tags_costs_nothing(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	deliver_to(&b, 1, "t");
	deliver_to(&b, 5, "t");
	feed(&b, 3);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.stats.violations, 1);
	clear(&b);
	mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0);
	mr_session_settle(b.s, 1, 1, 5, MR_ACK, 0);
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	assert_int_equal(said(&b, 1), MR_M_BASIC_ACK); /* each alone */
	end(&b);
}

/* FIELD-R19 */
static void test_a_consumer_that_nobody_asked_for_is_cancelled(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	say_named(&b, MR_M_BASIC_CONSUME_OK, "stranger");
	feed(&b, 3);
	assert_int_equal(said(&b, 0), MR_M_BASIC_CANCEL);
	assert_int_equal(b.stats.violations, 1);
	end(&b);
}

/* FIELD-R19: what cannot be passed over costs its channel, and no other. */
static void test_a_mess_on_a_channel_costs_that_channel(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		int kind;
	} cases[] = {
		{"\1\0\1\0\0\0\4\0\x32\0\x0b\xce", 12, MR_FRAME_ERROR},     /* half a declare-ok */
		{"\1\0\1\0\0\0\2\0\x32\xce", 10, MR_FRAME_ERROR},           /* half a method id */
		{"\1\0\1\0\0\0\4\0\x32\0\x15\xce", 12, MR_COMMAND_INVALID}, /* a bind-ok too many */
		{"\3\0\1\0\0\0\1x\xce", 9, MR_UNEXPECTED_FRAME},            /* a body of nothing */
		{"\2\0\1\0\0\0\1x\xce", 9, MR_FRAME_ERROR},                 /* half a header */
		{"\1\0\1\0\0\0\x13\0\x3c\0\x47\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\xce", 27,
			MR_COMMAND_INVALID}, /* a got message that nobody asked for */
		{"\1\0\1\0\0\0\x10\0\x3c\0\x3c\0\0\0\0\0\0\0\0\1\0\0\0\xce"
		 "\1\0\1\0\0\0\4\0\x32\0\x15\xce",
			36, MR_UNEXPECTED_FRAME}, /* a method in the middle of a message */
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench b;
		ready(&b);
		open_channel(&b, 2);
		feed(&b, 3);
		clear(&b);
		ask_named(&b, 5, MR_QUEUE_DECLARE, "q", "");
		clear(&b);
		mr_buffer_append(&b.server, cases[i].bytes, cases[i].size);
		feed(&b, 3);
		assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE);
		assert_int_equal(b.stats.violations, 1);
		assert_int_equal(b.count, 0);
		deliver(&b, 9, "of the past");
		say_named(&b, MR_M_QUEUE_DECLARE_OK, "q");
		say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
		feed(&b, 4);
		event_is(&b, 0, MR_EV_CHANNEL, cases[i].kind, 0);
		event_is(&b, 1, MR_EV_DONE, cases[i].kind, 5);
		assert_false(mr_session_has_channel(b.s, 1));
		assert_true(mr_session_has_channel(b.s, 2));
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		end(&b);
	}
}

/* FIELD-R19 */
static void test_a_channel_that_the_broker_takes_for_closed_ends(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 3);
	event_is(&b, 0, MR_EV_CHANNEL, MR_COMMAND_INVALID, 0);
	assert_int_equal(said(&b, 0), NOTHING); /* it is closed already */
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* FIELD-R19: a message for it would be stuck, and there is no channel to close. */
static void test_a_frame_on_a_channel_that_is_not_open_costs_the_connection(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	say(&b, 7, (struct mr_method){.id = MR_M_QUEUE_BIND_OK});
	feed(&b, 3);
	assert_int_equal(mr_session_error(b.s)->kind, MR_CHANNEL_ERROR);
	assert_int_equal(mr_session_error(b.s)->code, 504);
	end(&b);
}

/* FIELD-R19: the last resort. */
static void test_a_broker_that_does_not_even_close_the_channel_loses_the_connection(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_buffer_append(&b.server, "\3\0\1\0\0\0\1x\xce", 9);
	feed(&b, 3);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_CLOSE);
	for (mr_msec now = 1000; now < 5003; now += 1000) pass(&b, now);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	pass(&b, 5003);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	assert_int_equal(mr_session_error(b.s)->kind, MR_UNEXPECTED_FRAME);
	end(&b);
}

/* FIELD-R20: in every build, and it costs the connection, not the process. */
static void test_an_illegal_move_ends_the_session_and_names_both_states(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_amqp_channel_enter(mr_session_channel_at(b.s, 1), MR_CH_OPENING);
	assert_int_equal(mr_session_channel_at(b.s, 1)->state, MR_CH_OPEN);
	mr_session_flush(b.s);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	assert_int_equal(mr_session_error(b.s)->kind, MR_INTERNAL_ERROR);
	assert_non_null(strstr(mr_session_error(b.s)->text, "from OPEN to OPENING"));
	end(&b);
	ready(&b);
	mr_session_start(b.s, 3); /* once more: from OPEN to HANDSHAKE */
	mr_session_tick(b.s, 4, true);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	assert_non_null(
		strstr(mr_session_error(b.s)->text, "session would move from OPEN to HANDSHAKE"));
	end(&b);
}

/* FIELD-R20: every pair of states: it moves, or it stays and both names are noted; `moves` have a 1 for each that it may. */
static void check_moves(const char *what, const char *const *names, int count, const char *moves,
	int (*move)(struct bench *b, int from, int to))
{
	for (int from = 0; from < count; from++)
		for (int to = 0; to < count; to++) {
			struct bench b;
			char words[80];
			ready(&b);
			int is = move(&b, from, to);
			bool may = moves[from * count + to] == '1';
			assert_int_equal(is, may ? to : from);
			assert_int_equal(mr_error_kept(b.s->outlet.fault)->kind,
				may ? MR_OK : MR_INTERNAL_ERROR);
			snprintf(words, sizeof words, "%s would move from %s to %s", what,
				names[from], names[to]);
			assert_int_equal(strstr(mr_error_kept(b.s->outlet.fault)->text, words) !=
						 NULL,
				!may);
			b.s->state = MR_SESSION_OPEN;
			mr_session_channel_at(b.s, 1)->state = MR_CH_OPEN;
			end(&b);
		}
}

static int move_channel(struct bench *b, int from, int to)
{
	struct mr_amqp_channel *ch = mr_session_channel_at(b->s, 1);
	ch->state = (enum mr_channel_state)from;
	mr_amqp_channel_enter(ch, (enum mr_channel_state)to);
	return (int)ch->state;
}

static int move_session(struct bench *b, int from, int to)
{
	b->s->state = (enum mr_session_state)from;
	mr_session_enter(b->s, (enum mr_session_state)to);
	return (int)b->s->state;
}

static void test_of_every_pair_of_states_the_moves_that_may_be_are_made(void **state)
{
	static const char *const of_channel[] = {"CLOSED", "OPENING", "OPEN", "CLOSING"};
	static const char *const of_session[] = {"IDLE", "HANDSHAKE", "OPEN", "CLOSING", "CLOSED"};
	(void)state;
	check_moves("channel", of_channel, MR_CH_COUNT,
		"0100"
		"1011"
		"1001"
		"1000",
		move_channel);
	check_moves("session", of_session, MR_SESSION_STATE_COUNT,
		"01001"
		"00101"
		"00011"
		"00001"
		"00000",
		move_session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_means_nothing_is_ignored_and_counted),
		cmocka_unit_test(test_confirms_of_unknown_publishes_are_ignored_and_counted),
		cmocka_unit_test(test_a_gap_in_delivery_tags_costs_nothing),
		cmocka_unit_test(test_a_consumer_that_nobody_asked_for_is_cancelled),
		cmocka_unit_test(test_a_mess_on_a_channel_costs_that_channel),
		cmocka_unit_test(test_a_frame_on_a_channel_that_is_not_open_costs_the_connection),
		cmocka_unit_test(test_a_channel_that_the_broker_takes_for_closed_ends),
		cmocka_unit_test(
			test_a_broker_that_does_not_even_close_the_channel_loses_the_connection),
		cmocka_unit_test(test_an_illegal_move_ends_the_session_and_names_both_states),
		cmocka_unit_test(test_of_every_pair_of_states_the_moves_that_may_be_are_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
