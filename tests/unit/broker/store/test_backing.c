/* test_backing: clients of a broker whose messages are kept elsewhere, by a backing that answers when it is told to.
 * Covers: runtime/broker/client/await.c by told
 * Covers: runtime/broker/client/there.c by MR_M_QUEUE_BIND_OK
 * Covers: runtime/broker/client/pledge.c by mr_promise
 * Covers: runtime/broker/client/confirm.c by MR_M_BASIC_RETURN
 * Covers: runtime/broker/client/backed.c by arguments
 * Covers: runtime/broker/store/cascade.c by mr_cascade_open
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include "broker/client/pledge.h"
#include "broker/store/backing.h"
#include "broker/store/cascade.h"

#define MOST 100

struct mr_taken {
	int number;
};

struct fake { /* what a backing was asked for, oldest first, and what it has got back */
	struct mr_backing backing; /* first */
	struct mr_broker *b;
	struct mr_promise *due[MOST];
	uint64_t ms;       /* of the last one that was delayed */
	uint8_t priority;  /* of those that arrive */
	int arrived, last; /* the number of the message that went back last */
	size_t delayed, due_count, published, fetched, most, done, back, forgotten, bound, unbound,
		purged;
};

static struct fake f;
static struct client one;

static void owe(struct mr_promise *p)
{
	if (p) f.due[f.due_count++] = p;
}

/* Gives the oldest answer. */
static void answer(enum mr_status st, size_t count)
{
	struct mr_promise *p = f.due[0];
	assert_true(f.due_count > 0);
	memmove(f.due, f.due + 1, --f.due_count * sizeof *f.due);
	p->count = count;
	if (st == MR_OK)
		p->told(p);
	else
		mr_backing_refuse(p, 541, "it is away");
	mr_turn_end(f.b);
}

static void on_publish(struct mr_backing *b, const struct mr_exchange *x,
	const struct mr_message *m, struct mr_promise *p)
{
	(void)b;
	(void)x;
	(void)m;
	f.published++;
	owe(p); /* mr_pledge_publish's */
}

static void on_delay(struct mr_backing *b, const struct mr_exchange *x, const struct mr_message *m,
	uint64_t ms, struct mr_promise *p)
{
	(void)b;
	(void)x;
	f.delayed++;
	f.ms = ms;
	assert_true(mr_slice_equal(mr_message_key(m), mr_slice_str("work")));
	owe(p);
}

static void on_fetch(struct mr_backing *b, struct mr_queue *q, size_t most)
{
	(void)b;
	(void)q;
	f.fetched++;
	f.most = most;
}

static void on_get(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	(void)b;
	(void)q;
	owe(p);
}

static void on_done(struct mr_backing *b, struct mr_taken *t)
{
	(void)b;
	f.done++;
	free(t);
}

static void on_back(struct mr_backing *b, const struct mr_queue *q, struct mr_taken *t)
{
	(void)b;
	(void)q;
	f.back++;
	f.last = t->number;
	free(t);
}

static void on_count(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	(void)b;
	(void)q;
	owe(p); /* mr_there_count's */
}

static void on_bind(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	(void)b;
	(void)x;
	(void)q;
	(void)key;
	f.bound++;
	owe(p);
}

static void on_unbind(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	(void)b;
	(void)x;
	(void)q;
	(void)key;
	f.unbound++;
	owe(p);
}

static void on_purge(struct mr_backing *b, struct mr_queue *q, bool whole, struct mr_promise *p)
{
	(void)b;
	(void)q;
	(void)whole;
	f.purged++;
	owe(p);
}

static void on_forget(struct mr_backing *b, struct mr_queue *q)
{
	(void)b;
	(void)q;
	f.forgotten++;
}

static const struct mr_backing_class class = {on_publish, on_delay, on_fetch, NULL, on_get, on_done,
	on_back, on_count, on_bind, on_unbind, on_purge, on_forget, NULL};

static struct mr_queue *queue(void)
{
	return mr_vhost_queue(mr_broker_vhost(f.b, mr_slice_str("/")), mr_slice_str("q"));
}

