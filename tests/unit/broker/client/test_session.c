/* test_session: what clients may do to a broker, in whole connections without sockets.
 * Covers: runtime/broker/client/basic.c by MR_M_BASIC_GET_OK
 * Covers: runtime/broker/client/channel.c by mr_vhost_queue
 * Covers: runtime/broker/client/channel_frame.c by MR_M_CHANNEL_OPEN
 * Covers: runtime/broker/client/consumer.c by MR_M_BASIC_CANCEL
 * Covers: runtime/broker/client/login.c by MR_BS_TUNING
 * Covers: runtime/broker/client/session_state.c by mr_broker_session_enter
 * Covers: runtime/broker/client/settle.c by MR_M_BASIC_RECOVER
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include <time.h>

#include "moonrabbit_testing.h"

struct two { /* two clients of one broker; end() checks that nothing is left behind */
	long before;
	struct mr_broker *b;
	struct client one, other;
};

static void begin(struct two *t)
{
	t->before = mr_alloc_live();
	t->b = new_broker();
	ready(&t->one, t->b);
	ready(&t->other, t->b);
}

static void end(struct two *t)
{
	leave(&t->one);
	leave(&t->other);
	mr_turn_finish(t->b);
	mr_broker_close(t->b);
	assert_int_equal(mr_alloc_live(), t->before);
}

/* ---- bindings and headers ---- */

static void test_a_refused_headers_binding_leaves_nothing_behind(void **state)
{
	struct two t;
	mr_table *wrong;
	(void)state;
	begin(&t);
	wrong = new_table();
	add_text(wrong, "x-match", "some");
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	QUEUE_BIND(&t.one, 1, "q", "amq.headers", "", wrong);
	feed(&t.one);
	HEARS(&t.one, MR_M_QUEUE_DECLARE_OK);
	HEARS(&t.one, MR_M_CHANNEL_CLOSE);
	mr_table_free(wrong);
	end(&t);
}

/* The routing keys of CC are long strings. */
static void test_a_copy_may_have_a_routing_key_of_any_length(void **state)
{
	struct two t;
	mr_properties p = {.flags = MR_HAS_HEADERS};
	size_t size = 50000;
	char *dots = malloc(size);
	(void)state;
	begin(&t);
	assert_non_null(dots);
	memset(dots, '.', size);
	mr_value v = {.type = 'S', .as.bytes = {dots, size}};
	p.headers = new_table();
	assert_int_equal(mr_table_add(mr_table_nest(p.headers, "CC", 2, 'A'), "", 0, &v), MR_OK);
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	QUEUE_BIND(&t.one, 1, "q", "amq.topic", "a.#", NULL);
	QUEUE_DECLARE(&t.one, 1, "all", 0, NULL);
	QUEUE_BIND(&t.one, 1, "all", "amq.topic", "#", NULL);
	publish(&t.one, 1, "amq.topic", "b", 0, &p, BODY);
	feed(&t.one);
	assert_int_equal(queue_of(t.b, "q")->ready, 0);
	assert_int_equal(queue_of(t.b, "all")->ready, 1);
	mr_table_free(p.headers);
	free(dots);
	end(&t);
}

/* ---- dead letters ---- */

static mr_table *dead_to(const char *exchange, const char *key)
{
	mr_table *t = new_table();
	add_text(t, "x-dead-letter-exchange", exchange);
	if (key) add_text(t, "x-dead-letter-routing-key", key);
	return t;
}

