/* test_turn: a turn is bounded by work, and memory by its limit, whatever a client does.
 * Covers: runtime/broker/client/broker.c by mr_broker_check_memory
 * Covers: runtime/broker/client/chore.c by mr_raze_queue
 * Covers: runtime/broker/client/declare.c by MR_M_EXCHANGE_DELETE
 * Covers: runtime/broker/client/publish.c by MR_M_TX_ROLLBACK_OK
 * Covers: runtime/broker/store/spread.c by queues
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

enum { MANY = 8000, STEPS = 250, SLACK = 300 };

struct stage {
	long before;
	struct mr_broker *b;
	struct client c, other;
};

static void begin(struct stage *t)
{
	t->before = mr_alloc_live();
	t->b = new_broker();
	ready(&t->c, t->b);
	ready(&t->other, t->b);
}

static void end(struct stage *t)
{
	mr_turn_begin(t->b, MR_WORK_UNBOUNDED);
	leave(&t->c);
	leave(&t->other);
	mr_turn_resume(t->b);
	assert_int_equal(t->b->store.memory, 0);
	mr_turn_finish(t->b);
	mr_broker_close(t->b);
	assert_int_equal(mr_alloc_live(), t->before);
}

static void fill(struct stage *t, const char *queue, int count)
{
	for (int i = 0; i < count; i++) {
		publish(&t->c, 1, "", queue, 0, NULL, BODY);
		if (i % 1000 == 999) feed(&t->c);
	}
	feed(&t->c);
	assert_int_equal(queue_of(t->b, queue)->ready, count);
}

/* One turn with what the client has said: how much was done. */
static uint64_t turn(struct stage *t)
{
	uint64_t before = t->b->store.work;
	mr_turn_begin(t->b, STEPS);
	feed(&t->c);
	return t->b->store.work - before;
}

/* All turns up to the end of it. Each is bounded; returns how many there were. */
static int turns(struct stage *t)
{
	int count = 0;
	for (bool more = true; more; count++) {
		uint64_t before = t->b->store.work;
		mr_turn_begin(t->b, STEPS);
		mr_turn_tick(t->b);
		more = mr_turn_resume(t->b);
		if (mr_buffer_size(&t->c.in)) {
			mr_turn_begin(t->b, STEPS);
			feed(&t->c);
			more = true;
		}
		assert_true(t->b->store.work - before <= 2 * (STEPS + SLACK));
		hush(&t->c);
		hush(&t->other);
	}
	return count;
}

/* FIELD-F11. */
static void test_a_turn_ends_by_work_and_the_rest_of_what_was_said_waits(void **state)
{
	struct stage t;
	char name[16];
	(void)state;
	begin(&t);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "q%d", i);
		QUEUE_DECLARE(&t.c, 1, name, 0, NULL);
		QUEUE_BIND(&t.c, 1, name, "amq.fanout", "", NULL);
	}
	feed(&t.c);
	for (int i = 0; i < 1000; i++) publish(&t.c, 1, "amq.fanout", "", 0, NULL, BODY);
	assert_true(turn(&t) <= STEPS + SLACK);
	assert_true(mr_buffer_size(&t.c.in) > 0);
	assert_true(queue_of(t.b, "q0")->ready < 1000);
	assert_true(turns(&t) > 20);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "q%d", i);
		assert_int_equal(queue_of(t.b, name)->ready, 1000);
		mr_raze_queue(queue_of(t.b, name));
	}
	end(&t);
}

