/* test_topology: what is remembered of a program's declarations, and what goes with what.
 * Covers: runtime/amqp/records.c by mr_record_by_id
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/topology.h"
#include "base/alloc.h"
#include "base/value.h"

/* ---- what a program asks for; each succeeded ---- */

static enum mr_status note(struct mr_topology *t, uint16_t channel, mr_request r, const char *name)
{
	return mr_topology_note(t, channel, &r, mr_slice_str(name));
}

static mr_request request(int operation, const char *name, const char *extra, const char *key)
{
	mr_request r = {.operation = operation};
	r.name = mr_slice_str(name);
	r.extra = mr_slice_str(extra);
	r.routing_key = mr_slice_str(key);
	return r;
}

static void exchange(struct mr_topology *t, const char *name, uint32_t flags)
{
	mr_request r = request(MR_EXCHANGE_DECLARE, name, "topic", "");
	r.flags = flags;
	assert_int_equal(note(t, 1, r, ""), MR_OK);
}

static void queue(struct mr_topology *t, const char *name, uint32_t flags)
{
	mr_request r = request(MR_QUEUE_DECLARE, name, "", "");
	r.flags = flags;
	assert_int_equal(note(t, 1, r, name), MR_OK);
}

static void bind(struct mr_topology *t, const char *name, const char *source, const char *key)
{
	assert_int_equal(note(t, 1, request(MR_QUEUE_BIND, name, source, key), ""), MR_OK);
}

static void bind_exchange(struct mr_topology *t, const char *name, const char *source)
{
	assert_int_equal(note(t, 1, request(MR_EXCHANGE_BIND, name, source, "#"), ""), MR_OK);
}

static void consume(struct mr_topology *t, uint16_t channel, const char *name, uint32_t number)
{
	char tag[16];
	mr_request r = request(MR_BASIC_CONSUME, name, "", "");
	r.number = number;
	snprintf(tag, sizeof tag, "ctag-%u", number);
	assert_int_equal(note(t, channel, r, tag), MR_OK);
}

static void cancel(struct mr_topology *t, uint16_t channel, const char *tag)
{
	assert_int_equal(note(t, channel, request(MR_BASIC_CANCEL, "", tag, ""), ""), MR_OK);
}

static void ask(struct mr_topology *t, int operation, const char *name)
{
	assert_int_equal(note(t, 1, request(operation, name, "", ""), ""), MR_OK);
}

static void begin(struct mr_topology *t)
{
	mr_topology_init(t);
	assert_int_equal(mr_topology_channel(t, 1, 11), MR_OK);
	assert_int_equal(mr_topology_channel(t, 2, 12), MR_OK);
}

/* All records as text: x exchange, q queue, e exchange binding, b queue binding, c consumer. */
static const char *shown(const struct mr_topology *t)
{
	static const char letters[] = {[MR_EXCHANGE_DECLARE] = 'x',
		[MR_QUEUE_DECLARE] = 'q',
		[MR_EXCHANGE_BIND] = 'e',
		[MR_QUEUE_BIND] = 'b',
		[MR_BASIC_CONSUME] = 'c'};
	static char text[1000];
	size_t at = 0;
	text[0] = '\0';
	for (const struct mr_node *n = t->records.next; n != &t->records; n = n->next) {
		const struct mr_record *r =
			mr_container((struct mr_node *)(uintptr_t)n, struct mr_record, node);
		const char *more = r->request.operation == MR_QUEUE_BIND ||
		                                   r->request.operation == MR_EXCHANGE_BIND
		                           ? r->strings[1]
		                           : "";
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%c:%s%s%s", at ? " " : "",
			letters[r->request.operation], r->strings[0], *more ? "<" : "", more);
		assert_true(mr_slice_equal(r->request.name, mr_slice_str(r->strings[0])));
		assert_true(mr_slice_equal(r->request.extra, mr_slice_str(r->strings[1])));
		assert_true(mr_slice_equal(r->request.routing_key, mr_slice_str(r->strings[2])));
		assert_true(mr_record_by_id(t, r->id) == r);
	}
	return text;
}

/* ---- the tests ---- */