static void test_a_forged_death_count_of_another_type_is_left_alone(void **state)
{
	struct two t;
	mr_table *args;
	mr_properties p = {.flags = MR_HAS_HEADERS};
	(void)state;
	begin(&t);
	args = dead_to("", "dead");
	p.headers = new_table();
	mr_table *death = mr_table_nest(mr_table_nest(p.headers, "x-death", 7, 'A'), "", 0, 'F');
	add_text(death, "queue", "q");
	add_text(death, "reason", "rejected");
	add_text(mr_table_nest(death, "count", 5, 'F'), "no", "number");
	QUEUE_DECLARE(&t.one, 1, "dead", 0, NULL);
	QUEUE_DECLARE(&t.one, 1, "q", 0, args);
	publish(&t.one, 1, "", "q", 0, &p, BODY);
	GET(&t.one, 1, "q", 0);
	NACK(&t.one, 1, 1, 0);
	feed(&t.one);
	assert_int_equal(queue_of(t.b, "dead")->ready, 1);
	mr_table_free(p.headers);
	mr_table_free(args);
	end(&t);
}

static void test_very_many_messages_may_die_at_once(void **state)
{
	enum { MANY = 150000 };
	struct two t;
	mr_table *args;
	(void)state;
	begin(&t);
	args = dead_to("", "dead");
	add_number(args, "x-message-ttl", 10);
	QUEUE_DECLARE(&t.one, 1, "dead", 0, NULL);
	QUEUE_DECLARE(&t.one, 1, "q", 0, args);
	for (int i = 0; i < MANY; i++) publish(&t.one, 1, "", "q", 0, NULL, mr_slice_of("x", 1));
	feed(&t.one);
	assert_int_equal(queue_of(t.b, "q")->ready, MANY);
	t.b->store.now += 20; /* before the broker's next tick */
	publish(&t.one, 1, "", "q", 0, NULL, BODY);
	feed(&t.one);
	assert_int_equal(queue_of(t.b, "q")->ready, 1);
	assert_int_equal(queue_of(t.b, "dead")->ready, MANY);
	mr_table_free(args);
	end(&t);
}

static void test_a_dead_letter_key_that_no_frame_can_carry_is_refused(void **state)
{
	struct two t;
	char key[400];
	(void)state;
	begin(&t);
	memset(key, 'k', sizeof key - 1);
	key[sizeof key - 1] = '\0';
	mr_table *args = dead_to("amq.fanout", key);
	QUEUE_DECLARE(&t.one, 1, "q", 0, args);
	feed(&t.one);
	HEARS(&t.one, MR_M_CHANNEL_CLOSE);
	assert_null(queue_of(t.b, "q"));
	mr_table_free(args);
	end(&t);
}

/* ---- names ---- */

static void test_a_name_with_a_zero_byte_does_not_take_another_queues_place(void **state)
{
	struct two t;
	static const uint8_t declare[] = {0, 50, 0, 10, 0, 0, 3, 'q', 0, 'x', 0, 0, 0, 0, 0};
	static const uint8_t exchange[] = {0, 40, 0, 10, 0, 0, 3, 'x', 0, 'y', 6, 'f', 'a', 'n',
		'o', 'u', 't', 0, 0, 0, 0, 0};
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	EXCHANGE_DECLARE(&t.one, 1, "x", "direct", 0, NULL);
	QUEUE_BIND(&t.one, 1, "q", "x", "k", NULL);
	feed(&t.one);
	struct mr_queue *q = queue_of(t.b, "q");
	put_frame(&t.one.in, MR_FRAME_METHOD, 1, declare, sizeof declare);
	put_frame(&t.other.in, MR_FRAME_METHOD, 1, exchange, sizeof exchange);
	feed(&t.one);
	feed(&t.other);
	assert_ptr_equal(queue_of(t.b, "q"), q);
	publish(&t.other, 1, "x", "k", 0, NULL, BODY);
	end(&t);
}

static void test_a_reply_consumer_that_is_refused_leaves_no_queue(void **state)
{
	struct two t;
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	CONSUME(&t.one, 1, "q", "t", 2, NULL);
	feed(&t.one);
	HEARS(&t.one, MR_M_QUEUE_DECLARE_OK);
	HEARS(&t.one, MR_M_BASIC_CONSUME_OK);
	size_t before = mr_broker_vhost(t.b, mr_slice_str("/"))->queues.count;
	CONSUME(&t.one, 1, MR_REPLY_QUEUE, "t", 2, NULL); /* a tag in use */
	feed(&t.one);
	HEARS(&t.one, MR_M_CONNECTION_CLOSE);
	assert_int_equal(mr_broker_vhost(t.b, mr_slice_str("/"))->queues.count, before);
	end(&t);
}

