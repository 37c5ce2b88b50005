/* test_exchange: where a message goes.
 * Covers: runtime/broker/store/raze.c by mr_raze_exchange
 * Covers: runtime/broker/store/route.c by mr_route_begin
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include <time.h>

struct place { /* a virtual host to bind in */
	long before;
	struct mr_broker *b;
	struct mr_vhost *v;
};

static void begin(struct place *p)
{
	p->before = mr_alloc_live();
	p->b = new_broker();
	p->v = mr_broker_vhost(p->b, mr_slice_str("/"));
}

static void end(struct place *p)
{
	mr_turn_finish(p->b);
	mr_broker_close(p->b);
	assert_int_equal(mr_alloc_live(), p->before);
}

static struct mr_queue *add_queue(struct place *p, const char *name)
{
	static const struct mr_limits none = {.ttl = -1,
		.expires = -1,
		.max_length = -1,
		.max_bytes = -1,
		.deliveries = -1};
	struct mr_queue *q = mr_queue_new(p->v->store, mr_slice_str(name), (mr_slice){0}, &none);
	assert_non_null(q);
	assert_int_equal(mr_vhost_add_queue(p->v, q), MR_OK);
	return q;
}

static struct mr_exchange *exchange_of(struct place *p, const char *name)
{
	return mr_vhost_exchange(p->v, mr_slice_str(name));
}

static struct mr_exchange *add_exchange(struct place *p, const char *name,
	enum mr_exchange_type type, const char *alternate)
{
	char *copy = alternate ? mr_strdup_n(alternate, strlen(alternate)) : NULL;
	struct mr_exchange *x = mr_exchange_new(mr_slice_str(name), type, (mr_slice){0}, copy);
	assert_non_null(x);
	assert_int_equal(mr_vhost_add_exchange(p->v, x), MR_OK);
	return x;
}

static void bind_to(struct mr_exchange *x, struct mr_target *t, const char *key)
{
	assert_int_equal(mr_exchange_bind(x, t, mr_slice_str(key), (mr_slice){0}), MR_OK);
}

static size_t route(struct place *p, struct mr_exchange *x, const char *key)
{
	mr_route_begin(&p->b->store.route);
	p->b->store.route.exchanges = &p->v->exchanges;
	struct mr_addresses to = {.key = mr_slice_str(key)};
	mr_exchange_route(x, &to, &p->b->store.route);
	assert_false(p->b->store.route.failed);
	return p->b->store.route.count;
}

static void test_a_queue_bound_in_many_ways_gets_a_message_once(void **state)
{
	struct place p;
	(void)state;
	begin(&p);
	struct mr_queue *q = add_queue(&p, "q");
	struct mr_exchange *topic = exchange_of(&p, "amq.topic"),
			   *fanout = exchange_of(&p, "amq.fanout");
	bind_to(topic, &q->target, "#");
	bind_to(topic, &q->target, "a.*");
	bind_to(topic, &q->target, "a.b");
	bind_to(fanout, &q->target, "");
	bind_to(topic, &fanout->target, "a.#");
	bind_to(fanout, &topic->target, ""); /* a cycle */
	assert_int_equal(route(&p, topic, "a.b"), 1);
	assert_int_equal(route(&p, fanout, "x"), 1);
	end(&p);
}

