/* test_passed_on: messages that a backing only passes on, as those of fanout exchanges: they are kept here.
 * Feature: a backing that passes messages on
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include "broker/store/backing.h"
#include "broker/store/dead_letter.h"

struct mr_taken {
	int number;
};

static struct
	fake { /* a backing that answers at once: `count`, or what `refuses` or `waits` says */
	struct mr_backing backing; /* first */
	struct mr_broker *b;
	size_t count;
	bool refuses, waits;
	size_t got, back, done, published, ended;
} f;

static struct client one;

static void tell(struct mr_promise *p)
{
	if (!p) return;
	p->count = f.count;
	p->is_for_now = f.waits;
	if (f.refuses || f.waits)
		mr_backing_refuse(p, 541, "it is away");
	else
		p->told(p);
}

static void on_publish(struct mr_backing *b, const struct mr_exchange *x,
	const struct mr_message *m, struct mr_promise *p)
{
	(void)b;
	(void)x;
	(void)m;
	f.published++;
	tell(p);
}

static void on_fetch(struct mr_backing *b, struct mr_queue *q, size_t most)
{
	(void)b;
	(void)q;
	(void)most;
}

static void on_get(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	(void)b;
	(void)q;
	f.got++;
	tell(p);
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
	free(t);
}

static void on_count(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	(void)b;
	(void)q;
	tell(p);
}

/* Notes all bindings of the queue. */
static void on_bind(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	const struct mr_node *all = &q->target.inbound;
	(void)b;
	(void)key;
	for (struct mr_node *n = all->next; n != all; n = n->next) {
		struct mr_binding *e = mr_container(n, struct mr_binding, at_target);
		if (e->source == x) e->is_noted = true;
	}
	tell(p);
}

static void on_unbind(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	(void)b;
	(void)q;
	(void)key;
	assert_string_equal(x->name, "x"); /* it is still there */
	tell(p);
}

static void on_purge(struct mr_backing *b, struct mr_queue *q, bool whole, struct mr_promise *p)
{
	(void)b;
	(void)q;
	(void)whole;
	tell(p);
}

static void on_forget(struct mr_backing *b, struct mr_queue *q)
{
	(void)b;
	(void)q;
}

static void on_unbound(struct mr_backing *b, const struct mr_binding *e)
{
	(void)b;
	assert_string_equal(e->source->name, "x");
	assert_string_equal(e->target->queue->name, "q");
	f.ended++;
}

static const struct mr_backing_class class = {on_publish, NULL, on_fetch, NULL, on_get, on_done,
	on_back, on_count, on_bind, on_unbind, on_purge, on_forget, on_unbound};

static struct mr_queue *queue(void)
{
	return mr_vhost_queue(mr_broker_vhost(f.b, mr_slice_str("/")), mr_slice_str("q"));
}

/* A message is passed on, or, with `is_kept_there`, was fetched. */
static void arrives(bool is_kept_there)
{
	struct mr_message *m =
		mr_message_new(mr_slice_str("x"), mr_slice_str(""), mr_slice_of("\0\0", 2), 20);
	struct mr_taken *t = is_kept_there ? calloc(1, sizeof *t) : NULL;
	m->body_size = 1;
	*(char *)(uintptr_t)mr_message_body(m).data = 'm';
	mr_store_grew(&f.b->store, mr_message_weight(m));
	if (is_kept_there)
		assert_true(mr_queue_arrive(queue(), m, t, MR_NEVER, false));
	else
		assert_true(mr_pump_in(queue(), m));
	mr_store_drop(&f.b->store, m);
}

static void declare(mr_table *arguments)
{
	QUEUE_DECLARE(&one, 1, "q", 0, arguments);
	feed(&one);
	hush(&one);
}