static void test_records_keep_the_order_in_which_they_succeeded(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	queue(&t, "q2", 0);
	exchange(&t, "x", 0);
	queue(&t, "q1", 0);
	bind(&t, "q1", "x", "k");
	bind_exchange(&t, "y", "x");
	consume(&t, 2, "q1", 5);
	assert_string_equal(shown(&t), "q:q2 x:x q:q1 b:q1<x e:y<x c:q1");
	assert_int_equal(mr_record_of_consumer(&t, 5)->channel, 2);
	assert_true(mr_topology_has_consumers(&t, 2));
	assert_false(mr_topology_has_consumers(&t, 1));
	mr_topology_fini(&t);
}

static void test_the_same_again_keeps_its_first_place(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "x", 0);
	queue(&t, "q", 0);
	bind(&t, "q", "x", "k");
	queue(&t, "other", 0);
	exchange(&t, "x", 0);
	queue(&t, "q", 0);
	bind(&t, "q", "x", "k");
	assert_string_equal(shown(&t), "x:x q:q b:q<x q:other");
	bind(&t, "q", "x", "k2"); /* another key: another binding */
	assert_string_equal(shown(&t), "x:x q:q b:q<x q:other b:q<x");
	mr_topology_fini(&t);
}

static const struct mr_record *only(const struct mr_topology *t, int operation, const char *name)
{
	const struct mr_record *found = NULL, *r = NULL;
	while ((r = mr_topology_next(t, operation, r))) {
		if (strcmp(r->strings[0], name) != 0) continue;
		assert_null(found);
		found = r;
	}
	assert_non_null(found);
	return found;
}

static void declare_with(struct mr_topology *t, int operation, const char *type, uint32_t flags,
	int limit)
{
	mr_value v = {.type = 'l', .as.integer = limit};
	mr_request r = request(operation, "e", type, "");
	r.flags = flags;
	r.arguments = mr_table_new();
	assert_int_equal(mr_table_add(r.arguments, "x-max-length", 12, &v), MR_OK);
	assert_int_equal(note(t, 2, r, operation == MR_QUEUE_DECLARE ? "e" : ""), MR_OK);
	mr_table_free(r.arguments);
}

static int64_t limit_of(const struct mr_record *r)
{
	return mr_table_find(r->request.arguments, "x-max-length")->as.integer;
}

/* FIELD-W3 */
static void test_the_last_declare_wins_at_the_place_of_the_first(void **state)
{
	static const int operations[] = {MR_QUEUE_DECLARE, MR_EXCHANGE_DECLARE};
	static const uint32_t unnoted[] = {MR_PASSIVE, MR_UNRECORDED};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mr_topology t;
		int op = operations[i];
		begin(&t);
		declare_with(&t, op, "direct", MR_DURABLE, 1);
		uint64_t id = only(&t, op, "e")->id;
		queue(&t, "behind", 0);
		declare_with(&t, op, "topic", MR_AUTO_DELETE, 1000);
		for (size_t k = 0; k < 2; k++) declare_with(&t, op, "fanout", unnoted[k], 5);
		const struct mr_record *r = only(&t, op, "e");
		assert_true(r->id == id);
		assert_int_equal(limit_of(r), 1000);
		assert_int_equal(r->request.flags, MR_AUTO_DELETE);
		assert_int_equal(r->channel, 2);
		assert_string_equal(r->strings[1], "topic");
		assert_true(strncmp(shown(&t) + 1, ":e q:behind", 11) == 0);
		mr_topology_fini(&t);
	}
}

