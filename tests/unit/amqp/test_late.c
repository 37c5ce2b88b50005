/* test_late: answers that are matched by what they carry, and answers that come too late (FIELD R2, R11, R23).
 * Covers: runtime/amqp/outlet.c by violations
 * Covers: runtime/amqp/pending.c by MR_M_EXCHANGE_UNBIND_OK
 * Covers: runtime/amqp/session_requests.c by mr_session_settle
 * SPDX-License-Identifier: MIT */
#include "odd_bench.h"

/* ---- answers by what they carry ---- */

/* FIELD-R2 */
static void test_answers_find_their_question_in_any_order(void **state)
{
	static const struct {
		int operation;
		uint32_t answer;
		const char *names[3], *extras[3];
		const char *carried[3];
	} cases[] = {
		{MR_BASIC_CONSUME, MR_M_BASIC_CONSUME_OK, {"q", "amq.rabbitmq.reply-to", "q"},
			{"a", "b", "c"}, {"a", "b", "c"}},
		{MR_BASIC_CANCEL, MR_M_BASIC_CANCEL_OK, {"", "", ""}, {"a", "b", "c"},
			{"a", "b", "c"}},
		{MR_QUEUE_DECLARE, MR_M_QUEUE_DECLARE_OK, {"x", "", "y\r\n"}, {"", "", ""},
			{"x", "amq.gen-1", "y"}},
	};
	static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1},
		{2, 1, 0}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t k = 0; k < 6; k++) {
			struct bench b;
			ready(&b);
			for (uint64_t n = 0; n < 3; n++)
				ask_named(&b, 5 + n, cases[i].operation, cases[i].names[n],
					cases[i].extras[n]);
			for (int n = 0; n < 3; n++)
				say_named(&b, cases[i].answer, cases[i].carried[orders[k][n]]);
			feed(&b, 3);
			assert_int_equal(b.count, 3);
			for (int n = 0; n < 3; n++)
				event_is(&b, n, MR_EV_DONE, MR_OK, (uint64_t)(5 + orders[k][n]));
			assert_int_equal(b.stats.violations, 0);
			end(&b);
		}
	}
}

/* FIELD-R2 */
static void test_a_tag_under_way_is_not_asked_for_twice(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "a");
	clear(&b);
	ask_named(&b, 6, MR_BASIC_CONSUME, "q", "a"); /* RabbitMQ would close the connection: 530 */
	event_is(&b, 0, MR_EV_DONE, MR_NOT_ALLOWED, 6);
	assert_int_equal(said(&b, 0), 0);
	end(&b);
}

/* ---- late answers ---- */

/* FIELD-R11: for each request what its late answer is, and what undoes it. */
static const struct late {
	int operation;
	uint32_t answer;
	const char *name, *extra, *carried;
	uint32_t undone_by;
	int told; /* to the engine alone */
} lates[] = {
	{MR_EXCHANGE_DECLARE, MR_M_EXCHANGE_DECLARE_OK, "x", "direct", "", NOTHING, 0},
	{MR_EXCHANGE_DELETE, MR_M_EXCHANGE_DELETE_OK, "x", "", "", NOTHING, 1},
	{MR_EXCHANGE_BIND, MR_M_EXCHANGE_BIND_OK, "x", "y", "", NOTHING, 0},
	{MR_EXCHANGE_UNBIND, MR_M_EXCHANGE_UNBIND_OK, "x", "y", "", NOTHING, 1},
	{MR_QUEUE_DECLARE, MR_M_QUEUE_DECLARE_OK, "q", "", "q", NOTHING, 0},
	{MR_QUEUE_DECLARE, MR_M_QUEUE_DECLARE_OK, "", "", "amq.gen-1", MR_M_QUEUE_DELETE, 0},
	{MR_QUEUE_BIND, MR_M_QUEUE_BIND_OK, "q", "y", "", NOTHING, 0},
	{MR_QUEUE_UNBIND, MR_M_QUEUE_UNBIND_OK, "q", "y", "", NOTHING, 1},
	{MR_QUEUE_PURGE, MR_M_QUEUE_PURGE_OK, "q", "", "", NOTHING, 0},
	{MR_QUEUE_DELETE, MR_M_QUEUE_DELETE_OK, "q", "", "", NOTHING, 1},
	{MR_BASIC_QOS, MR_M_BASIC_QOS_OK, "", "", "", NOTHING, 0},
	{MR_BASIC_CONSUME, MR_M_BASIC_CONSUME_OK, "q", "t", "t", MR_M_BASIC_CANCEL, 0},
	{MR_BASIC_CANCEL, MR_M_BASIC_CANCEL_OK, "", "t", "t", NOTHING, 0},
	{MR_BASIC_GET, MR_M_BASIC_GET_EMPTY, "q", "", "", NOTHING, 0},
	{MR_BASIC_GET, MR_M_BASIC_GET_OK, "q", "", "", MR_M_BASIC_NACK, 0},
	{MR_BASIC_RECOVER, MR_M_BASIC_RECOVER_OK, "", "", "", NOTHING, 0},
	{MR_CONFIRM_SELECT, MR_M_CONFIRM_SELECT_OK, "", "", "", NOTHING, 0},
	{MR_TX_SELECT, MR_M_TX_SELECT_OK, "", "", "", NOTHING, 0},
	{MR_TX_COMMIT, MR_M_TX_COMMIT_OK, "", "", "", NOTHING, 0},
	{MR_TX_ROLLBACK, MR_M_TX_ROLLBACK_OK, "", "", "", NOTHING, 0},
};