static void test_the_same_binding_twice_is_one(void **state)
{
	struct place p;
	static const char *const names[] = {"amq.direct", "amq.fanout", "amq.topic", "amq.headers"};
	static const char *const arguments[] = {"\0\0\0\6\1aV\1bV", "\0\0\0\6\1bV\1aV"};
	static const mr_slice none;
	(void)state;
	begin(&p);
	struct mr_queue *q = add_queue(&p, "q");
	for (int i = 0; i < 4; i++) {
		struct mr_exchange *x = exchange_of(&p, names[i]);
		bind_to(x, &q->target, "k");
		bind_to(x, &q->target, "k");
		assert_int_equal(x->binding_count, 1);
		bind_to(x, &q->target, "other");
		assert_int_equal(x->binding_count, 2);
		for (int n = 0; n < 2; n++) /* in another order they are the same */
			assert_int_equal(mr_exchange_bind(x, &q->target, mr_slice_str("k"),
						 mr_slice_of(arguments[n], 10)),
				MR_OK);
		assert_int_equal(x->binding_count, 3);
		struct mr_binding *b = NULL;
		assert_int_equal(
			mr_exchange_find_binding(x, &q->target, mr_slice_str("k"), none, &b),
			MR_OK);
		mr_exchange_unbind(b);
		assert_int_equal(
			mr_exchange_find_binding(x, &q->target, mr_slice_str("k"), none, &b),
			MR_OK);
		assert_null(b);
		assert_int_equal(x->binding_count, 2);
	}
	end(&p);
}

static void test_what_an_exchange_cannot_place_goes_to_its_alternate(void **state)
{
	struct place p;
	(void)state;
	begin(&p);
	struct mr_queue *q = add_queue(&p, "q");
	struct mr_exchange *one = add_exchange(&p, "one", MR_X_DIRECT, "two");
	struct mr_exchange *two = add_exchange(&p, "two", MR_X_DIRECT, "one");
	assert_int_equal(route(&p, one, "k"), 0); /* each is the other's: it ends all the same */
	bind_to(two, &q->target, "k");
	assert_int_equal(route(&p, one, "k"), 1);
	mr_raze_exchange(two);
	assert_int_equal(route(&p, one, "k"), 0);
	end(&p);
}

static void test_removal_takes_bindings_on_both_sides(void **state)
{
	struct place p;
	(void)state;
	begin(&p);
	struct mr_queue *q = add_queue(&p, "q");
	struct mr_exchange *one = add_exchange(&p, "one", MR_X_FANOUT, NULL);
	struct mr_exchange *two = add_exchange(&p, "two", MR_X_TOPIC, NULL);
	struct mr_exchange *three = add_exchange(&p, "three", MR_X_HEADERS, NULL);
	one->auto_delete = three->auto_delete = true;
	bind_to(one, &two->target, "");
	bind_to(two, &q->target, "#");
	bind_to(three, &q->target, "");
	mr_raze_exchange(two); /* and `one`, whose only binding it was */
	assert_null(exchange_of(&p, "one"));
	assert_int_equal(q->target.inbound_count, 2); /* the default exchange and three */
	mr_raze_queue(q);
	assert_null(exchange_of(&p, "three"));
	assert_int_equal(exchange_of(&p, "")->binding_count, 0);
	end(&p);
}

/* Two auto-delete exchanges bound to each other and to the queue that goes. */
static void test_auto_delete_exchanges_in_a_ring_go_once(void **state)
{
	struct place p;
	(void)state;
	begin(&p);
	struct mr_exchange *x[3];
	struct mr_queue *q = add_queue(&p, "q");
	for (int i = 0; i < 3; i++) {
		char name[] = {(char)('x' + i), '\0'};
		x[i] = add_exchange(&p, name, MR_X_FANOUT, NULL);
		x[i]->auto_delete = true;
		bind_to(x[i], &q->target, "");
	}
	for (int i = 0; i < 3; i++) bind_to(x[i], &x[(i + 1) % 3]->target, "");
	size_t before = p.v->exchanges.count;
	mr_raze_queue(q);
	assert_int_equal(p.v->exchanges.count, before); /* each still has a binding */
	mr_raze_exchange(x[1]);                         /* and with it the ring unravels */
	assert_int_equal(p.v->exchanges.count, before - 3);
	end(&p);
}

/* ---- many bindings ---- */