static int setup(void **state)
{
	(void)state;
	f = (struct fake){.backing.class = &class};
	assert_int_equal(mr_broker_open(&f.b, 1, 0), MR_OK);
	f.b->store.backing = &f.backing;
	mr_turn_begin(f.b, MR_WORK_UNBOUNDED);
	arrive(&one, f.b);
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

static void test_they_are_counted_got_and_purged_without_the_backing(void **state)
{
	(void)state;
	declare(NULL);
	for (int i = 0; i < 3; i++) arrives(false);
	f.count = 4;
	QUEUE_DECLARE(&one, 1, "q", 0, NULL);
	feed(&one);
	struct heard ok = hear(&one);
	assert_int_equal(ok.id, MR_M_QUEUE_DECLARE_OK);
	assert_int_equal(mr_get32(ok.at + 2), 7);
	GET(&one, 1, "q", 0);
	feed(&one);
	HEARS(&one, MR_M_BASIC_GET_OK);
	assert_int_equal(f.got, 0);
	NACK(&one, 1, 1, 2); /* back to where it was */
	feed(&one);
	assert_int_equal(f.back, 0);
	assert_int_equal(queue()->own, 3);
	say(&one, 1, MR_M_QUEUE_PURGE, "wso", "q", 0);
	feed(&one);
	ok = hear(&one);
	assert_int_equal(ok.id, MR_M_QUEUE_PURGE_OK);
	assert_int_equal(mr_get32(ok.at), 7);
	assert_int_equal(queue()->own, 0);
	f.count = 0;
	GET(&one, 1, "q", 0);
	feed(&one);
	HEARS(&one, MR_M_BASIC_GET_EMPTY);
	assert_int_equal(f.got, 1);
}

static void test_they_stay_when_the_last_consumer_ends_and_others_go_back(void **state)
{
	(void)state;
	declare(NULL);
	qos(&one, 1, 1, false);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	for (int i = 0; i < 4; i++) arrives(i % 2);
	mr_pump(queue());
	say(&one, 1, MR_M_BASIC_CANCEL, "so", "c", 0);
	feed(&one);
	assert_int_equal(f.back, 2);
	assert_int_equal(queue()->ready, 1); /* the other one is delivered */
	assert_int_equal(queue()->own, 1);
	say(&one, 1, MR_M_BASIC_RECOVER, "o", 1);
	feed(&one);
	assert_int_equal(queue()->own, 2);
	assert_true(mr_queue_head(queue())->redelivered);
}

static void test_dead_letters_of_theirs_are_the_backings(void **state)
{
	mr_table *arguments = mr_table_new();
	(void)state;
	mr_table_add_string(arguments, "x-dead-letter-exchange", mr_slice_str(""));
	declare(arguments);
	arrives(false);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	f.refuses = true;
	NACK(&one, 1, 1, 0);
	feed(&one);
	assert_int_equal(f.published, 1);
	assert_int_equal(queue()->out, 1); /* it could not be kept there, and is delivered again */
	f.refuses = false;
	NACK(&one, 1, 2, 0);
	feed(&one);
	assert_int_equal(f.published, 2);
	assert_int_equal(queue()->ready + queue()->out, 0);
	mr_table_free(arguments);
}

/* A message of q that is rejected while the backing takes nothing for now. */
static void reject(void)
{
	mr_table *arguments = mr_table_new();
	mr_table_add_string(arguments, "x-dead-letter-exchange", mr_slice_str(""));
	declare(arguments);
	mr_table_free(arguments);
	arrives(false);
	CONSUME(&one, 1, "q", "c", 0, NULL);
	feed(&one);
	f.waits = true;
	NACK(&one, 1, 1, 0);
	feed(&one);
	assert_int_equal(f.published, 1);
	assert_int_equal(queue()->put_off, 1);
}

static void test_a_dead_letter_that_is_refused_for_now_is_given_again(void **state)
{
	(void)state;
	reject();
	mr_dead_letter_retry(&f.b->store);
	assert_int_equal(f.published, 2);
	assert_int_equal(queue()->put_off, 1);
	f.waits = false;
	mr_dead_letter_retry(&f.b->store);
	assert_int_equal(f.published, 3);
	assert_int_equal(queue()->put_off + queue()->ready + queue()->out, 0);
}

static void test_a_dead_letter_goes_back_when_the_backing_is_lost(void **state)
{
	(void)state;
	reject();
	mr_dead_letter_lose(&f.b->store);
	assert_int_equal(queue()->put_off, 0);
	assert_int_equal(queue()->ready, 1);
}

static void test_a_dead_letter_of_a_queue_that_is_gone_does_not_stay(void **state)
{
	(void)state;
	uint64_t before = f.b->store.memory;
	reject();
	say(&one, 1, MR_M_QUEUE_DELETE, "wso", "q", 0);
	feed(&one);
	mr_dead_letter_lose(&f.b->store);
	assert_int_equal(f.b->store.memory, before);
}

static void test_the_end_of_a_binding_is_told_however_it_comes(void **state)
{
	static const uint32_t ends[] = {MR_M_QUEUE_UNBIND, MR_M_EXCHANGE_DELETE, MR_M_QUEUE_DELETE,
		0};
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		declare(NULL);
		/* An auto-delete one: it ends with its last binding. */
		EXCHANGE_DECLARE(&one, 1, "x", "fanout", 4, NULL);
		QUEUE_BIND(&one, 1, "q", "x", "k", NULL);
		feed(&one);
		assert_int_equal(f.ended, i);
		switch (ends[i]) {
		case MR_M_QUEUE_UNBIND: say(&one, 1, ends[i], "wsssT", "q", "x", "k", NULL); break;
		case MR_M_EXCHANGE_DELETE: say(&one, 1, ends[i], "wso", "x", 0); break;
		case MR_M_QUEUE_DELETE: say(&one, 1, ends[i], "wso", "q", 0); break;
		default: mr_raze_queue(queue());
		}
		feed(&one);
		hush(&one);
		assert_int_equal(f.ended, i + 1);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_they_are_counted_got_and_purged_without_the_backing),
		CASE(test_they_stay_when_the_last_consumer_ends_and_others_go_back),
		CASE(test_dead_letters_of_theirs_are_the_backings),
		CASE(test_a_dead_letter_that_is_refused_for_now_is_given_again),
		CASE(test_a_dead_letter_goes_back_when_the_backing_is_lost),
		CASE(test_a_dead_letter_of_a_queue_that_is_gone_does_not_stay),
		CASE(test_the_end_of_a_binding_is_told_however_it_comes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