/* A message comes from the backing. */
static void arrives_for(const char *body, mr_msec until)
{
	struct mr_message *m =
		mr_message_new(mr_slice_str(""), mr_slice_str("q"), mr_slice_of("\0\0", 2), 20);
	struct mr_taken *t = calloc(1, sizeof *t);
	assert_non_null(t);
	t->number = ++f.arrived;
	m->body_size = strlen(body);
	memcpy((char *)(uintptr_t)mr_message_body(m).data, body, strlen(body));
	m->expiration = MR_NO_EXPIRATION;
	m->priority = f.priority;
	mr_store_grew(&f.b->store, mr_message_weight(m));
	assert_true(mr_queue_arrive(queue(), m, t, until, false));
	mr_store_drop(&f.b->store, m);
}

static void arrives(const char *body) { arrives_for(body, MR_NEVER); }

static int setup(void **state)
{
	(void)state;
	f = (struct fake){.backing.class = &class};
	assert_int_equal(mr_broker_open(&f.b, 1, 0), MR_OK);
	f.b->store.backing = &f.backing;
	mr_turn_begin(f.b, MR_WORK_UNBOUNDED);
	arrive(&one, f.b);
	QUEUE_DECLARE(&one, 1, "q", 0, NULL);
	feed(&one);
	hush(&one);
	assert_int_equal(f.due_count, 1);
	answer(MR_OK, 7);
	struct heard ok = hear(&one);
	assert_int_equal(ok.id, MR_M_QUEUE_DECLARE_OK);
	assert_int_equal(mr_get32(ok.at + 2), 7);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	leave(&one);
	f.b->store.backing = NULL;
	mr_turn_finish(f.b);
	mr_broker_close(f.b);
	return 0;
}

static void test_a_client_is_not_read_while_an_answer_is_due(void **state)
{
	(void)state;
	QUEUE_DECLARE(&one, 1, "q", 1, NULL); /* mr_await_begin */
	feed(&one);
	assert_false(mr_broker_session_reads(one.session));
	HEARS(&one, 0);
	answer(MR_OK, 0);
	HEARS(&one, MR_M_QUEUE_DECLARE_OK);
	assert_true(mr_broker_session_reads(one.session));
}

static void test_a_refusal_ends_what_asked(void **state)
{
	(void)state;
	say(&one, 1, MR_M_QUEUE_PURGE, "wso", "q", 0);
	feed(&one);
	answer(MR_INTERNAL_ERROR, 0);
	struct heard end = hear(&one);
	assert_int_equal(end.id, MR_M_CONNECTION_CLOSE);
	assert_int_equal(mr_get16(end.at), 541);
}

static void test_nobody_says_what_became_of_a_request_when_the_store_is_lost(void **state)
{
	(void)state;
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&one, 1, "", "q", 1, NULL, mr_slice_str("x"));
	GET(&one, 1, "q", 0);
	feed(&one);
	for (int i = 0; i < 2; i++) mr_backing_lose(f.due[i]);
	HEARS(&one, 0);
	assert_true(mr_broker_session_reads(one.session)); /* its end is its owner's to say */
}

static void test_a_publish_is_confirmed_by_the_answer_and_several_by_one_ack(void **state)
{
	(void)state;
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 0);
	for (int i = 0; i < 4; i++) publish(&one, 1, "", "q", 0, NULL, mr_slice_str("x"));
	feed(&one);
	HEARS(&one, MR_M_CONFIRM_SELECT_OK);
	assert_int_equal(f.published, 4);
	HEARS(&one, 0);
	struct mr_promise *later[] = {f.due[1], f.due[2]};
	for (int i = 0; i < 2; i++)
		later[i]->told(later[i]); /* mr_confirm_later: before the first */
	mr_turn_end(f.b);
	struct heard ack = hear(&one);
	assert_int_equal(ack.id, MR_M_BASIC_ACK);
	assert_int_equal(ack.at[7], 2);
	assert_int_equal(ack.at[8], 0); /* not for the first, which has no answer */
	ack = hear(&one);
	assert_int_equal(ack.at[7], 3);
	f.due[1] = f.due[3];
	f.due_count = 2;
	answer(MR_INTERNAL_ERROR, 0);
	HEARS(&one, MR_M_BASIC_NACK);
	answer(MR_OK, 1);
	ack = hear(&one);
	assert_int_equal(ack.id, MR_M_BASIC_ACK);
	assert_int_equal(ack.at[7], 4);
}

static void test_a_get_of_what_has_expired_asks_for_the_next_one(void **state)
{
	(void)state;
	GET(&one, 1, "q", 0);
	feed(&one);
	arrives_for("late", f.b->store.now);
	answer(MR_OK, 1);
	HEARS(&one, 0);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.due_count, 1);
	arrives_for("in time", f.b->store.now + 1);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_GET_OK);
	HEARS(&one, 0);
}

