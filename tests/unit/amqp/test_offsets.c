/* test_offsets: where a stream's consumer goes on after a loss (FIELD C3).
 * SPDX-License-Identifier: MIT */
#include "amqp/offsets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t resumed(const struct mr_offsets *o)
{
	uint64_t at;
	assert_true(mr_offsets_resume(o, &at));
	return at;
}

static void test_the_lowest_offset_without_ack_is_where_it_goes_on(void **state)
{
	struct mr_offsets o = {0};
	uint64_t at;
	(void)state;
	assert_false(mr_offsets_resume(&o, &at));
	for (uint64_t tag = 1; tag <= 5; tag++)
		assert_int_equal(mr_offsets_delivered(&o, tag, tag + 99), MR_OK);
	assert_int_equal(resumed(&o), 100);
	mr_offsets_acked(&o, 2, false);
	mr_offsets_acked(&o, 4, false);
	assert_int_equal(resumed(&o), 100);
	mr_offsets_acked(&o, 1, false);
	assert_int_equal(resumed(&o), 102);
	mr_offsets_acked(&o, 5, true);
	assert_int_equal(resumed(&o), 105);
	mr_offsets_fini(&o);
	assert_false(mr_offsets_resume(&o, &at));
}

/* Offset 0 is one like any other. */
static void test_the_first_message_of_a_stream(void **state)
{
	struct mr_offsets o = {0};
	(void)state;
	assert_int_equal(mr_offsets_delivered(&o, 1, 0), MR_OK);
	assert_int_equal(resumed(&o), 0);
	mr_offsets_acked(&o, 1, false);
	assert_int_equal(resumed(&o), 1);
	mr_offsets_fini(&o);
}

/* Against a list of all of them. */
static void test_random_acks_as_a_list_has_it(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct mr_offsets o = {0};
		bool acked[400] = {false};
		uint64_t count = 0;
		srand(seed);
		for (int step = 0; step < 800; step++) {
			if (count < 399 && rand() % 2) {
				count++;
				mr_offsets_delivered(&o, count, count * 3);
			} else if (count) {
				uint64_t tag = 1 + (uint64_t)rand() % count;
				bool multiple = rand() % 10 == 0;
				mr_offsets_acked(&o, tag, multiple);
				acked[tag] = true;
				for (uint64_t t = 1; multiple && t < tag; t++) acked[t] = true;
			}
			uint64_t low = 1;
			while (low <= count && acked[low]) low++;
			if (count)
				assert_int_equal(resumed(&o),
					low <= count ? low * 3 : count * 3 + 1);
		}
		mr_offsets_fini(&o);
	}
}

/* flags: headers; a table of one field */
static mr_slice headers(char *room, const char *key, char type, uint64_t number)
{
	char *at = room;
	size_t size = strlen(key), field = 1 + size + 1 + 8;
	*at++ = 0x20;
	*at++ = 0;
	for (int shift = 24; shift >= 0; shift -= 8) *at++ = (char)(field >> shift);
	*at++ = (char)size;
	memcpy(at, key, size);
	at += size;
	*at++ = type;
	for (int shift = 56; shift >= 0; shift -= 8) *at++ = (char)(number >> shift);
	return mr_slice_of(room, (size_t)(at - room));
}

static void test_the_offset_is_read_from_the_header(void **state)
{
	char room[64];
	uint64_t offset = 7;
	(void)state;
	assert_true(mr_offsets_read(headers(room, "x-stream-offset", 'l', 1234567890123), &offset));
	assert_true(offset == 1234567890123);
	assert_false(mr_offsets_read(headers(room, "x-stream-offset", 'l', UINT64_MAX), &offset));
	assert_false(mr_offsets_read(headers(room, "x-stream-offset", 'd', 5), &offset));
	assert_false(mr_offsets_read(headers(room, "x-stream-offseT", 'l', 5), &offset));
	assert_false(mr_offsets_read(mr_slice_of("\0\0", 2), &offset));
	assert_false(mr_offsets_read(mr_slice_of("", 0), &offset));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_lowest_offset_without_ack_is_where_it_goes_on),
		cmocka_unit_test(test_the_first_message_of_a_stream),
		cmocka_unit_test(test_random_acks_as_a_list_has_it),
		cmocka_unit_test(test_the_offset_is_read_from_the_header),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