/* ---- exchanges ---- */

static void test_a_long_chain_of_auto_delete_exchanges_goes_with_its_queue(void **state)
{
	enum { MANY = 300000 };
	struct two t;
	char name[2][16] = {"", "x0"};
	(void)state;
	begin(&t);
	struct mr_vhost *v = mr_broker_vhost(t.b, mr_slice_str("/"));
	size_t before = v->exchanges.count;
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	EXCHANGE_DECLARE(&t.one, 1, "x0", "fanout", 4, NULL);
	QUEUE_BIND(&t.one, 1, "q", "x0", "", NULL);
	for (int i = 1; i < MANY; i++) {
		memcpy(name[0], name[1], sizeof name[0]);
		snprintf(name[1], sizeof name[1], "x%d", i);
		EXCHANGE_DECLARE(&t.one, 1, name[1], "fanout", 4, NULL);
		say(&t.one, 1, MR_M_EXCHANGE_BIND, "wsssoT", name[0], name[1], "", 0, NULL);
	}
	publish(&t.one, 1, name[1], "", 0, NULL, BODY);
	feed(&t.one);
	assert_int_equal(v->exchanges.count, before + MANY);
	assert_int_equal(queue_of(t.b, "q")->ready, 1);
	say(&t.one, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	feed(&t.one);
	assert_int_equal(v->exchanges.count, before);
	end(&t);
}

/* ---- consumers ---- */

static void test_the_next_single_active_consumer_gets_what_the_last_one_could_not_take(void **state)
{
	struct two t;
	mr_table *args;
	mr_value yes = {.type = 't', .as.boolean = true};
	(void)state;
	begin(&t);
	args = new_table();
	assert_int_equal(mr_table_add(args, "x-single-active-consumer", 24, &yes), MR_OK);
	QUEUE_DECLARE(&t.one, 1, "q", 0, args);
	QUEUE_DECLARE(&t.one, 1, "other", 0, NULL);
	qos(&t.one, 1, 1, true);
	CONSUME(&t.one, 1, "q", "active", 0, NULL);
	CONSUME(&t.one, 1, "other", "full", 0, NULL);
	publish(&t.one, 1, "", "other", 0, NULL, BODY);
	publish(&t.one, 1, "", "q", 0, NULL, BODY);
	feed(&t.one);
	CONSUME(&t.other, 1, "q", "waiting", 0, NULL);
	feed(&t.other);
	HEARS(&t.other, MR_M_BASIC_CONSUME_OK);
	HEARS(&t.other, 0);
	CHANNEL_CLOSE(&t.one, 1);
	feed(&t.one);
	HEARS(&t.other, MR_M_BASIC_DELIVER);
	mr_table_free(args);
	end(&t);
}

/* Another client may send larger frames than this one takes. */
static void test_headers_larger_than_a_consumers_frames_do_not_block_the_queue(void **state)
{
	struct two t;
	char *large = malloc(6000);
	mr_properties p = {.flags = MR_HAS_HEADERS};
	(void)state;
	begin(&t);
	assert_non_null(large);
	memset(large, 'h', 6000);
	mr_value v = {.type = 'S', .as.bytes = {large, 6000}};
	p.headers = new_table();
	assert_int_equal(mr_table_add(p.headers, "h", 1, &v), MR_OK);
	t.other.session->frame_max = 4096; /* as if tuned */
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	publish(&t.one, 1, "", "q", 0, &p, BODY);
	publish(&t.one, 1, "", "q", 0, NULL, BODY);
	feed(&t.one);
	CONSUME(&t.other, 1, "q", "t", 0, NULL);
	feed(&t.other);
	HEARS(&t.other, MR_M_BASIC_CONSUME_OK);
	HEARS(&t.other, MR_M_BASIC_DELIVER);
	HEARS(&t.other, MR_M_BASIC_DELIVER);
	assert_int_equal(queue_of(t.b, "q")->ready, 0);
	mr_table_free(p.headers);
	free(large);
	end(&t);
}

static void test_very_many_messages_may_come_back_one_by_one(void **state)
{
	enum { MANY = 100000 };
	struct two t;
	(void)state;
	begin(&t);
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	for (int i = 0; i < MANY; i++) publish(&t.one, 1, "", "q", 0, NULL, BODY);
	for (int i = 0; i < MANY; i++) GET(&t.one, 1, "q", 0);
	feed(&t.one);
	hush(&t.one);
	for (int i = 1; i <= MANY; i++) NACK(&t.one, 1, i, 2);
	clock_t start = clock();
	feed(&t.one);
	assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
	assert_int_equal(queue_of(t.b, "q")->ready, MANY);
	end(&t);
}

/* ---- the end of a connection ---- */

/* What it sends waits behind what it has not read: its heartbeats, too. */
static void test_a_slow_reader_is_alive_while_it_reads(void **state)
{
	enum { SIZE = 100 << 20 };
	struct two t;
	char *body = calloc(1, SIZE);
	(void)state;
	begin(&t);
	assert_non_null(body);
	t.one.session->heartbeat = 1000; /* as if tuned */
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	publish(&t.one, 1, "", "q", 0, NULL, mr_slice_of(body, SIZE));
	GET(&t.one, 1, "q", 0);
	feed(&t.one);
	struct mr_buffer *out = mr_broker_session_output(t.one.session);
	while (!mr_broker_session_reads(t.one.session)) {
		t.b->store.now += 900;
		mr_buffer_consume(out, SIZE / 100);
		mr_broker_session_wrote(t.one.session);
		mr_broker_session_tick(t.one.session);
		assert_int_equal(t.one.session->state, MR_BS_OPEN);
	}
	t.b->store.now += 900;
	mr_broker_session_tick(t.one.session);
	t.b->store.now += 1200; /* it takes nothing any more */
	mr_broker_session_tick(t.one.session);
	assert_int_equal(t.one.session->state, MR_BS_ENDED);
	free(body);
	end(&t);
}

static void test_confirms_come_before_the_connections_last_word(void **state)
{
	struct two t;
	(void)state;
	begin(&t);
	say(&t.one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&t.one, 1, "", "nowhere", 0, NULL, BODY);
	say(&t.one, 0, MR_M_CONNECTION_CLOSE, "wsww", "", 0, 0);
	feed(&t.one);
	HEARS(&t.one, MR_M_BASIC_ACK);
	HEARS(&t.one, MR_M_CONNECTION_CLOSE_OK);
	HEARS(&t.one, 0);
	say(&t.other, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&t.other, 1, "", "nowhere", 0, NULL, BODY);
	say(&t.other, 1, MR_M_CHANNEL_OPEN, "s", "");
	feed(&t.other);
	HEARS(&t.other, MR_M_BASIC_ACK);
	HEARS(&t.other, MR_M_CONNECTION_CLOSE);
	HEARS(&t.other, 0);
	end(&t);
}

static void test_a_client_that_does_not_read_its_answers_is_not_read_from(void **state)
{
	enum { SIZE = 1 << 20, TIMES = 300 };
	struct two t;
	char *body = calloc(1, SIZE);
	(void)state;
	begin(&t);
	assert_non_null(body);
	QUEUE_DECLARE(&t.one, 1, "q", 0, NULL);
	publish(&t.one, 1, "", "q", 0, NULL, mr_slice_of(body, SIZE));
	for (int i = 1; i <= TIMES; i++) {
		GET(&t.one, 1, "q", 0);
		NACK(&t.one, 1, i, 2);
	}
	feed(&t.one);
	assert_in_range(mr_buffer_size(mr_broker_session_output(t.one.session)), SIZE, 100 * SIZE);
	assert_false(mr_broker_session_reads(t.one.session));
	int answers = 0;
	for (int turns = 0; turns < TIMES && mr_buffer_size(&t.one.in); turns++) {
		for (uint32_t id; (id = hear(&t.one).id);)
			if (id == MR_M_BASIC_GET_OK) answers++;
		mr_broker_session_wrote(t.one.session);
		assert_true(mr_broker_session_reads(t.one.session));
		feed(&t.one);
	}
	for (uint32_t id; (id = hear(&t.one).id);)
		if (id == MR_M_BASIC_GET_OK) answers++;
	assert_int_equal(answers, TIMES);
	free(body);
	end(&t);
}

/* ---- memory ---- */

static void test_messages_in_very_many_queues_weigh_more_than_one_message(void **state)
{
	struct two t;
	char name[16];
	(void)state;
	begin(&t);
	t.b->store.watermark = 1 << 20;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "q%d", i);
		QUEUE_DECLARE(&t.one, 1, name, 0, NULL);
		QUEUE_BIND(&t.one, 1, name, "amq.fanout", "", NULL);
	}
	for (int i = 0; i < 100; i++) publish(&t.one, 1, "amq.fanout", "", 0, NULL, BODY);
	feed(&t.one);
	assert_true(t.b->store.alarm);
	assert_false(mr_broker_session_reads(t.one.session));
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "q%d", i);
		say(&t.other, 1, MR_M_QUEUE_DELETE, "wso", name, 0);
	}
	feed(&t.other);
	assert_int_equal(t.b->store.memory, 0);
	assert_true(mr_broker_session_reads(t.one.session));
	end(&t);
}