/* The oldest answer: not now. */
static void refuse_for_now(void)
{
	struct mr_promise *p = f.due[0];
	memmove(f.due, f.due + 1, --f.due_count * sizeof *f.due);
	p->is_for_now = true;
	mr_backing_refuse(p, 506, "no room");
	mr_turn_end(f.b);
}

static void test_what_is_refused_for_now_is_tried_again_and_blocks_publishers(void **state)
{
	(void)state;
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 0);
	for (int i = 0; i < 3; i++) publish(&one, 1, "", "q", 0, NULL, mr_slice_str("x"));
	feed(&one);
	HEARS(&one, MR_M_CONFIRM_SELECT_OK);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_ACK);
	refuse_for_now();
	refuse_for_now();
	HEARS(&one, 0);
	assert_false(mr_broker_session_reads(one.session));
	mr_pledge_retry(f.b);
	assert_int_equal(f.due_count, 2);
	refuse_for_now();
	HEARS(&one, 0); /* it is blocked still */
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_ACK);
	assert_false(mr_broker_session_reads(one.session));
	mr_pledge_retry(f.b);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_ACK);
	assert_true(mr_broker_session_reads(one.session));
	assert_int_equal(f.published, 5 + 1);
}

static void test_what_is_refused_for_now_is_forgotten_with_its_backing(void **state)
{
	(void)state;
	publish(&one, 1, "", "q", 0, NULL, mr_slice_str("x")); /* without confirms */
	feed(&one);
	refuse_for_now();
	assert_false(mr_broker_session_reads(one.session));
	mr_pledge_lose(f.b);
	mr_turn_end(f.b);
	assert_true(mr_broker_session_reads(one.session));
	mr_pledge_retry(f.b);
	assert_int_equal(f.due_count, 0);
}

static void test_a_mandatory_publish_for_nobody_comes_back_before_its_ack(void **state)
{
	(void)state;
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&one, 1, "", "none", 1, NULL, mr_slice_str("x"));
	publish(&one, 1, "", "q", 1, NULL, mr_slice_str("x"));
	feed(&one);
	answer(MR_OK, 0);
	HEARS(&one, MR_M_BASIC_RETURN);
	HEARS(&one, MR_M_BASIC_ACK);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_ACK);
	HEARS(&one, 0);
}

static void test_answers_for_a_connection_that_has_ended_find_nobody(void **state)
{
	(void)state;
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&one, 1, "", "q", 1, NULL, mr_slice_str("x"));
	GET(&one, 1, "q", 0);
	feed(&one);
	assert_int_equal(f.due_count, 2);
	leave(&one);
	answer(MR_OK, 0);
	answer(MR_OK, 0);
	arrive(&one, f.b);
	feed(&one);
}

static void test_a_consumer_has_fetched_what_it_can_take(void **state)
{
	(void)state;
	qos(&one, 1, 3, false);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	hush(&one);
	assert_int_equal(f.fetched, 1);
	assert_int_equal(f.most, 3);
	for (int i = 0; i < 3; i++) arrives("m");
	mr_pump(queue());
	for (int i = 0; i < 3; i++) HEARS(&one, MR_M_BASIC_DELIVER);
	size_t before = f.fetched;
	ACK(&one, 1, 2, 1);
	feed(&one);
	assert_int_equal(f.done, 2);
	assert_true(f.fetched > before);
	assert_int_equal(f.most, 2);
	NACK(&one, 1, 3, 2);
	feed(&one);
	assert_int_equal(f.back, 1);
	assert_int_equal(queue()->out, 0);
}

static void test_what_no_consumer_has_received_goes_back_with_the_last_one(void **state)
{
	(void)state;
	qos(&one, 1, 1, false);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	for (int i = 0; i < 3; i++) arrives("m");
	mr_pump(queue());
	say(&one, 1, MR_M_BASIC_CANCEL, "so", "c", 0);
	feed(&one);
	assert_int_equal(f.back, 2);
	assert_int_equal(f.last,
		2); /* the oldest is the last that goes back, as it will be the next */
	assert_int_equal(queue()->ready, 0);
	leave(&one); /* and the delivered one with its channel */
	assert_int_equal(f.back, 3);
	arrive(&one, f.b);
	feed(&one);
}

