/* test_streams: the recorded request of a stream's consumer that has ended (FIELD C3).
 * SPDX-License-Identifier: MIT */
#include "link/streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void begin_with(struct mr_record *r, const char *word)
{
	memset(r, 0, sizeof *r);
	if (!word) return;
	r->request.arguments = mr_table_new();
	mr_table_add_string(r->request.arguments, "x-stream-offset", mr_slice_str(word));
}

static const mr_value *argument(const struct mr_record *r)
{
	return mr_table_find(r->request.arguments, "x-stream-offset");
}

static void test_a_consumer_that_got_messages_begins_at_its_offset(void **state)
{
	static const char *const began[] = {"first", "next", "last", NULL};
	struct mr_resume at = {.is_known = true, .offset = 42};
	(void)state;
	for (size_t i = 0; i < sizeof began / sizeof *began; i++) {
		struct mr_record r;
		begin_with(&r, began[i]);
		mr_streams_resume(&r, &at, 1000, 9000);
		assert_int_equal(argument(&r)->type, 'l');
		assert_int_equal(argument(&r)->as.integer, 42);
		mr_table_free(r.request.arguments);
	}
}

static void test_one_that_got_none_begins_at_the_time_of_its_start(void **state)
{
	static const struct {
		const char *began;
		mr_msec age;
		char type;
	} cases[] = {{"next", 10, 'T'}, {"last", 10, 'S'}, {"last", 9000, 'T'},
		{"first", 9000, 'S'}, {NULL, 9000, 0}};
	struct mr_resume at = {.is_known = false};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mr_record r;
		begin_with(&r, cases[i].began);
		mr_streams_resume(&r, &at, 1000, cases[i].age);
		assert_int_equal(argument(&r) ? argument(&r)->type : 0, cases[i].type);
		if (cases[i].type == 'T') assert_int_equal(argument(&r)->as.natural, 1000);
		mr_table_free(r.request.arguments);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_consumer_that_got_messages_begins_at_its_offset),
		cmocka_unit_test(test_one_that_got_none_begins_at_the_time_of_its_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