/* A script that passes through most of the broker; built before memory runs out. */
static void write_script(struct client *c, struct client *d)
{
	mr_table *args = dead_to("x", NULL);
	mr_properties p = {.flags = MR_HAS_HEADERS | MR_HAS_PRIORITY, .priority = 3};
	p.headers = new_table();
	add_text(mr_table_nest(p.headers, "BCC", 3, 'A'), "", "b");
	add_number(p.headers, "h", 1);
	add_number(args, "x-max-length", 3);
	add_number(args, "x-max-priority", 4);
	add_number(args, "x-message-ttl", 100);
	EXCHANGE_DECLARE(c, 1, "x", "topic", 4, NULL);
	QUEUE_DECLARE(c, 1, "dead", 0, NULL);
	QUEUE_BIND(c, 1, "dead", "x", "a.#", NULL);
	QUEUE_BIND(c, 1, "dead", "x", "*", NULL);
	QUEUE_DECLARE(c, 1, "a", 0, args);
	QUEUE_BIND(c, 1, "a", "amq.headers", "", p.headers);
	QUEUE_DECLARE(c, 1, "b", 4 | 8, NULL);
	QUEUE_DECLARE(c, 1, "", 4, NULL);
	say(c, 1, MR_M_EXCHANGE_BIND, "wsssoT", "x", "amq.fanout", "", 0, NULL);
	say(c, 1, MR_M_CONFIRM_SELECT, "o", 0);
	CONSUME(d, 1, "dead", "", 0, NULL);
	CONSUME(c, 1, "b", "t", 2, NULL);
	CONSUME(c, 1, MR_REPLY_QUEUE, "r", 2, NULL);
	for (int i = 0; i < 5; i++) publish(c, 1, "", "a", 1, &p, BODY);
	publish(c, 1, "amq.fanout", "a", 1, NULL, BODY);
	publish(c, 1, "", "nowhere", 1, &p, BODY);
	p.flags |= MR_HAS_REPLY_TO;
	p.reply_to = mr_slice_str(MR_REPLY_QUEUE);
	publish(c, 1, "", "a", 1, &p, BODY);
	GET(c, 1, "a", 0);
	GET(c, 1, "a", 0);
	NACK(c, 1, 2, 0);
	NACK(c, 1, 1, 2);
	CHANNEL_OPEN(d, 2);
	say(d, 2, MR_M_TX_SELECT, "");
	publish(d, 2, "", "a", 1, NULL, BODY);
	publish(d, 2, "amq.topic", "none", 1, NULL, BODY);
	GET(d, 2, "a", 0);
	ACK(d, 2, 1, 1);
	say(d, 2, MR_M_TX_COMMIT, "");
	publish(d, 2, "", "a", 0, NULL, BODY);
	say(d, 2, MR_M_TX_ROLLBACK, "");
	NACK(d, 1, 1, 1);
	say(d, 1, MR_M_BASIC_RECOVER, "o", 1);
	say(c, 1, MR_M_BASIC_CANCEL, "so", "t", 0);
	say(c, 1, MR_M_QUEUE_UNBIND, "wsssT", "dead", "x", "*", NULL);
	say(c, 1, MR_M_QUEUE_PURGE, "wso", "dead", 0);
	say(c, 1, MR_M_QUEUE_DELETE, "wso", "dead", 0);
	CHANNEL_CLOSE(d, 2);
	say(d, 0, MR_M_CONNECTION_CLOSE, "wsww", "", 0, 0);
	mr_table_free(p.headers);
	mr_table_free(args);
}