static void test_a_get_waits_for_its_message_or_for_the_news_that_there_is_none(void **state)
{
	(void)state;
	GET(&one, 1, "q", 0);
	feed(&one);
	arrives("m");
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_GET_OK);
	GET(&one, 1, "q", 0);
	feed(&one);
	answer(MR_OK, 0);
	HEARS(&one, MR_M_BASIC_GET_EMPTY);
}

static void test_a_dead_letter_is_forgotten_once_it_is_kept_and_put_back_if_it_is_not(void **state)
{
	mr_table *arguments = mr_table_new();
	(void)state;
	mr_table_add_string(arguments, "x-dead-letter-exchange", mr_slice_str(""));
	mr_table_add_string(arguments, "x-dead-letter-routing-key", mr_slice_str("dead"));
	say(&one, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	feed(&one);
	answer(MR_OK, 0);
	assert_int_equal(f.purged, 1);
	assert_int_equal(f.forgotten, 1);
	QUEUE_DECLARE(&one, 1, "q", 0, arguments);
	feed(&one);
	answer(MR_OK, 0);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	for (int i = 0; i < 2; i++) arrives("m");
	mr_pump(queue());
	NACK(&one, 1, 1, 0);
	NACK(&one, 1, 2, 0);
	feed(&one);
	assert_int_equal(f.published, 2);
	assert_int_equal(f.done, 0);
	answer(MR_OK, 1);
	assert_int_equal(f.done, 1);
	answer(MR_INTERNAL_ERROR, 0);
	assert_int_equal(f.back, 1);
	mr_table_free(arguments);
}

static void test_a_message_for_a_queue_that_delays_is_put_off(void **state)
{
	mr_value ttl = {.type = 'I', .as.integer = 5000};
	mr_properties sooner = {.flags = MR_HAS_EXPIRATION, .expiration = mr_slice_str("300")};
	mr_table *t = mr_table_new();
	(void)state;
	mr_table_add(t, "x-message-ttl", 13, &ttl);
	mr_table_add(t, "x-expires", 9, &ttl);
	mr_table_add_string(t, "x-dead-letter-exchange", mr_slice_str(""));
	mr_table_add_string(t, "x-dead-letter-routing-key", mr_slice_str("work"));
	QUEUE_DECLARE(&one, 1, "later", 0, t);
	feed(&one);
	answer(MR_OK, 0);
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	publish(&one, 1, "", "later", 0, NULL, mr_slice_str("x"));
	feed(&one);
	assert_int_equal(f.delayed, 1);
	assert_int_equal(f.ms, 5000);
	hush(&one);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_BASIC_ACK);
	publish(&one, 1, "", "later", 0, &sooner, mr_slice_str("x"));
	feed(&one);
	assert_int_equal(f.ms, 300);
	assert_int_equal(f.published, 0);
	answer(MR_OK, 1);
	mr_table_free(t);
}

static void test_a_delayed_publish_of_the_library_is_read_where_it_goes_at_rabbitmq(void **state)
{
	static const struct {
		const char *to, *first, *second_key, *second;
		uint64_t ms;
	} good[] = {{"queue work", "64s", "mr-delay-64s", "125ms", 64125},
		{"exit work", "4194304s.2", "mr-delay-4194304s.2", "4194304s", 8388608000}};
	(void)state;
	assert_true(mr_cascade_open(mr_broker_vhost(f.b, mr_slice_str("/"))));
	say(&one, 1, MR_M_CONFIRM_SELECT, "o", 1);
	for (size_t i = 0; i <= sizeof good / sizeof *good; i++) {
		bool is_bad = i == sizeof good / sizeof *good;
		mr_table *t = mr_table_new();
		mr_properties p = {.flags = MR_HAS_HEADERS, .headers = t};
		mr_table_add_string(t, "mr-delay-to",
			mr_slice_str(is_bad ? "exchange none" : good[i].to));
		if (!is_bad) {
			mr_table_add_string(t, "mr-delay", mr_slice_str(good[i].first));
			mr_table_add_string(t, good[i].second_key, mr_slice_str(good[i].second));
		}
		publish(&one, 1, "mr.delay", "work", 1, &p, mr_slice_str("x"));
		feed(&one);
		mr_turn_end(f.b);
		if (is_bad) {
			HEARS(&one, MR_M_BASIC_RETURN);
		} else {
			assert_int_equal(f.delayed, i + 1);
			assert_int_equal(f.ms, good[i].ms);
			answer(MR_OK, 1);
		}
		HEARS(&one, MR_M_BASIC_ACK);
		mr_table_free(t);
	}
	assert_int_equal(f.published, 0);
}

