/* test_layout: names, steps, bindings and topics are where kombu has them.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "redis/layout.h"

#include "kombu_envelopes.h"

#define SLICE(text) mr_slice_of(text, sizeof(text) - 1)
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Compares, and empties. */
static void is_text(struct mr_buffer *b, const char *text)
{
	assert_int_equal(mr_buffer_size(b), strlen(text));
	assert_memory_equal(mr_buffer_data(b), text, strlen(text));
	mr_buffer_fini(b);
}

static void test_priorities_have_steps(void **state)
{
	static const int wanted[] = {0, 0, 0, 3, 3, 3, 6, 6, 6, 9};
	struct mr_layout l;
	(void)state;
	mr_layout_init(&l);
	for (int i = 0; i < 10; i++) assert_int_equal(mr_layout_step(&l, i), wanted[i]);
	assert_int_equal(mr_layout_step(&l, -1), 0);
	assert_int_equal(mr_layout_step(&l, 255), 9);
	l.steps[0] = 2;
	assert_int_equal(mr_layout_step(&l, 1), 9); /* as Python's steps[-1] */
}

static void test_names_have_the_prefix(void **state)
{
	struct mr_layout l;
	struct mr_buffer b = {0};
	(void)state;
	mr_layout_init(&l);
	assert_int_equal(mr_layout_queue(&b, &l, SLICE("celery"), 0), MR_OK);
	is_text(&b, "celery");
	l.prefix = SLICE("app:");
	assert_int_equal(mr_layout_queue(&b, &l, SLICE("celery"), 3), MR_OK);
	is_text(&b, "app:celery\x06\x16"
		    "3");
	assert_int_equal(mr_layout_bindings(&b, &l, SLICE("events")), MR_OK);
	is_text(&b, "app:_kombu.binding.events");
	assert_int_equal(mr_layout_name(&b, &l, "unacked_index"), MR_OK);
	is_text(&b, "app:unacked_index");
}

static void test_fanout_channels_have_the_database_and_perhaps_the_key(void **state)
{
	struct mr_layout l;
	struct mr_buffer b = {0};
	(void)state;
	mr_layout_init(&l);
	l.db = 12;
	assert_int_equal(mr_layout_channel(&b, &l, SLICE("x"), (mr_slice){0}), MR_OK);
	is_text(&b, "/12.x");
	assert_int_equal(mr_layout_channel(&b, &l, SLICE("x"), SLICE("a.#")), MR_OK);
	is_text(&b, "/12.x/a.#");
	assert_int_equal(mr_layout_subscription(&b, &l, SLICE("x"), SLICE("a.#")), MR_OK);
	is_text(&b, "/12.x/a.*");
	l.fanout_patterns = false;
	l.fanout_prefix = (mr_slice){0};
	l.prefix = SLICE("p");
	assert_int_equal(mr_layout_channel(&b, &l, SLICE("x"), SLICE("a")), MR_OK);
	is_text(&b, "px");
	l.prefix = SLICE("p*");
	l.fanout_prefix = SLICE("/[{db}].");
	l.fanout_patterns = true;
	assert_int_equal(mr_layout_channel(&b, &l, SLICE("?"), SLICE("a")), MR_OK);
	is_text(&b, "p*/[12].?/a");
	assert_int_equal(mr_layout_subscription(&b, &l, SLICE("?\\"), SLICE("?")), MR_OK);
	is_text(&b, "p\\*/\\[12].\\?\\\\/?");
}

static void test_bindings_are_read_as_they_are_written(void **state)
{
	struct mr_layout_binding b = {SLICE("a.*"), SLICE("^a$"), SLICE("q")}, again;
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(mr_layout_put_binding(&out, &b), MR_OK);
	mr_slice member = mr_slice_of((char *)mr_buffer_data(&out), mr_buffer_size(&out));
	assert_true(mr_layout_read_binding(member, &again));
	assert_true(mr_slice_equal(again.key, b.key) && mr_slice_equal(again.queue, b.queue));
	assert_true(mr_slice_equal(again.pattern, b.pattern));
	is_text(&out, "a.*\x06\x16^a$\x06\x16q");
	assert_true(mr_layout_read_binding(SLICE("\x06\x16\x06\x16"), &again));
	assert_int_equal(again.key.size + again.pattern.size + again.queue.size, 0);
	assert_false(mr_layout_read_binding(SLICE(""), &again));
	assert_false(mr_layout_read_binding(SLICE("a\x06\x16q"), &again));
	assert_false(mr_layout_read_binding(SLICE("a\x06\x16\x06\x16q\x06\x16"), &again));
}

static void test_topics_match_what_kombu_matches(void **state)
{
	struct mr_buffer b = {0};
	(void)state;
	(void)written;
	(void)restored;
	for (size_t i = 0; i < COUNT(patterns); i++) {
		assert_int_equal(mr_layout_pattern(&b, mr_slice_str(patterns[i][0])), MR_OK);
		is_text(&b, patterns[i][1]);
	}
	for (size_t i = 0; i < COUNT(matches); i++)
		if (mr_layout_matches(mr_slice_str(matches[i].pattern),
			    mr_slice_str(matches[i].key)) != matches[i].fits)
			fail_msg("'%s' and '%s'", matches[i].pattern, matches[i].key);
}

static void test_no_memory_is_said(void **state)
{
	struct mr_layout l;
	struct mr_buffer b = {0};
	(void)state;
	mr_layout_init(&l);
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_layout_queue(&b, &l, SLICE("q"), 3), MR_NO_MEMORY);
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_layout_pattern(&b, SLICE("q")), MR_NO_MEMORY);
	mr_alloc_fail_nth(0);
	mr_buffer_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_priorities_have_steps),
		cmocka_unit_test(test_names_have_the_prefix),
		cmocka_unit_test(test_fanout_channels_have_the_database_and_perhaps_the_key),
		cmocka_unit_test(test_bindings_are_read_as_they_are_written),
		cmocka_unit_test(test_topics_match_what_kombu_matches),
		cmocka_unit_test(test_no_memory_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