/* In small pieces, by turns, so that the two meet. */
static void play(struct mr_broker *b, struct client *c, struct client *d)
{
	struct client *both[2] = {c, d};
	size_t at[2] = {0, 0};
	for (int turn = 0; turn < 4000; turn++) {
		struct client *who = both[turn & 1];
		size_t want = 0, left = mr_buffer_size(&who->in) - at[turn & 1];
		at[turn & 1] += mr_broker_session_feed(who->session,
			mr_buffer_data(&who->in) + at[turn & 1], left < 300 ? left : 300, &want);
		if (turn % 10 == 9) {
			b->store.now += 5;
			mr_turn_tick(b);
		}
		if (at[0] == mr_buffer_size(&c->in) && at[1] == mr_buffer_size(&d->in)) break;
	}
}

static long asked; /* for memory, since it was set to 0 */

static void *count_and_resize(void *p, size_t size)
{
	asked++;
	return realloc(p, size);
}

/* Returns how often memory was asked for. */
static long play_once(long fail_nth)
{
	struct client c, d;
	long before = mr_alloc_live();
	struct mr_broker *b = new_broker();
	arrive(&c, b);
	arrive(&d, b);
	write_script(&c, &d);
	asked = 0;
	mr_alloc_fail_nth(fail_nth);
	play(b, &c, &d);
	long count = asked;
	if (!fail_nth) assert_true(d.session->state == MR_BS_ENDED);
	if (!fail_nth) assert_true(c.session->state == MR_BS_OPEN);
	leave(&c);
	leave(&d);
	mr_turn_finish(b);
	mr_broker_close(b);
	mr_alloc_fail_nth(0);
	assert_int_equal(mr_alloc_live(), before);
	return count;
}