static void delay_to(const char *target)
{
	mr_table *t = mr_table_new();
	mr_properties p = {.flags = MR_HAS_HEADERS, .headers = t};
	mr_table_add_string(t, "mr-delay-to", mr_slice_str(target));
	mr_table_add_string(t, "mr-delay", mr_slice_str("1s"));
	publish(&one, 1, "mr.delay", "work", 1, &p, mr_slice_str("x"));
	feed(&one);
	mr_turn_end(f.b);
	mr_table_free(t);
}

static void test_a_delayed_publish_goes_on_through_a_queue_that_delays(void **state)
{
	mr_value ttl = {.type = 'I', .as.integer = 5000};
	mr_table *t = mr_table_new();
	(void)state;
	assert_true(mr_cascade_open(mr_broker_vhost(f.b, mr_slice_str("/"))));
	mr_table_add(t, "x-message-ttl", 13, &ttl);
	mr_table_add_string(t, "x-dead-letter-exchange", mr_slice_str(""));
	mr_table_add_string(t, "x-dead-letter-routing-key", mr_slice_str("work"));
	QUEUE_DECLARE(&one, 1, "later", 0, t);
	feed(&one);
	answer(MR_OK, 0);
	delay_to("queue later"); /* its list would keep it for ever */
	assert_int_equal(f.delayed, 1);
	assert_int_equal(f.ms, 6000);
	hush(&one);
	answer(MR_OK, 1);
	mr_table_free(t);
}

static void test_a_delayed_publish_to_what_is_no_target_comes_back(void **state)
{
	static const char *const bad[] = {"exchange amq.headers", "exchange mr.delay",
		"exchange amq.rabbitmq.trace", "exchange none", "nothing", ""};
	char longest[320] = "queue ";
	(void)state;
	assert_true(mr_cascade_open(mr_broker_vhost(f.b, mr_slice_str("/"))));
	memset(longest + 6, 'n', 300); /* a name has at most 255 bytes */
	for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
		delay_to(i < sizeof bad / sizeof *bad ? bad[i] : longest);
		HEARS(&one, MR_M_BASIC_RETURN);
	}
	assert_int_equal(f.delayed + f.published, 0);
}