static void say_late(struct bench *b, const struct late *l)
{
	say(b, 1, (struct mr_method){.id = l->answer, .name = mr_slice_str(l->carried), .tag = 1});
	if (l->answer == MR_M_BASIC_GET_OK)
		mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_str("late"),
			FRAME_MAX);
}

static size_t waiting(const struct bench *b)
{
	size_t count = 0;
	const struct mr_amqp_channel *ch = mr_session_channel_at(b->s, 1);
	for (const struct mr_node *n = ch->pending.all.next; n != &ch->pending.all; n = n->next)
		count++;
	return count;
}

/* FIELD-R11 */
static void test_a_late_answer_is_undone_or_ignored(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lates / sizeof *lates; i++) {
		const struct late *l = &lates[i];
		struct bench b;
		ready(&b);
		listen_for_late(&b);
		ask_named(&b, 5, l->operation, l->name, l->extra);
		pass(&b, 10000);
		event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
		clear(&b);
		say_late(&b, l);
		feed(&b, 10001);
		mr_session_flush(b.s);
		/* Late or not, the host must know which deliveries recover took back. */
		assert_int_equal(b.count, l->operation == MR_BASIC_RECOVER);
		if (b.count) assert_int_equal(b.types[0], MR_EV_CHANNEL);
		assert_int_equal(lates_told, l->told);
		if (l->told) assert_int_equal(late_token, 5);
		assert_int_equal(said(&b, 0), l->undone_by);
		assert_int_equal(b.stats.violations, 0);
		if (l->undone_by == MR_M_BASIC_CANCEL) say_named(&b, MR_M_BASIC_CANCEL_OK, "t");
		if (l->undone_by == MR_M_QUEUE_DELETE) say_named(&b, MR_M_QUEUE_DELETE_OK, "");
		clear(&b);
		ask_named(&b, 6, MR_QUEUE_DECLARE, "next", "");
		say_named(&b, MR_M_QUEUE_DECLARE_OK, "next");
		feed(&b, 10002);
		event_is(&b, 0, MR_EV_DONE, MR_OK, 6);
		assert_int_equal(waiting(&b), 0);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		end(&b);
	}
}

/* FIELD-R11: what is never answered does not wait for ever, nor take the answer of the next one. */
static void test_what_is_never_answered_is_dropped_by_an_answer_behind_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lates / sizeof *lates; i++) {
		const struct late *l = &lates[i];
		bool is_queues =
			l->operation == MR_BASIC_CONSUME || l->operation == MR_BASIC_CANCEL;
		struct bench b;
		ready(&b);
		ask_named(&b, 5, l->operation, l->name, l->extra);
		pass(&b, 10000);
		for (uint64_t n = 0; n < 3; n++) {
			mr_request r = {.operation = MR_QUEUE_DECLARE,
				.name = mr_slice_str("next")};
			mr_session_request(b.s, 1, 6 + n, 1, &r, 90000);
			say_named(&b, MR_M_QUEUE_DECLARE_OK, "next");
			feed(&b, 10001);
			assert_int_equal(b.ends[6 + n], 1);
		}
		assert_int_equal(waiting(&b), is_queues);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		end(&b);
	}
}