/* FIELD-W3: a queue that the broker named stays one, and modes and consumers follow the last word, too. */
static void test_names_modes_and_consumers_follow_the_last_word(void **state)
{
	struct mr_topology t;
	mr_request qos = {.operation = MR_BASIC_QOS, .number = 5};
	(void)state;
	begin(&t);
	assert_int_equal(note(&t, 1, request(MR_QUEUE_DECLARE, "", "", ""), "amq.gen-1"), MR_OK);
	queue(&t, "amq.gen-1", 0);
	assert_true(only(&t, MR_QUEUE_DECLARE, "amq.gen-1")->server_named);
	assert_int_equal(note(&t, 1, qos, ""), MR_OK);
	qos.number = 9;
	assert_int_equal(note(&t, 1, qos, ""), MR_OK);
	assert_int_equal(mr_record_of_channel(&t, 1)->prefetch, 9);
	mr_request again = request(MR_BASIC_CONSUME, "other", "", "");
	again.number = 2;
	consume(&t, 1, "amq.gen-1", 1);
	mr_topology_cancelled(&t, 1);
	assert_int_equal(note(&t, 1, again, "ctag-1"),
		MR_OK); /* the tag is free, and taken again */
	assert_null(mr_record_of_consumer(&t, 1));
	assert_string_equal(mr_record_of_consumer(&t, 2)->strings[0], "other");
	mr_topology_fini(&t);
}

/* FIELD-R18: what is looked up is found without a walk. 40 000 records took minutes with one. */
static void test_many_records_take_no_longer_each_than_few(void **state)
{
	struct mr_topology t;
	char name[32], key[32];
	const int n = 40000;
	(void)state;
	begin(&t);
	queue(&t, "q", 0);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "q%d", i);
		snprintf(key, sizeof key, "k%d", i);
		queue(&t, name, 0);
		bind(&t, name, "x", key);
		bind(&t, "q", "x", key);
		consume(&t, 1, name, (uint32_t)i + 1);
	}
	struct mr_record *last = mr_record_of_consumer(&t, (uint32_t)n);
	assert_true(mr_record_by_id(&t, last->id) == last);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "ctag-%d", i + 1);
		cancel(&t, 1, name);
		snprintf(name, sizeof name, "q%d", i);
		mr_topology_rename(&t, name, mr_slice_str("new"));
		ask(&t, MR_QUEUE_DELETE, "new");
	}
	assert_null(mr_topology_next(&t, MR_BASIC_CONSUME, NULL));
	ask(&t, MR_EXCHANGE_DELETE, "x");
	assert_string_equal(shown(&t), "q:q");
	mr_topology_fini(&t);
}

static void test_a_deleted_queue_takes_its_bindings_and_consumers_along(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "x", 0);
	queue(&t, "q", 0);
	queue(&t, "kept", 0);
	bind(&t, "q", "x", "a");
	bind(&t, "kept", "x", "a");
	bind(&t, "q", "x", "b");
	consume(&t, 1, "q", 1);
	consume(&t, 2, "q", 2);
	consume(&t, 2, "kept", 3);
	ask(&t, MR_QUEUE_DELETE, "q");
	assert_string_equal(shown(&t), "x:x q:kept b:kept<x c:kept");
	ask(&t, MR_QUEUE_DELETE, "never there");
	assert_string_equal(shown(&t), "x:x q:kept b:kept<x c:kept");
	mr_topology_fini(&t);
}

static void test_a_deleted_exchange_takes_the_bindings_of_both_sides_along(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "x", 0);
	exchange(&t, "y", 0);
	queue(&t, "q", 0);
	bind(&t, "q", "x", "a");
	bind(&t, "q", "y", "a");
	bind_exchange(&t, "x", "y");
	bind_exchange(&t, "y", "x");
	ask(&t, MR_EXCHANGE_DELETE, "x");
	assert_string_equal(shown(&t), "x:y q:q b:q<y");
	mr_topology_fini(&t);
}