/* FIELD-F11. */
static void test_a_purge_and_a_delete_free_over_many_turns(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	for (int i = 0; i < 3; i++) {
		mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
		QUEUE_DECLARE(&t.c, 1, "q", i == 2 ? 4 : 0, NULL); /* the last is exclusive */
		feed(&t.c);
		fill(&t, "q", MANY);
		hush(&t.c);
		if (i == 0) say(&t.c, 1, MR_M_QUEUE_PURGE, "wso", "q", 0);
		if (i == 1) say(&t.c, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
		if (i == 2) say(&t.c, 0, MR_M_CONNECTION_CLOSE, "wsww", "", 0, 0);
		assert_true(turn(&t) <= STEPS + SLACK);
		HEARS(&t.c, i == 0   ? MR_M_QUEUE_PURGE_OK
			    : i == 1 ? MR_M_QUEUE_DELETE_OK
				     : MR_M_CONNECTION_CLOSE_OK); /* at once all the same */
		assert_true(i || queue_of(t.b, "q")->ready == 0);
		assert_true(t.b->store.memory > MANY * sizeof(struct mr_entry) / 2);
		assert_true(turns(&t) > 20);
		assert_int_equal(t.b->store.memory, 0);
		if (i == 0) mr_raze_queue(queue_of(t.b, "q"));
	}
	end(&t);
}

/* Declares the queue "dead"; the arguments of one whose messages go there after 1000 ms. */
static mr_table *declare_dead(struct stage *t)
{
	mr_table *args = new_table();
	add_text(args, "x-dead-letter-exchange", "");
	add_text(args, "x-dead-letter-routing-key", "dead");
	add_number(args, "x-message-ttl", 1000);
	QUEUE_DECLARE(&t->c, 1, "dead", 0, NULL);
	return args;
}

/* FIELD-F11. */
static void test_many_messages_that_expire_at_once_die_over_many_turns(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	mr_table *args = declare_dead(&t);
	QUEUE_DECLARE(&t.c, 1, "q", 0, args);
	feed(&t.c);
	fill(&t, "q", 2000);
	t.b->store.now += 1000;
	assert_true(turns(&t) > 20);
	while (mr_deadline_next(&t.b->store) <= t.b->store.now) turns(&t);
	assert_int_equal(queue_of(t.b, "q")->ready, 0);
	assert_int_equal(queue_of(t.b, "dead")->ready, 2000);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	mr_raze_queue(queue_of(t.b, "dead"));
	mr_table_free(args);
	end(&t);
}

/* FIELD-F11: a queue that stopped delivering because the turn was over goes on by itself. */
static void test_deliveries_go_on_in_the_next_turn(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
	feed(&t.c);
	fill(&t, "q", 5000);
	CONSUME(&t.other, 1, "q", "t", 2, NULL);
	mr_turn_begin(t.b, STEPS);
	feed(&t.other);
	assert_true(queue_of(t.b, "q")->ready > 0);
	turns(&t);
	assert_int_equal(queue_of(t.b, "q")->ready, 0);
	end(&t);
}

/* A channel that has got so many of a queue, unsettled. */
static void take_all(struct stage *t, int count)
{
	mr_turn_begin(t->b, MR_WORK_UNBOUNDED);
	QUEUE_DECLARE(&t->c, 1, "q", 0, NULL);
	feed(&t->c);
	fill(t, "q", count);
	CHANNEL_OPEN(&t->c, 2);
	CONSUME(&t->c, 2, "q", "t", 0, NULL);
	feed(&t->c);
	while (queue_of(t->b, "q")->ready) hush(&t->c);
	hush(&t->c);
}

static void check_order(const struct mr_queue *q)
{
	uint64_t before = 0;
	for (struct mr_node *n = q->levels[0].next; n != &q->levels[0]; n = n->next) {
		const struct mr_entry *e = mr_container(n, struct mr_entry, node);
		assert_true(n == q->levels[0].next || e->position > before);
		before = e->position;
	}
}

enum ending { ACK_MANY, NACK_MANY, CLOSE_CHANNEL, CLOSE_CONNECTION, HANG_UP, FAIL, ENDINGS };

static void end_by(struct stage *t, enum ending how)
{
	switch (how) {
	case ACK_MANY: ACK(&t->c, 2, MANY, 1); break;
	case NACK_MANY: NACK(&t->c, 2, MANY, 3); break;
	case CLOSE_CHANNEL: CHANNEL_CLOSE(&t->c, 2); break;
	case CLOSE_CONNECTION: say(&t->c, 0, MR_M_CONNECTION_CLOSE, "wsww", "", 0, 0); break;
	case FAIL: GET(&t->c, 2, "no such queue", 0); break;
	default: break;
	}
	if (how != HANG_UP) return;
	mr_turn_begin(t->b, STEPS);
	leave(&t->c);
}

/* FIELD-F11. */
static void test_many_deliveries_are_settled_over_many_turns(void **state)
{
	static const uint32_t answers[ENDINGS] = {[CLOSE_CHANNEL] = MR_M_CHANNEL_CLOSE_OK,
		[CLOSE_CONNECTION] = MR_M_CONNECTION_CLOSE_OK,
		[FAIL] = MR_M_CHANNEL_CLOSE};
	(void)state;
	for (enum ending how = 0; how < ENDINGS; how++) {
		struct stage t;
		begin(&t);
		take_all(&t, MANY);
		if (how == NACK_MANY) say(&t.c, 2, MR_M_BASIC_CANCEL, "so", "t", 1);
		end_by(&t, how);
		if (how != HANG_UP) assert_true(turn(&t) <= STEPS + SLACK);
		assert_true(queue_of(t.b, "q")->ready < MANY);
		assert_true(mr_turn_has_more(t.b));
		if (how == FAIL) HEARS(&t.c, MR_M_CHANNEL_CLOSE);
		/* Nobody gets the younger ones before the older ones are back. */
		mr_turn_begin(t.b, STEPS);
		CONSUME(&t.other, 1, "q", "late", 0, NULL);
		feed(&t.other);
		for (struct heard h; (h = hear(&t.other)).id;)
			assert_true(h.id != MR_M_BASIC_DELIVER);
		int count = 0;
		for (bool more = true; more; count++) {
			uint64_t before = t.b->store.work;
			mr_turn_begin(t.b, STEPS);
			more = mr_turn_resume(t.b);
			assert_true(t.b->store.work - before <= STEPS + SLACK);
			if (count % 5 == 0) check_order(queue_of(t.b, "q"));
			if (answers[how] && t.c.session && !more && how != FAIL)
				HEARS(&t.c, answers[how]);
		}
		assert_true(count > 20);
		mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
		hush(&t.other);
		say(&t.other, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
		feed(&t.other);
		if (how == HANG_UP) arrive(&t.c, t.b);
		end(&t);
	}
}

/* FIELD-F11. */
static void test_a_large_transaction_is_committed_and_rolled_back_over_many_turns(void **state)
{
	(void)state;
	for (int commit = 0; commit < 2; commit++) {
		struct stage t;
		begin(&t);
		QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
		say(&t.c, 1, MR_M_TX_SELECT, "");
		for (int i = 0; i < MANY; i++) publish(&t.c, 1, "", "q", 0, NULL, BODY);
		feed(&t.c);
		hush(&t.c);
		say(&t.c, 1, commit ? MR_M_TX_COMMIT : MR_M_TX_ROLLBACK, "");
		publish(&t.c, 1, "", "q", 0, NULL, BODY); /* waits until that is done */
		assert_true(turn(&t) <= STEPS + SLACK);
		assert_false(mr_broker_session_reads(t.c.session));
		assert_int_equal(hear(&t.c).id, 0);
		int count = 0;
		for (bool more = true; more; count++) {
			mr_turn_begin(t.b, STEPS);
			more = mr_turn_resume(t.b);
		}
		assert_true(count > 20);
		HEARS(&t.c, commit ? MR_M_TX_COMMIT_OK : MR_M_TX_ROLLBACK_OK);
		assert_int_equal(queue_of(t.b, "q")->ready, commit ? MANY : 0);
		assert_true(mr_broker_session_reads(t.c.session));
		mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
		say(&t.other, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
		feed(&t.other);
		feed(&t.c);
		leave(&t.c);
		arrive(&t.c, t.b);
		end(&t);
	}
}

/* ---- very many of what is declared ---- */

enum { NAMES = 3000 };

static void bind_many(struct stage *t, const char *exchange, bool many_queues)
{
	char name[16] = "q", key[16];
	for (int i = 0; i < NAMES; i++) {
		if (many_queues) snprintf(name, sizeof name, "q%d", i);
		snprintf(key, sizeof key, "%d", i);
		if (many_queues || i == 0) QUEUE_DECLARE(&t->c, 1, name, 0, NULL);
		QUEUE_BIND(&t->c, 1, name, exchange, key, NULL);
		feed(&t->c);
		hush(&t->c);
	}
}

/* Turns until nothing is left; each is bounded. What is said comes in the last of them. */
static int rest(struct stage *t, uint32_t answer)
{
	int count = 0;
	for (bool more = true; more; count++) {
		uint64_t before = t->b->store.work;
		mr_turn_begin(t->b, STEPS);
		more = mr_turn_resume(t->b);
		assert_true(t->b->store.work - before <= STEPS + SLACK);
		if (answer && more) assert_int_equal(hear(&t->c).id, 0);
	}
	if (answer) HEARS(&t->c, answer);
	return count;
}

static void drop_names(struct stage *t)
{
	char name[16];
	mr_turn_begin(t->b, MR_WORK_UNBOUNDED);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "q%d", i);
		mr_raze_queue(queue_of(t->b, name));
	}
	hush(&t->c);
}

/* FIELD-F11: one message, in confirm mode, in a transaction, and as a dead letter. */
static void test_one_message_gets_to_very_many_queues_over_many_turns(void **state)
{
	enum { CONFIRMED, COMMITTED, LETTER, WAYS };
	struct stage t;
	char name[16];
	(void)state;
	begin(&t);
	bind_many(&t, "amq.fanout", true);
	mr_table *args = new_table();
	add_text(args, "x-dead-letter-exchange", "amq.fanout");
	add_number(args, "x-max-length", 0);
	QUEUE_DECLARE(&t.c, 1, "short", 0, args);
	CHANNEL_OPEN(&t.c, 2);
	CHANNEL_OPEN(&t.c, 3);
	say(&t.c, 2, MR_M_CONFIRM_SELECT, "o", 0);
	say(&t.c, 3, MR_M_TX_SELECT, "");
	feed(&t.c);
	hush(&t.c);
	for (int way = CONFIRMED; way < WAYS; way++) {
		mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
		publish(&t.c, way == COMMITTED ? 3 : 2, way == LETTER ? "" : "amq.fanout",
			way == LETTER ? "short" : "", 0, NULL, BODY);
		if (way == COMMITTED) {
			feed(&t.c);
			say(&t.c, 3, MR_M_TX_COMMIT, "");
		}
		assert_true(turn(&t) <= NAMES / 2 + SLACK); /* it is routed in one */
		assert_true(mr_turn_has_more(t.b));
		assert_int_equal(mr_broker_session_reads(t.c.session), way == LETTER);
		static const uint32_t answers[WAYS] = {MR_M_BASIC_ACK, MR_M_TX_COMMIT_OK, 0};
		uint32_t answer = answers[way];
		assert_true(rest(&t, answer) > NAMES / STEPS / 2);
		for (int i = 0; i < NAMES; i++) {
			snprintf(name, sizeof name, "q%d", i);
			assert_int_equal(queue_of(t.b, name)->ready, way + 1);
		}
	}
	drop_names(&t);
	mr_raze_queue(queue_of(t.b, "short"));
	mr_table_free(args);
	end(&t);
}

/* FIELD-F11: a queue and an exchange with very many bindings; nothing is routed to them meanwhile. */
static void test_what_has_very_many_bindings_is_removed_over_many_turns(void **state)
{
	struct stage t;
	static const char *const types[] = {"direct", "fanout", "topic", "headers"};
	(void)state;
	begin(&t);
	for (int i = 0; i < 8; i++) {
		bool is_queue = i % 2;
		mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
		EXCHANGE_DECLARE(&t.c, 1, "x", types[i / 2], 4, NULL); /* auto-delete */
		feed(&t.c);
		hush(&t.c);
		bind_many(&t, "x", !is_queue);
		if (is_queue)
			say(&t.c, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
		else
			say(&t.c, 1, MR_M_EXCHANGE_DELETE, "wso", "x", 0);
		assert_true(turn(&t) <= STEPS + SLACK);
		if (is_queue) {
			mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
			publish(&t.other, 1, "x", "1", 1, NULL, BODY);
			feed(&t.other);
			HEARS(&t.other, MR_M_BASIC_RETURN);
			hush(&t.other);
		}
		int count = rest(&t, is_queue ? MR_M_QUEUE_DELETE_OK : MR_M_EXCHANGE_DELETE_OK);
		assert_true(count > NAMES / STEPS);
		struct mr_vhost *v = mr_broker_vhost(t.b, mr_slice_str("/"));
		assert_null(mr_vhost_exchange(v, mr_slice_str("x")));
		if (!is_queue) drop_names(&t);
	}
	end(&t);
}

/* FIELD-F11: what is gone is not behind dead letters that wait. */
static void test_what_is_gone_is_removed_while_dead_letters_wait(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	mr_table *args = declare_dead(&t);
	QUEUE_DECLARE(&t.c, 1, "dying", 0, args);
	bind_many(&t, "amq.direct", false);
	fill(&t, "dying", 2000);
	t.b->store.now += 1000;
	mr_turn_begin(t.b, 1500);
	mr_turn_tick(t.b); /* many have expired, and none is buried yet */
	struct mr_queue *q = queue_of(t.b, "q");
	mr_raze_queue(q);
	size_t left = q->target.inbound_count;
	assert_true(left > NAMES / 2);
	for (int i = 0; i < 5; i++) {
		mr_turn_begin(t.b, STEPS);
		mr_turn_resume(t.b);
		assert_false(mr_list_is_empty(&t.b->store.dying));
		assert_true(q->target.inbound_count < left);
		left = q->target.inbound_count;
	}
	turns(&t);
	while (mr_deadline_next(&t.b->store) <= t.b->store.now) turns(&t);
	assert_int_equal(queue_of(t.b, "dead")->ready, 2000);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	mr_raze_queue(queue_of(t.b, "dead"));
	mr_table_free(args);
	end(&t);
}

/* FIELD-F11: close and hang-up with very many exclusive queues, auto-delete queues and consumers. */
static void test_a_connection_that_has_very_much_ends_over_many_turns(void **state)
{
	(void)state;
	for (int hangs_up = 0; hangs_up < 2; hangs_up++) {
		struct stage t;
		char name[16];
		begin(&t);
		for (int i = 0; i < NAMES; i++) {
			snprintf(name, sizeof name, "q%d", i);
			QUEUE_DECLARE(&t.c, 1, name, i % 2 ? 4 : 8, NULL);
			CONSUME(&t.c, 1, name, name, 0, NULL);
			publish(&t.c, 1, "", name, 0, NULL, BODY);
			if (i % 100 == 99) feed(&t.c);
			hush(&t.c);
		}
		assert_int_equal(queue_of(t.b, "q7")->out, 1);
		mr_turn_begin(t.b, STEPS);
		uint64_t before = t.b->store.work;
		if (hangs_up)
			leave(&t.c);
		else
			say(&t.c, 0, MR_M_CONNECTION_CLOSE, "wsww", "", 0, 0), feed(&t.c);
		assert_true(t.b->store.work - before <= STEPS + SLACK);
		assert_true(rest(&t, hangs_up ? 0 : MR_M_CONNECTION_CLOSE_OK) > NAMES / STEPS);
		struct mr_vhost *v = mr_broker_vhost(t.b, mr_slice_str("/"));
		assert_int_equal(v->queues.count, 0);
		assert_int_equal(t.b->session_count, hangs_up ? 1 : 2);
		if (hangs_up) arrive(&t.c, t.b);
		end(&t);
	}
}

/* FIELD-F11: who hangs up in the middle of a commit has committed all the same, acks and publishes. */
static void test_a_commit_is_whole_although_its_client_hangs_up(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	take_all(&t, MANY);
	QUEUE_DECLARE(&t.c, 1, "out", 0, NULL);
	say(&t.c, 2, MR_M_TX_SELECT, "");
	for (int i = 0; i < MANY; i++) publish(&t.c, 2, "", "out", 0, NULL, BODY);
	ACK(&t.c, 2, MANY, 1);
	feed(&t.c);
	say(&t.c, 2, MR_M_TX_COMMIT, "");
	assert_true(turn(&t) <= STEPS + SLACK);
	uint64_t before = t.b->store.work;
	leave(&t.c);
	assert_true(t.b->store.work - before <= STEPS + SLACK); /* nor is it hurried */
	assert_true(rest(&t, 0) > 20);
	assert_int_equal(queue_of(t.b, "out")->ready, MANY);
	assert_int_equal(queue_of(t.b, "q")->ready, 0);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	mr_raze_queue(queue_of(t.b, "out"));
	mr_raze_queue(queue_of(t.b, "q"));
	arrive(&t.c, t.b);
	end(&t);
}

/* FIELD-F11: a small chore is not behind a large one. */
static void test_chores_take_turns(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	take_all(&t, MANY);
	fill(&t, "q", 0);
	ACK(&t.c, 2, MANY, 1);
	turn(&t);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	QUEUE_DECLARE(&t.other, 1, "small", 0, NULL);
	say(&t.other, 1, MR_M_TX_SELECT, "");
	for (int i = 0; i < 10; i++) publish(&t.other, 1, "", "small", 0, NULL, BODY);
	feed(&t.other);
	hush(&t.other);
	say(&t.other, 1, MR_M_TX_COMMIT, "");
	mr_turn_begin(t.b, 5);
	feed(&t.other);
	assert_int_equal(hear(&t.other).id, 0);
	for (int i = 0; i < 2; i++) {
		mr_turn_begin(t.b, STEPS);
		mr_turn_resume(t.b);
	}
	assert_true(mr_turn_has_more(t.b));
	HEARS(&t.other, MR_M_TX_COMMIT_OK);
	rest(&t, 0);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	mr_raze_queue(queue_of(t.b, "small"));
	mr_raze_queue(queue_of(t.b, "q"));
	end(&t);
}

/* FIELD-F10. */
static void test_an_alarm_does_not_come_and_go_with_each_message(void **state)
{
	struct stage t;
	int changes = 0;
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
	feed(&t.c);
	fill(&t, "q", 1000);
	t.b->store.watermark = t.b->store.memory;
	for (int i = 0; i < 1000; i++) { /* at the limit: one comes, one goes */
		bool before = t.b->store.alarm;
		publish(&t.other, 1, "", "q", 0, NULL, BODY);
		feed(&t.other);
		changes += t.b->store.alarm != before;
		before = t.b->store.alarm;
		GET(&t.c, 1, "q", 1);
		feed(&t.c);
		changes += t.b->store.alarm != before;
		hush(&t.c);
	}
	assert_true(changes <= 20);
	assert_true(changes > 0);
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	say(&t.c, 1, MR_M_QUEUE_PURGE, "wso", "q", 0);
	feed(&t.c);
	assert_false(t.b->store.alarm);
	mr_raze_queue(queue_of(t.b, "q"));
	end(&t);
}

/* FIELD-F10: with what was declared or is kept for clients, though no message goes. */
static void test_an_alarm_ends_when_no_message_goes(void **state)
{
	struct stage t;
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
	feed(&t.c);
	mr_broker_session_weigh(t.other.session, 32 << 20);
	t.b->store.watermark = 1 << 20;
	publish(&t.c, 1, "", "q", 0, NULL, BODY);
	feed(&t.c);
	assert_true(t.b->store.alarm);
	assert_false(mr_broker_session_reads(t.c.session));
	mr_broker_session_weigh(t.other.session, 0);
	mr_turn_end(t.b);
	assert_false(t.b->store.alarm);
	assert_true(mr_broker_session_reads(t.c.session));
	mr_turn_begin(t.b, MR_WORK_UNBOUNDED);
	mr_raze_queue(queue_of(t.b, "q"));
	end(&t);
}

/* FIELD-F9. */
static void test_a_transaction_without_a_commit_counts(void **state)
{
	struct stage t;
	char body[1000] = {0};
	(void)state;
	begin(&t);
	t.b->store.watermark = 1 << 20;
	QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
	say(&t.c, 1, MR_M_TX_SELECT, "");
	for (int i = 0; i < 5000; i++)
		publish(&t.c, 1, "", i % 2 ? "q" : "nowhere", 0, NULL,
			mr_slice_of(body, sizeof body));
	feed(&t.c);
	assert_true(t.b->store.alarm);
	assert_false(mr_broker_session_reads(t.c.session));
	assert_true(t.b->store.memory < 2 << 20);
	leave(&t.c); /* and it gives all back */
	assert_false(t.b->store.alarm);
	assert_int_equal(t.b->store.memory, 0);
	end(&t);
}

/* FIELD-F9. */
static void test_bodies_of_which_a_part_has_come_count(void **state)
{
	struct stage t;
	char part[100000] = {0};
	uint8_t header[14] = {0, 60, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0};
	(void)state;
	begin(&t);
	t.b->store.watermark = 4 << 20;
	for (int channel = 2; channel < 200; channel++) {
		CHANNEL_OPEN(&t.c, channel);
		say(&t.c, channel, MR_M_BASIC_PUBLISH, "wsso", "", "q", 0);
		put_frame(&t.c.in, MR_FRAME_HEADER, channel, header, sizeof header);
		put_frame(&t.c.in, MR_FRAME_BODY, channel, part, sizeof part);
	}
	feed(&t.c);
	assert_true(t.b->store.alarm);
	assert_false(mr_broker_session_reads(t.c.session));
	assert_true(t.b->store.memory < 6 << 20);
	CHANNEL_CLOSE(&t.other, 1);
	feed(&t.other);
	assert_true(t.b->store.alarm);
	leave(&t.c);
	assert_int_equal(t.b->store.memory, 0);
	assert_false(t.b->store.alarm);
	end(&t);
}

/* FIELD-F9: what is declared counts when it is very much; so do channels, consumers and what is not sent. */
static void test_what_is_declared_counts_beyond_what_every_broker_needs(void **state)
{
	struct stage t;
	char key[256];
	(void)state;
	begin(&t);
	uint64_t structure = t.b->store.structure;
	QUEUE_DECLARE(&t.c, 1, "q", 0, NULL);
	EXCHANGE_DECLARE(&t.c, 1, "x", "topic", 0, NULL);
	for (int i = 0; i < 60000;
		i++) { /* a direct exchange finds a binding by its key, without a walk */
		snprintf(key, sizeof key, "%0200d", i);
		QUEUE_BIND(&t.c, 1, "q", "amq.direct", key, NULL);
		if (i % 100 == 0) feed(&t.c);
		if (i % 100 == 0) hush(&t.c);
	}
	CONSUME(&t.c, 1, "q", "t", 0, NULL);
	feed(&t.c);
	t.b->store.watermark = 1 << 20;
	publish(&t.c, 1, "", "q", 0, NULL, BODY);
	feed(&t.c);
	assert_true(t.b->store.alarm);
	say(&t.c, 1, MR_M_BASIC_CANCEL, "so", "t", 0);
	say(&t.c, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	say(&t.c, 1, MR_M_EXCHANGE_DELETE, "wso", "x", 0);
	t.b->store.watermark = 0;
	mr_broker_check_memory(t.b);
	feed(&t.c);
	CHANNEL_CLOSE(&t.c, 1);
	feed(&t.c);
	CHANNEL_OPEN(&t.c, 1);
	feed(&t.c);
	mr_buffer_fini(&t.c.session->out);
	mr_broker_session_weigh(t.c.session, 0);
	mr_broker_session_weigh(t.other.session, 0);
	assert_true(t.b->store.structure <= structure + 4096);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_turn_ends_by_work_and_the_rest_of_what_was_said_waits),
		cmocka_unit_test(test_a_purge_and_a_delete_free_over_many_turns),
		cmocka_unit_test(test_many_messages_that_expire_at_once_die_over_many_turns),
		cmocka_unit_test(test_deliveries_go_on_in_the_next_turn),
		cmocka_unit_test(test_many_deliveries_are_settled_over_many_turns),
		cmocka_unit_test(
			test_a_large_transaction_is_committed_and_rolled_back_over_many_turns),
		cmocka_unit_test(test_one_message_gets_to_very_many_queues_over_many_turns),
		cmocka_unit_test(test_what_has_very_many_bindings_is_removed_over_many_turns),
		cmocka_unit_test(test_what_is_gone_is_removed_while_dead_letters_wait),
		cmocka_unit_test(test_a_connection_that_has_very_much_ends_over_many_turns),
		cmocka_unit_test(test_a_commit_is_whole_although_its_client_hangs_up),
		cmocka_unit_test(test_chores_take_turns),
		cmocka_unit_test(test_an_alarm_does_not_come_and_go_with_each_message),
		cmocka_unit_test(test_an_alarm_ends_when_no_message_goes),
		cmocka_unit_test(test_a_transaction_without_a_commit_counts),
		cmocka_unit_test(test_bodies_of_which_a_part_has_come_count),
		cmocka_unit_test(test_what_is_declared_counts_beyond_what_every_broker_needs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
