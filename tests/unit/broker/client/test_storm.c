/* test_storm: what is under way over many turns, while all that it touches may go (FIELD-F11).
 * Feature: the broker as a whole, under random orders
 * SPDX-License-Identifier: MIT
 * Turns are of a few steps, so that nearly every message is spread and nearly every end is razed while something else
 * happens: queues, exchanges, channels and connections go and come, in an order that a seed decides (MR_STORM_SEED, and
 * MR_STORM_ROUNDS for how many). */
#include "broker_bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 20, EVENTS = 600, QUEUES = 120, SIDES = 3, TURN = 9 };

struct storm {
	struct mr_broker *b;
	struct client sides[SIDES];
	uint32_t random;
	unsigned sent;
};

static unsigned any(struct storm *s, unsigned below)
{
	s->random = s->random * 1664525u + 1013904223u;
	return (s->random >> 10) % below;
}

static void declare_one(struct storm *s, struct client *c)
{
	static const int kinds[] = {0, 0, 4, 8}; /* exclusive, auto-delete */
	static const char *const targets[] = {"x", "x", "y", "z", "z"};
	char name[16];
	unsigned n = any(s, QUEUES);
	mr_table *args = n % 5 ? NULL : new_table();
	if (args) add_text(args, "x-dead-letter-exchange", "z");
	if (args) add_number(args, "x-max-length", n % 3);
	if (args && n % 4 == 0) add_text(args, "x-overflow", "reject-publish-dlx");
	snprintf(name, sizeof name, "q%u", n);
	QUEUE_DECLARE(c, 1, name, kinds[n % 4], args);
	QUEUE_BIND(c, 1, name, args ? "x" : targets[any(s, 5)], "", NULL);
	mr_table_free(args);
}

static void declare_exchanges(struct client *c)
{
	EXCHANGE_DECLARE(c, 1, "x", "fanout", 0, NULL);
	EXCHANGE_DECLARE(c, 1, "z", "fanout", 0,
		NULL); /* of dead letters: none of them dies again */
	EXCHANGE_DECLARE(c, 1, "y", "fanout", 4, NULL); /* auto-delete */
	say(c, 1, MR_M_EXCHANGE_BIND, "wsssoT", "y", "x", "", 0, NULL);
}

static void open_one(struct client *c, int channel)
{
	CHANNEL_OPEN(c, channel);
	if (channel == 2) say(c, 2, MR_M_CONFIRM_SELECT, "o", 0);
	if (channel == 3) say(c, 3, MR_M_TX_SELECT, "");
}

static void come(struct storm *s, struct client *c)
{
	arrive(c, s->b); /* with channel 1 */
	open_one(c, 2);
	open_one(c, 3);
}

static void open_anew(struct client *c, int channel)
{
	CHANNEL_CLOSE(c, channel);
	open_one(c, channel);
}

static void publish_some(struct storm *s, struct client *c, int channel)
{
	char body[16], key[16];
	for (unsigned n = any(s, 4); n--;) {
		snprintf(body, sizeof body, "%08u", s->sent++);
		snprintf(key, sizeof key, "q%u", any(s, QUEUES));
		bool is_named = any(s, 4) == 0;
		publish(c, channel,
			is_named    ? ""
			: any(s, 3) ? "x"
				    : "y",
			key, 1, NULL, mr_slice_str(body));
	}
	if (channel == 3) say(c, 3, any(s, 3) ? MR_M_TX_COMMIT : MR_M_TX_ROLLBACK, "");
}

static void event(struct storm *s, struct client *c)
{
	char name[16], tag[16];
	snprintf(name, sizeof name, "q%u", any(s, QUEUES));
	snprintf(tag, sizeof tag, "t%u", s->sent++);
	switch (any(s, 16)) {
	case 0: say(c, 1, MR_M_QUEUE_DELETE, "wso", name, 0); break;
	case 1:
		if (any(s, 6)) break;
		say(c, 1, MR_M_EXCHANGE_DELETE, "wso", any(s, 2) ? "x" : "y", 0);
		break;
	case 2: declare_exchanges(c); break;
	case 3: open_anew(c, (int)any(s, 3) + 1); break;
	case 4: ACK(c, 1, 0, 1); break;
	case 5: CONSUME(c, 1, name, tag, any(s, 2) ? 2 : 0, NULL); break;
	case 6: say(c, 1, MR_M_BASIC_RECOVER, "o", 1); break;
	case 7: say(c, 1, MR_M_QUEUE_PURGE, "wso", name, 0); break;
	case 8:
		if (any(s, 4)) break;
		leave(c);
		come(s, c);
		break;
	case 9: publish_some(s, c, 3); break;
	case 10:
	case 11: publish_some(s, c, 2); break;
	default:
		for (int i = 0; i < 8; i++) declare_one(s, c);
	}
}

static void turn(struct storm *s)
{
	for (int i = 0; i < SIDES; i++) {
		struct client *c = &s->sides[i];
		mr_turn_begin(s->b, any(s, TURN) + 1);
		feed(c);
		hush(c);
		if (c->session->state != MR_BS_ENDED && c->session->state != MR_BS_CLOSING)
			continue;
		leave(c);
		come(s, c);
	}
	mr_turn_begin(s->b, any(s, TURN) + 1);
	s->b->store.now += any(s, 3);
	mr_turn_tick(s->b);
	mr_turn_resume(s->b);
}

static void finish(struct storm *s, long before)
{
	mr_turn_begin(s->b, MR_WORK_UNBOUNDED);
	for (int i = 0; i < SIDES; i++) leave(&s->sides[i]);
	mr_turn_resume(s->b);
	assert_false(mr_turn_has_more(s->b));
	struct mr_vhost *v = mr_broker_vhost(s->b, mr_slice_str("/"));
	size_t at = 0;
	for (struct mr_queue *q; (q = mr_map_next(&v->queues, &at, NULL));) {
		assert_false(q->exclusive);
		assert_int_equal(q->out, 0);
		assert_int_equal(q->consumer_count, 0);
		mr_raze_queue(q);
	}
	assert_int_equal(s->b->store.memory, 0);
	mr_turn_finish(s->b);
	mr_broker_close(s->b);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_nothing_is_left_whatever_goes_while_it_is_under_way(void **state)
{
	(void)state;
	const char *seed = getenv("MR_STORM_SEED"), *rounds = getenv("MR_STORM_ROUNDS");
	unsigned from = seed ? (unsigned)atoi(seed) : 1;
	for (unsigned n = from; n < from + (unsigned)(rounds ? atoi(rounds) : ROUNDS); n++) {
		long before = mr_alloc_live();
		struct storm s = {.b = new_broker(), .random = n * 7919};
		if (rounds) print_message("seed %u\n", n);
		for (int i = 0; i < SIDES; i++) come(&s, &s.sides[i]);
		declare_exchanges(&s.sides[0]);
		for (int i = 0; i < EVENTS; i++) {
			event(&s, &s.sides[any(&s, SIDES)]);
			turn(&s);
		}
		finish(&s, before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left_whatever_goes_while_it_is_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