static void test_an_auto_delete_queue_goes_with_its_last_consumer(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	queue(&t, "q", MR_AUTO_DELETE);
	bind(&t, "q", "amq.topic", "k");
	assert_string_equal(shown(&t), "q:q b:q<amq.topic"); /* none yet: it stays */
	consume(&t, 1, "q", 1);
	consume(&t, 2, "q", 2);
	cancel(&t, 1, "ctag-1");
	assert_string_equal(shown(&t), "q:q b:q<amq.topic c:q");
	cancel(&t, 2, "ctag-2");
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_auto_delete_exchanges_go_with_their_last_binding_one_after_the_other(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "a", MR_AUTO_DELETE);
	exchange(&t, "b", MR_AUTO_DELETE);
	exchange(&t, "c", MR_AUTO_DELETE);
	queue(&t, "q", MR_AUTO_DELETE);
	bind_exchange(&t, "b", "a");
	bind_exchange(&t, "c", "b");
	bind(&t, "q", "c", "k");
	consume(&t, 1, "q", 1);
	assert_string_equal(shown(&t), "x:a x:b x:c q:q e:b<a e:c<b b:q<c c:q");
	cancel(&t, 1, "ctag-1"); /* the queue, then c, b and a */
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_auto_delete_exchanges_in_a_ring_go_without_an_end_to_it(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "a", MR_AUTO_DELETE);
	exchange(&t, "b", MR_AUTO_DELETE);
	bind_exchange(&t, "b", "a");
	bind_exchange(&t, "a", "b");
	bind_exchange(&t, "a", "a");
	ask(&t, MR_EXCHANGE_DELETE, "a");
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_an_auto_delete_exchange_stays_while_something_is_bound_to_it(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "x", MR_AUTO_DELETE);
	exchange(&t, "y", 0);
	queue(&t, "q", 0);
	bind(&t, "q", "x", "k");
	bind_exchange(&t, "y", "x");
	ask(&t, MR_QUEUE_DELETE, "q");
	assert_string_equal(shown(&t), "x:x x:y e:y<x");
	ask(&t, MR_EXCHANGE_DELETE, "y");
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static enum mr_status bind_with(struct mr_topology *t, int operation, const char *match)
{
	mr_request r = request(operation, "q", "x", "k");
	r.arguments = mr_table_new();
	mr_table_add_string(r.arguments, "x-match", mr_slice_str(match));
	enum mr_status st = note(t, 1, r, "");
	mr_table_free(r.arguments); /* the record has its own */
	return st;
}

static void test_an_unbind_hits_the_binding_with_its_arguments_only(void **state)
{
	struct mr_topology t;
	struct mr_record *r;
	(void)state;
	begin(&t);
	assert_int_equal(bind_with(&t, MR_QUEUE_BIND, "all"), MR_OK);
	assert_int_equal(bind_with(&t, MR_QUEUE_BIND, "any"), MR_OK);
	bind(&t, "q", "x", "k");
	assert_string_equal(shown(&t), "b:q<x b:q<x b:q<x");
	assert_int_equal(bind_with(&t, MR_QUEUE_UNBIND, "any"), MR_OK);
	r = mr_topology_next(&t, MR_QUEUE_BIND, NULL);
	const mr_value *v = mr_table_find(r->request.arguments, "x-match");
	assert_memory_equal(v->as.bytes.data, "all", 3);
	assert_null(mr_topology_next(&t, MR_QUEUE_BIND, r)->request.arguments);
	assert_int_equal(bind_with(&t, MR_QUEUE_UNBIND, "none"), MR_OK); /* not there */
	assert_int_equal(note(&t, 1, request(MR_QUEUE_UNBIND, "q", "x", "k2"), ""), MR_OK);
	assert_string_equal(shown(&t), "b:q<x b:q<x");
	assert_int_equal(note(&t, 1, request(MR_QUEUE_UNBIND, "q", "x", "k"), ""), MR_OK);
	assert_ptr_equal(mr_topology_next(&t, MR_QUEUE_BIND, NULL), r);
	assert_int_equal(bind_with(&t, MR_QUEUE_UNBIND, "all"), MR_OK);
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_queues_and_exchanges_of_one_name_have_bindings_of_their_own(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	queue(&t, "same", 0);
	exchange(&t, "same", 0);
	exchange(&t, "x", 0);
	bind(&t, "same", "x", "#");
	bind_exchange(&t, "same", "x");
	assert_int_equal(note(&t, 1, request(MR_EXCHANGE_UNBIND, "same", "x", "#"), ""), MR_OK);
	assert_string_equal(shown(&t), "q:same x:same x:x b:same<x");
	ask(&t, MR_EXCHANGE_DELETE, "same");
	assert_string_equal(shown(&t), "q:same x:x b:same<x");
	mr_topology_fini(&t);
}

static void test_a_tag_is_cancelled_on_its_own_channel_only(void **state)
{
	struct mr_topology t;
	mr_request r = request(MR_BASIC_CONSUME, "q", "", "");
	(void)state;
	begin(&t);
	for (uint16_t channel = 1; channel <= 2; channel++) {
		r.number = channel;
		assert_int_equal(note(&t, channel, r, "tag"), MR_OK);
	}
	cancel(&t, 2, "tag");
	assert_non_null(mr_record_of_consumer(&t, 1));
	assert_null(mr_record_of_consumer(&t, 2));
	cancel(&t, 1, "never there");
	mr_topology_cancel(&t, mr_record_of_consumer(&t, 1));
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_a_consumer_that_the_broker_cancelled_stays_marked(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	queue(&t, "q", MR_AUTO_DELETE);
	consume(&t, 1, "q", 1);
	assert_true(mr_topology_cancelled(&t, 1)->cancelled);
	assert_null(mr_topology_cancelled(&t, 2));
	assert_string_equal(shown(&t), "q:q c:q");
	mr_topology_fini(&t);
}

static void test_a_closed_channel_takes_its_consumers_and_their_auto_delete_queues(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "x", MR_AUTO_DELETE);
	queue(&t, "mine", MR_AUTO_DELETE);
	queue(&t, "shared", MR_AUTO_DELETE);
	queue(&t, "stays", 0);
	bind(&t, "mine", "x", "k");
	consume(&t, 1, "mine", 1);
	consume(&t, 1, "mine", 2);
	consume(&t, 1, "shared", 3);
	consume(&t, 2, "shared", 4);
	consume(&t, 1, "stays", 5);
	mr_topology_channel_closed(&t, 1);
	/* What was declared on it is the connection's and stays. */
	assert_string_equal(shown(&t), "q:shared q:stays c:shared");
	assert_null(mr_record_of_channel(&t, 1));
	assert_non_null(mr_record_of_channel(&t, 2));
	mr_topology_channel_closed(&t, 1);
	mr_topology_channel_closed(&t, 999);
	mr_topology_channel_closed(&t, 2);
	assert_string_equal(shown(&t), "q:stays");
	mr_topology_fini(&t);
}

static void test_a_channel_remembers_its_modes_and_its_epoch(void **state)
{
	struct mr_topology t;
	mr_request qos = {.operation = MR_BASIC_QOS, .number = 10};
	(void)state;
	begin(&t);
	assert_int_equal(note(&t, 1, qos, ""), MR_OK);
	qos = (mr_request){.operation = MR_BASIC_QOS, .number = 50, .flags = MR_GLOBAL};
	assert_int_equal(note(&t, 1, qos, ""), MR_OK);
	ask(&t, MR_CONFIRM_SELECT, "");
	struct mr_channel_record *c = mr_record_of_channel(&t, 1);
	assert_true(c->has_qos && c->prefetch == 10);
	assert_true(c->has_global_qos && c->global_prefetch == 50);
	assert_true(c->confirming && !c->transacting);
	assert_int_equal(mr_topology_channel(&t, 1, 99), MR_OK);
	assert_int_equal(c->epoch, 99);
	assert_true(c->confirming);
	c = mr_record_of_channel(&t, 2);
	assert_false(c->has_qos || c->has_global_qos || c->confirming);
	assert_int_equal(note(&t, 2, request(MR_TX_SELECT, "", "", ""), ""), MR_OK);
	assert_true(c->transacting);
	assert_int_equal(note(&t, 77, qos, ""), MR_OK); /* a channel that has gone */
	mr_topology_fini(&t);
}

static void declare_unnamed(struct mr_topology *t, uint16_t channel, const char *name)
{
	assert_int_equal(note(t, channel, request(MR_QUEUE_DECLARE, "", "", ""), name), MR_OK);
}

static void test_an_empty_queue_name_means_the_channels_last_declared_one(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	declare_unnamed(&t, 1, "amq.gen-1");
	declare_unnamed(&t, 2, "amq.gen-2");
	bind(&t, "", "x", "k");
	consume(&t, 1, "", 1);
	consume(&t, 2, "", 2);
	assert_string_equal(shown(&t),
		"q:amq.gen-1 q:amq.gen-2 b:amq.gen-1<x c:amq.gen-1 c:amq.gen-2");
	assert_int_equal(note(&t, 1, request(MR_QUEUE_UNBIND, "", "x", "k"), ""), MR_OK);
	ask(&t, MR_QUEUE_DELETE, "");
	assert_string_equal(shown(&t), "q:amq.gen-2 c:amq.gen-2");
	mr_topology_fini(&t);
}

static void test_a_passive_declare_is_not_recorded_but_is_the_last_one(void **state)
{
	struct mr_topology t;
	mr_request r = request(MR_QUEUE_DECLARE, "theirs", "", "");
	(void)state;
	begin(&t);
	r.flags = MR_PASSIVE;
	assert_int_equal(note(&t, 1, r, "theirs"), MR_OK);
	exchange(&t, "x", MR_PASSIVE);
	exchange(&t, "y", MR_UNRECORDED); /* nor is one that only asks what is there */
	r.flags = MR_UNRECORDED;
	assert_int_equal(note(&t, 1, r, "theirs"), MR_OK);
	assert_string_equal(shown(&t), "");
	consume(&t, 1, "", 1);
	assert_string_equal(shown(&t), "c:theirs");
	mr_topology_fini(&t);
}

static void test_a_renamed_queue_takes_bindings_keys_and_consumers_along(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	exchange(&t, "old", 0); /* an exchange may have the same name */
	declare_unnamed(&t, 1, "old");
	bind(&t, "old", "x", "old");
	bind(&t, "old", "x", "key");
	bind(&t, "q", "x", "old");
	bind_exchange(&t, "old", "x");
	consume(&t, 1, "old", 1);
	struct mr_record *q = mr_topology_next(&t, MR_QUEUE_DECLARE, NULL);
	assert_true(q->server_named);
	mr_topology_rename(&t, q->strings[0], mr_slice_str("brand new"));
	assert_string_equal(shown(&t),
		"x:old q:brand new b:brand new<x b:brand new<x b:q<x e:old<x c:brand new");
	const struct mr_record *b = mr_topology_next(&t, MR_QUEUE_BIND, NULL);
	assert_string_equal(b->strings[2], "brand new"); /* the usual key of a reply queue */
	b = mr_topology_next(&t, MR_QUEUE_BIND, b);
	assert_string_equal(b->strings[2], "key");
	b = mr_topology_next(&t, MR_QUEUE_BIND, b);
	assert_string_equal(b->strings[2], "old"); /* somebody else's key is not ours to change */
	mr_topology_fini(&t);
}

static void test_after_a_rename_the_last_declared_queue_is_the_new_one(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	declare_unnamed(&t, 1, "old");
	mr_topology_rename(&t, "old", mr_slice_str("new"));
	bind(&t, "", "x", "k");
	assert_string_equal(shown(&t), "q:new b:new<x");
	mr_topology_fini(&t);
}

static void test_names_of_255_bytes_are_kept_whole(void **state)
{
	struct mr_topology t;
	char name[256];
	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	begin(&t);
	queue(&t, name, 0);
	bind(&t, "", name, name);
	const struct mr_record *b = mr_topology_next(&t, MR_QUEUE_BIND, NULL);
	assert_int_equal(b->request.name.size, 255);
	assert_int_equal(b->request.extra.size, 255);
	assert_int_equal(b->request.routing_key.size, 255);
	ask(&t, MR_QUEUE_DELETE, name);
	assert_string_equal(shown(&t), "");
	mr_topology_fini(&t);
}

static void test_ids_are_never_given_again(void **state)
{
	struct mr_topology t;
	(void)state;
	begin(&t);
	queue(&t, "q", 0);
	uint64_t id = mr_topology_next(&t, MR_QUEUE_DECLARE, NULL)->id;
	ask(&t, MR_QUEUE_DELETE, "q");
	queue(&t, "q", 0);
	assert_null(mr_record_by_id(&t, id));
	assert_true(mr_topology_next(&t, MR_QUEUE_DECLARE, NULL)->id > id);
	mr_topology_fini(&t);
	mr_topology_fini(&t); /* twice does no harm */
}

/* Channels, an exchange, a queue with arguments, a binding and a consumer; false when one failed. */
static bool build(struct mr_topology *t)
{
	mr_request q = request(MR_QUEUE_DECLARE, "q", "", "");
	mr_request c = request(MR_BASIC_CONSUME, "q", "", "");
	bool ok = mr_topology_channel(t, 1, 1) == MR_OK;
	ok = mr_topology_channel(t, 2, 2) == MR_OK && ok;
	ok = note(t, 1, request(MR_EXCHANGE_DECLARE, "x", "topic", ""), "") == MR_OK && ok;
	q.arguments = mr_table_new();
	if (q.arguments)
		ok = mr_table_add_string(q.arguments, "x-queue-type", mr_slice_str("quorum")) ==
		             MR_OK &&
		     ok;
	ok = note(t, 1, q, "q") == MR_OK && q.arguments && ok;
	mr_table_free(q.arguments);
	ok = note(t, 1, request(MR_QUEUE_BIND, "q", "x", "k"), "") == MR_OK && ok;
	c.number = 1;
	return note(t, 2, c, "tag") == MR_OK && ok;
}

static void test_every_failing_allocation_leaves_it_whole_and_nothing_behind(void **state)
{
	long live = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 100; n++) {
		struct mr_topology t;
		mr_topology_init(&t);
		mr_alloc_fail_nth(n);
		bool whole = build(&t);
		mr_alloc_fail_nth(0);
		shown(&t);              /* checks every record */
		assert_true(build(&t)); /* what failed can be said again */
		ask(&t, MR_QUEUE_DELETE, "q");
		mr_topology_channel_closed(&t, 2);
		assert_string_equal(shown(&t), "x:x");
		mr_topology_fini(&t);
		assert_int_equal(mr_alloc_live(), live);
		if (whole) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_keep_the_order_in_which_they_succeeded),
		cmocka_unit_test(test_the_same_again_keeps_its_first_place),
		cmocka_unit_test(test_the_last_declare_wins_at_the_place_of_the_first),
		cmocka_unit_test(test_names_modes_and_consumers_follow_the_last_word),
		cmocka_unit_test(test_many_records_take_no_longer_each_than_few),
		cmocka_unit_test(test_a_deleted_queue_takes_its_bindings_and_consumers_along),
		cmocka_unit_test(test_a_deleted_exchange_takes_the_bindings_of_both_sides_along),
		cmocka_unit_test(test_an_auto_delete_queue_goes_with_its_last_consumer),
		cmocka_unit_test(
			test_auto_delete_exchanges_go_with_their_last_binding_one_after_the_other),
		cmocka_unit_test(test_auto_delete_exchanges_in_a_ring_go_without_an_end_to_it),
		cmocka_unit_test(test_an_auto_delete_exchange_stays_while_something_is_bound_to_it),
		cmocka_unit_test(test_an_unbind_hits_the_binding_with_its_arguments_only),
		cmocka_unit_test(test_queues_and_exchanges_of_one_name_have_bindings_of_their_own),
		cmocka_unit_test(test_a_tag_is_cancelled_on_its_own_channel_only),
		cmocka_unit_test(test_a_consumer_that_the_broker_cancelled_stays_marked),
		cmocka_unit_test(
			test_a_closed_channel_takes_its_consumers_and_their_auto_delete_queues),
		cmocka_unit_test(test_a_channel_remembers_its_modes_and_its_epoch),
		cmocka_unit_test(test_an_empty_queue_name_means_the_channels_last_declared_one),
		cmocka_unit_test(test_a_passive_declare_is_not_recorded_but_is_the_last_one),
		cmocka_unit_test(test_a_renamed_queue_takes_bindings_keys_and_consumers_along),
		cmocka_unit_test(test_after_a_rename_the_last_declared_queue_is_the_new_one),
		cmocka_unit_test(test_names_of_255_bytes_are_kept_whole),
		cmocka_unit_test(test_ids_are_never_given_again),
		cmocka_unit_test(test_every_failing_allocation_leaves_it_whole_and_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