static void test_a_session_survives_every_allocation_that_fails(void **state)
{
	(void)state;
	assert_int_equal(mr_set_allocator(count_and_resize, free), MR_OK);
	long count = play_once(0);
	assert_true(count > 150);
	for (long n = 1; n <= count; n++) play_once(n);
	assert_int_equal(mr_set_allocator(NULL, NULL), MR_OK);
}

/* FIELD-R20: the client hears both names, and that session ends; the broker goes on. */
static void test_an_illegal_move_ends_that_session_alone(void **state)
{
	struct two t;
	(void)state;
	begin(&t);
	mr_broker_session_enter(t.one.session, MR_BS_TUNING);
	assert_int_equal(t.one.session->state, MR_BS_ENDED);
	struct mr_buffer *out = mr_broker_session_output(t.one.session);
	assert_non_null(
		memmem(mr_buffer_data(out), mr_buffer_size(out), "from OPEN to TUNING", 19));
	mr_broker_session_enter(t.one.session, MR_BS_OPEN); /* late, no fault: it has ended */
	assert_int_equal(t.one.session->state, MR_BS_ENDED);
	QUEUE_DECLARE(&t.other, 1, "q", 0, NULL);
	feed(&t.other);
	HEARS(&t.other, MR_M_QUEUE_DECLARE_OK);
	end(&t);
}