enum { QUEUES = 10000, KEYS = 10000 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Keys below the first thousand are bound whatever the number of bindings. */
static double time_of_keys(struct place *p, struct mr_exchange *x)
{
	double best = 1e9;
	for (int run = 0; run < 5; run++) {
		size_t found = 0;
		double start = now();
		for (int i = 0; i < KEYS; i++) {
			char key[48];
			snprintf(key, sizeof key, "site%d.sensor%d.value", i % 50, i % 1000);
			found += route(p, x, key);
		}
		double took = now() - start;
		assert_int_equal(found, KEYS * 2);
		if (took < best) best = took;
	}
	return best;
}

static double time_with(int bindings)
{
	struct place p;
	begin(&p);
	struct mr_queue **queues = calloc(QUEUES, sizeof(struct mr_queue *));
	assert_non_null(queues);
	struct mr_exchange *x = exchange_of(&p, "amq.topic");
	for (int i = 0; i < QUEUES; i++) {
		char name[16];
		snprintf(name, sizeof name, "q%d", i);
		queues[i] = add_queue(&p, name);
	}
	for (int i = 0; i < bindings; i++) {
		char pattern[48];
		snprintf(pattern, sizeof pattern, i % 2 ? "*.sensor%d.#" : "*.sensor%d.*", i);
		bind_to(x, &queues[i % QUEUES]->target, pattern);
	}
	bind_to(x, &add_queue(&p, "all")->target, "#");
	double took = time_of_keys(&p, x);
	free(queues);
	end(&p);
	return took;
}

static void test_routing_does_not_take_longer_with_more_bindings(void **state)
{
	(void)state;
	double few = time_with(1000), many = time_with(100000);
	if (many / few >= 5) fail_msg("%.4f s with 1000 bindings, %.4f s with 100000", few, many);
}

/* So many bindings of one queue, alike but for their keys or their arguments: bound, and all unbound. */
static double time_of_binding(enum mr_exchange_type type, int bindings)
{
	struct place p;
	begin(&p);
	struct mr_exchange *x = add_exchange(&p, "x", type, NULL);
	struct mr_queue *q = add_queue(&p, "q");
	char key[16] = "", arguments[] = {0, 0, 0, 11, 1, 'a', 'S', 0, 0, 0, 4, 0, 0, 0, 0};
	bool by_key = type == MR_X_FANOUT || type == MR_X_TOPIC;
	double start = now();
	for (int unbind = 0; unbind < 2; unbind++) {
		for (int i = 0; i < bindings; i++) {
			if (by_key) snprintf(key, sizeof key, "%d", i);
			mr_put32(arguments + 11, (uint32_t)i);
			mr_slice k = mr_slice_str(key), a = {0};
			if (!by_key) a = mr_slice_of(arguments, sizeof arguments);
			struct mr_binding *b = NULL;
			if (!unbind) assert_int_equal(mr_exchange_bind(x, &q->target, k, a), MR_OK);
			assert_int_equal(mr_exchange_find_binding(x, &q->target, k, a, &b), MR_OK);
			assert_non_null(b);
			if (unbind) mr_exchange_unbind(b);
		}
		assert_int_equal(x->binding_count, unbind ? 0 : bindings);
	}
	double took = now() - start;
	end(&p);
	return took;
}

/* FIELD-F11. */
static void test_a_binding_does_not_take_longer_with_more_bindings(void **state)
{
	(void)state;
	for (enum mr_exchange_type type = MR_X_DIRECT; type <= MR_X_HEADERS; type++) {
		double few = time_of_binding(type, 5000), many = time_of_binding(type, 40000);
		if (many / few >= 8 * 5)
			fail_msg("%s: %.4f s for 5000 bindings, %.4f s for 40000",
				mr_exchange_type_name(type), few, many);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_queue_bound_in_many_ways_gets_a_message_once),
		cmocka_unit_test(test_the_same_binding_twice_is_one),
		cmocka_unit_test(test_what_an_exchange_cannot_place_goes_to_its_alternate),
		cmocka_unit_test(test_removal_takes_bindings_on_both_sides),
		cmocka_unit_test(test_auto_delete_exchanges_in_a_ring_go_once),
		cmocka_unit_test(test_routing_does_not_take_longer_with_more_bindings),
		cmocka_unit_test(test_a_binding_does_not_take_longer_with_more_bindings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