/* FIELD-R11 */
static void test_a_cancel_that_was_late_is_waited_for_anew(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	for (uint64_t token = 5; token <= 8; token++) {
		mr_request r = {.operation = MR_BASIC_CANCEL, .extra = mr_slice_str("t")};
		mr_session_request(b.s, 1, token, 1, &r, (mr_msec)token * 1000);
		if (token < 8) pass(&b, (mr_msec)token * 1000);
	}
	assert_int_equal(waiting(&b), 1);
	assert_int_equal(said(&b, 0), MR_M_BASIC_CANCEL);
	assert_int_equal(said(&b, 1), NOTHING);
	say_named(&b, MR_M_BASIC_CANCEL_OK, "t");
	feed(&b, 7001);
	for (int token = 5; token <= 8; token++) assert_int_equal(b.ends[token], 1);
	event_is(&b, 3, MR_EV_DONE, MR_OK, 8);
	end(&b);
}

/* FIELD-R11 */
static void test_a_late_secret_does_not_cost_the_connection(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	mr_session_update_secret(b.s, 5, mr_slice_str("s1"), 1000);
	pass(&b, 1000);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	mr_session_update_secret(b.s, 6, mr_slice_str("s2"), 9000);
	mr_buffer_append(&b.server, "\1\0\0\0\0\0\4\0\x0a\0\x47\xce", 12);
	feed(&b, 1001);
	assert_int_equal(b.ends[6], 0); /* that was the first one's */
	mr_buffer_append(&b.server, "\1\0\0\0\0\0\4\0\x0a\0\x47\xce", 12);
	feed(&b, 1002);
	event_is(&b, 1, MR_EV_DONE, MR_OK, 6);
	mr_buffer_append(&b.server, "\1\0\0\0\0\0\4\0\x0a\0\x47\xce", 12);
	feed(&b, 1003);
	assert_int_equal(b.stats.violations, 1);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	end(&b);
}

/* It costs the connection; who waits for the secret is told. */
static void test_a_secret_without_memory_is_answered(void **state)
{
	static char secret[100000];
	struct bench b;
	(void)state;
	ready(&b);
	mr_alloc_fail_nth(1);
	mr_session_update_secret(b.s, 5, mr_slice_of(secret, sizeof secret), 1000);
	mr_alloc_fail_nth(0);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_CLOSED);
	event_is(&b, 0, MR_EV_DONE, MR_NO_MEMORY, 5);
	assert_int_equal(b.ends[5], 1);
	end(&b);
}

/* FIELD-R11: the number is told to be free, and whoever wants it before waits for it. */
static void test_a_late_close_lets_the_number_go(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	listen_for_late(&b);
	mr_session_channel_close(b.s, 1, 5, 1, 1000);
	pass(&b, 1000);
	event_is(&b, 0, MR_EV_DONE, MR_TIMEOUT, 5);
	mr_session_channel_open(b.s, 1, 6, 7, 2000);
	pass(&b, 2000);
	event_is(&b, 1, MR_EV_DONE, MR_TIMEOUT, 6);
	mr_session_channel_open(b.s, 1, 8, 9, 90000);
	clear(&b);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	feed(&b, 2001);
	assert_true(lates_told == 1 && late_token == MR_TOKEN_NONE);
	assert_int_equal(said(&b, 0), MR_M_CHANNEL_OPEN);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	feed(&b, 2002);
	event_is(&b, 0, MR_EV_DONE, MR_OK, 8);
	end(&b);
}

/* FIELD-R11 */
static void test_an_open_that_waits_for_its_number_ends_once_whatever_comes(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct bench b;
		ready(&b);
		mr_session_channel_open(b.s, 2, 5, 5, 1000);
		pass(&b, 1000);
		mr_session_channel_open(b.s, 2, 6, 6, 90000); /* behind the late one */
		if (how == 0) mr_session_channel_close(b.s, 2, 7, 6, 90000);
		if (how == 1) say(&b, 2, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
		if (how == 1) feed(&b, 1001);
		if (how == 2) pass(&b, 90000);
		end(&b); /* the connection goes */
		assert_int_equal(b.ends[5], 1);
		assert_int_equal(b.ends[6], 1);
		assert_int_equal(b.ends[7], how == 0);
	}
}