static void test_messages_keep_the_order_in_which_they_were_fetched(void **state)
{
	mr_value most = {.type = 'I', .as.integer = 9};
	mr_table *t = mr_table_new();
	(void)state;
	say(&one, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	feed(&one);
	answer(MR_OK, 0);
	mr_table_add(t, "x-max-priority", 14, &most);
	QUEUE_DECLARE(&one, 1, "q", 0, t);
	feed(&one);
	answer(MR_OK, 0);
	for (uint8_t priority = 0; priority < 3; priority++) {
		f.priority = priority;
		arrives("m");
		assert_int_equal(mr_queue_head(queue())->message->priority, 0);
	}
	mr_queue_purge(queue());
	mr_table_free(t);
}

/* "work" rejects to "pause", which expires into "wait", which expires into "work". */
static void test_a_dead_letter_for_a_queue_that_delays_is_put_off(void **state)
{
	static const char *const names[] = {"q", "pause", "wait", "work"};
	mr_value ttl = {.type = 'I', .as.integer = 5000};
	(void)state;
	say(&one, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	feed(&one);
	answer(MR_OK, 0);
	for (int i = 0; i < 3; i++) {
		mr_table *t = mr_table_new();
		if (i) mr_table_add(t, "x-message-ttl", 13, &ttl);
		mr_table_add_string(t, "x-dead-letter-exchange", mr_slice_str(""));
		mr_table_add_string(t, "x-dead-letter-routing-key", mr_slice_str(names[i + 1]));
		QUEUE_DECLARE(&one, 1, names[i], 0, t);
		feed(&one);
		answer(MR_OK, 0);
		mr_table_free(t);
	}
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	arrives("m");
	mr_pump(queue());
	NACK(&one, 1, 1, 0);
	feed(&one);
	assert_int_equal(f.published, 0);
	assert_int_equal(f.delayed, 1);
	assert_int_equal(f.ms, 10000);
	answer(MR_OK, 1);
	assert_int_equal(f.done, 1);
	EXCHANGE_DECLARE(&one, 1, "x", "direct", 0, NULL);
	QUEUE_BIND(&one, 1, "wait", "x", "k", NULL); /* mr_backed_check_binding */
	feed(&one);
	assert_int_equal(f.bound, 0);
	hush(&one);
}

static void test_bindings_are_made_and_removed_there(void **state)
{
	(void)state;
	EXCHANGE_DECLARE(&one, 1, "x", "topic", 0, NULL);
	QUEUE_BIND(&one, 1, "q", "x", "k", NULL);
	feed(&one);
	hush(&one);
	assert_int_equal(f.bound, 1);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_QUEUE_BIND_OK);
	say(&one, 1, MR_M_QUEUE_UNBIND, "wsssT", "q", "x", "k", NULL);
	feed(&one);
	assert_int_equal(f.unbound, 1);
	answer(MR_OK, 1);
	HEARS(&one, MR_M_QUEUE_UNBIND_OK);
}

/* Each on a channel of its own, which its error closes. */
static void test_what_it_has_not_is_an_error(void **state)
{
	static const char *const arguments[] = {"x-message-ttl", "x-expires", "x-max-length",
		"x-max-length-bytes", "x-delivery-limit"};
	int channel = 2;
	(void)state;
	for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++, channel++) {
		mr_table *t = mr_table_new();
		mr_value number = {.type = 'I', .as.integer = 1};
		mr_table_add(t, arguments[i], strlen(arguments[i]), &number);
		CHANNEL_OPEN(&one, channel);
		QUEUE_DECLARE(&one, channel, "r", 0, t);
		feed(&one);
		HEARS(&one, MR_M_CHANNEL_OPEN_OK);
		HEARS(&one, MR_M_CHANNEL_CLOSE);
		mr_table_free(t);
	}
	CHANNEL_OPEN(&one, channel);
	EXCHANGE_DECLARE(&one, channel, "x", "headers", 0, NULL);
	CHANNEL_OPEN(&one, channel + 1);
	say(&one, channel + 1, MR_M_EXCHANGE_BIND, "wsssoT", "amq.topic", "amq.direct", "k", 0,
		NULL);
	feed(&one);
	for (int i = 0; i < 2; i++) {
		HEARS(&one, MR_M_CHANNEL_OPEN_OK);
		HEARS(&one, MR_M_CHANNEL_CLOSE);
	}
	assert_int_equal(f.published, 0);
	say(&one, 1, MR_M_TX_SELECT, "");
	feed(&one);
	HEARS(&one, MR_M_CONNECTION_CLOSE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_a_client_is_not_read_while_an_answer_is_due),
		CASE(test_a_refusal_ends_what_asked),
		CASE(test_nobody_says_what_became_of_a_request_when_the_store_is_lost),
		CASE(test_a_publish_is_confirmed_by_the_answer_and_several_by_one_ack),
		CASE(test_a_mandatory_publish_for_nobody_comes_back_before_its_ack),
		CASE(test_answers_for_a_connection_that_has_ended_find_nobody),
		CASE(test_a_consumer_has_fetched_what_it_can_take),
		CASE(test_what_no_consumer_has_received_goes_back_with_the_last_one),
		CASE(test_what_is_refused_for_now_is_tried_again_and_blocks_publishers),
		CASE(test_what_is_refused_for_now_is_forgotten_with_its_backing),
		CASE(test_a_get_of_what_has_expired_asks_for_the_next_one),
		CASE(test_a_get_waits_for_its_message_or_for_the_news_that_there_is_none),
		CASE(test_a_dead_letter_is_forgotten_once_it_is_kept_and_put_back_if_it_is_not),
		CASE(test_a_message_for_a_queue_that_delays_is_put_off),
		CASE(test_a_delayed_publish_of_the_library_is_read_where_it_goes_at_rabbitmq),
		CASE(test_a_delayed_publish_goes_on_through_a_queue_that_delays),
		CASE(test_a_delayed_publish_to_what_is_no_target_comes_back),
		CASE(test_messages_keep_the_order_in_which_they_were_fetched),
		CASE(test_a_dead_letter_for_a_queue_that_delays_is_put_off),
		CASE(test_bindings_are_made_and_removed_there),
		CASE(test_what_it_has_not_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