/* FIELD-R20: of every pair of states; from CLOSING and ENDED, what may not be is late, no fault. */
static void test_every_move_that_may_not_be_ends_the_session_or_is_late(void **state)
{
	static const char *const names[] = {"HELLO", "STARTED", "TUNING", "OPENING", "OPEN",
		"CLOSING", "ENDED"};
	static const char moves[] = "0100001"
				    "0010011"
				    "0001011"
				    "0000111"
				    "0000011"
				    "0000001"
				    "0000000";
	(void)state;
	for (int from = 0; from < MR_BS_COUNT; from++)
		for (int to = 0; to < MR_BS_COUNT; to++) {
			struct two t;
			char words[40];
			begin(&t);
			struct mr_broker_session *s = t.one.session;
			struct mr_buffer *out = mr_broker_session_output(s);
			mr_buffer_consume(out, SIZE_MAX);
			s->state = (enum mr_broker_session_state)from;
			mr_broker_session_enter(s, (enum mr_broker_session_state)to);
			bool may = moves[from * MR_BS_COUNT + to] == '1';
			bool is_fault = !may && from < MR_BS_CLOSING;
			snprintf(words, sizeof words, "from %s to %s", names[from], names[to]);
			assert_int_equal(s->state, may ? to : is_fault ? MR_BS_ENDED : from);
			assert_int_equal(mr_buffer_size(out) &&
						 memmem(mr_buffer_data(out), mr_buffer_size(out),
							 words, strlen(words)),
				is_fault);
			assert_int_equal(t.other.session->state, MR_BS_OPEN);
			end(&t);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refused_headers_binding_leaves_nothing_behind),
		cmocka_unit_test(test_a_copy_may_have_a_routing_key_of_any_length),
		cmocka_unit_test(test_a_forged_death_count_of_another_type_is_left_alone),
		cmocka_unit_test(test_very_many_messages_may_die_at_once),
		cmocka_unit_test(test_a_dead_letter_key_that_no_frame_can_carry_is_refused),
		cmocka_unit_test(test_a_name_with_a_zero_byte_does_not_take_another_queues_place),
		cmocka_unit_test(test_a_reply_consumer_that_is_refused_leaves_no_queue),
		cmocka_unit_test(test_a_long_chain_of_auto_delete_exchanges_goes_with_its_queue),
		cmocka_unit_test(
			test_the_next_single_active_consumer_gets_what_the_last_one_could_not_take),
		cmocka_unit_test(
			test_headers_larger_than_a_consumers_frames_do_not_block_the_queue),
		cmocka_unit_test(test_confirms_come_before_the_connections_last_word),
		cmocka_unit_test(test_a_client_that_does_not_read_its_answers_is_not_read_from),
		cmocka_unit_test(test_messages_in_very_many_queues_weigh_more_than_one_message),
		cmocka_unit_test(test_very_many_messages_may_come_back_one_by_one),
		cmocka_unit_test(test_a_slow_reader_is_alive_while_it_reads),
		cmocka_unit_test(test_a_session_survives_every_allocation_that_fails),
		cmocka_unit_test(test_an_illegal_move_ends_that_session_alone),
		cmocka_unit_test(test_every_move_that_may_not_be_ends_the_session_or_is_late),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