/* FIELD-R23: the broker has taken them back: 406 for each. */
static void test_nothing_is_settled_between_recover_and_its_answer(void **state)
{
	struct bench b;
	(void)state;
	ready(&b);
	ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
	say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
	for (uint64_t t = 1; t <= 3; t++) deliver_to(&b, t, "t");
	feed(&b, 3);
	clear(&b);
	mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0);
	ask_named(&b, 6, MR_BASIC_RECOVER, "", "");
	mr_session_settle(b.s, 1, 1, 2, MR_ACK, 0);
	mr_session_settle(b.s, 1, 1, 3, MR_NACK, MR_SETTLE_REQUEUE);
	deliver_to(&b, 4, "t"); /* crossed */
	feed(&b, 4);
	mr_session_settle(b.s, 1, 1, 4, MR_ACK, MR_SETTLE_MULTIPLE);
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK); /* of before */
	assert_int_equal(said(&b, 1), MR_M_BASIC_RECOVER);
	assert_int_equal(said(&b, 2), NOTHING);
	say_named(&b, MR_M_BASIC_RECOVER_OK, "");
	deliver_to(&b, 5, "t");
	feed(&b, 5);
	clear(&b);
	mr_session_settle(b.s, 1, 1, 4, MR_ACK, 0);
	mr_session_settle(b.s, 1, 1, 5, MR_ACK, 0);
	mr_session_flush(b.s);
	assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
	assert_int_equal(said(&b, 1), NOTHING);
	end(&b);
}

/* FIELD-R23: which a broker never answers that answers what was asked behind it. Whatever it took back was of before
 * then; what comes with that answer, and later, is ours and is settled. */
static void test_a_recover_that_is_never_answered_ends_with_an_answer_behind_it(void **state)
{
	(void)state;
	for (int way = 0; way < 6; way++) {
		int recovers = 1 + way % 3;
		bool got = way >= 3;
		struct bench b;
		ready(&b);
		ask_named(&b, 5, MR_BASIC_CONSUME, "q", "t");
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_QOS_OK});
		say_named(&b, MR_M_BASIC_CONSUME_OK, "t");
		deliver_to(&b, 1, "t");
		feed(&b, 3);
		for (int n = 0; n < recovers; n++)
			ask_named(&b, 10 + (uint64_t)n, MR_BASIC_RECOVER, "", "");
		pass(&b, 10000);
		clear(&b);
		mr_request r = {.operation = got ? MR_BASIC_GET : MR_QUEUE_PURGE,
			.name = mr_slice_str("q")};
		mr_session_request(b.s, 1, 20, 1, &r, 90000);
		say(&b, 1,
			(struct mr_method){.id = got ? MR_M_BASIC_GET_OK : MR_M_QUEUE_PURGE_OK,
				.tag = 2});
		if (got)
			mr_frame_put_content(&b.server, 1, mr_slice_of("\0\0", 2),
				mr_slice_str("got"), FRAME_MAX);
		else
			deliver_to(&b, 2, "t");
		feed(&b, 10001);
		mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
		for (int n = 0; n < recovers; n++) { /* for each: the host counts them */
			event_is(&b, n, MR_EV_CHANNEL, MR_OK, 0);
			assert_int_equal(b.lasts[n], 1);
		}
		event_is(&b, recovers, MR_EV_DONE, MR_OK, 20);
		mr_session_settle(b.s, 1, 1, 1, MR_ACK, 0);
		mr_session_settle(b.s, 1, 1, 2, MR_ACK, 0);
		mr_session_flush(b.s);
		assert_int_equal(said(&b, 0), MR_M_BASIC_ACK);
		assert_int_equal(said(&b, 1), NOTHING);
		end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_find_their_question_in_any_order),
		cmocka_unit_test(test_a_tag_under_way_is_not_asked_for_twice),
		cmocka_unit_test(test_a_late_answer_is_undone_or_ignored),
		cmocka_unit_test(test_what_is_never_answered_is_dropped_by_an_answer_behind_it),
		cmocka_unit_test(test_a_cancel_that_was_late_is_waited_for_anew),
		cmocka_unit_test(test_a_late_secret_does_not_cost_the_connection),
		cmocka_unit_test(test_a_secret_without_memory_is_answered),
		cmocka_unit_test(test_a_late_close_lets_the_number_go),
		cmocka_unit_test(test_an_open_that_waits_for_its_number_ends_once_whatever_comes),
		cmocka_unit_test(test_nothing_is_settled_between_recover_and_its_answer),
		cmocka_unit_test(
			test_a_recover_that_is_never_answered_ends_with_an_answer_behind_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
