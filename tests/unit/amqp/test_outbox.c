/* test_outbox: the output of a session, against a plain buffer as the model.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/outbox.h"
#include "base/alloc.h"
#include "codec/frame.h"

#define FRAME_MAX 4096
#define BODY_MOST 20000

static const mr_slice properties = {"\x10\x00\x02", 3};
static unsigned seed;

static size_t below(size_t most) { return (size_t)rand_r(&seed) % most; }

/* A block with a body of `size` bytes that are its own. */
static char *block_of(size_t size)
{
	char *block = mr_malloc(size);
	assert_non_null(block);
	for (size_t i = 0; i < size; i++) block[i] = (char)below(256);
	return block;
}

static void put_body(struct mr_outbox *o, struct mr_buffer *model, size_t size)
{
	char *block = block_of(size);
	mr_slice body = mr_slice_of(block, size);
	if (model)
		assert_int_equal(mr_frame_put_content(model, 3, properties, body, FRAME_MAX),
			MR_OK);
	assert_int_equal(mr_outbox_put_content(o, 3, properties, body, block, FRAME_MAX), MR_OK);
}

static void put_bytes(struct mr_outbox *o, struct mr_buffer *model, size_t size)
{
	char bytes[100];
	assert_true(size <= sizeof bytes);
	for (size_t i = 0; i < size; i++) bytes[i] = (char)below(256);
	assert_int_equal(mr_buffer_append(&o->bytes, bytes, size), MR_OK);
	assert_int_equal(mr_buffer_append(model, bytes, size), MR_OK);
}

/* A stream that takes `size` bytes of what it is offered, in `places` places. */
static void write_some(struct mr_outbox *o, struct mr_buffer *model, size_t size, int places)
{
	struct iovec from[8];
	int count = mr_outbox_view(o, from, places);
	size_t taken = 0;
	assert_in_range(count, mr_outbox_size(o) ? 1 : 0, places);
	for (int i = 0; i < count && taken < size; i++) {
		size_t n = from[i].iov_len < size - taken ? from[i].iov_len : size - taken;
		assert_int_not_equal(from[i].iov_len, 0);
		assert_memory_equal(from[i].iov_base, mr_buffer_data(model) + taken, n);
		taken += n;
	}
	mr_outbox_consume(o, taken);
	mr_buffer_consume(model, taken);
}

/* What a failed publish put. */
static void put_and_cut(struct mr_outbox *o)
{
	struct mr_outbox_mark before = mr_outbox_mark(o);
	size_t size = 1 + below(BODY_MOST);
	char *block = block_of(size);
	assert_int_equal(mr_buffer_append(&o->bytes, "method", 6), MR_OK);
	assert_int_equal(
		mr_outbox_put_content(o, 1, properties, mr_slice_of(block, size), block, FRAME_MAX),
		MR_OK);
	mr_outbox_cut(o, before);
	mr_free(block);
}

static void test_any_writes_carry_what_one_buffer_would(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	for (unsigned round = 0; round < 200; round++) {
		struct mr_outbox o = {0};
		struct mr_buffer model = {0};
		seed = round;
		for (int step = 0; step < 200; step++) {
			switch (below(6)) {
			case 0: put_body(&o, &model, 1 + below(BODY_MOST)); break;
			case 1:
			case 2: put_bytes(&o, &model, below(100)); break;
			case 3: put_and_cut(&o); break;
			default: write_some(&o, &model, below(3 * FRAME_MAX), 2 + (int)below(7));
			}
			assert_int_equal(mr_outbox_size(&o), mr_buffer_size(&model));
			if (!below(20)) mr_outbox_trim(&o, 0);
		}
		while (mr_buffer_size(&model) && round % 2)
			write_some(&o, &model, SIZE_MAX, 8); /* or some is left */
		mr_outbox_fini(&o);
		mr_buffer_fini(&model);
		assert_int_equal(mr_alloc_live(), live);
	}
}

static void test_a_block_is_freed_with_its_last_byte(void **state)
{
	struct mr_outbox o = {0};
	(void)state;
	put_body(&o, NULL, 10000); /* three frames */
	long live = mr_alloc_live();
	size_t end = 1; /* the end of the last frame is not of the block */
	mr_outbox_consume(&o, mr_outbox_size(&o) - end - 1);
	assert_int_equal(mr_alloc_live(), live);
	mr_outbox_consume(&o, 1);
	assert_int_equal(mr_alloc_live(), live - 1);
	assert_int_equal(mr_outbox_size(&o), end);
	mr_outbox_consume(&o, SIZE_MAX);
	assert_int_equal(mr_outbox_size(&o), 0);
	mr_outbox_fini(&o);
}

static void test_without_memory_nothing_is_put(void **state)
{
	char *block = block_of(10000);
	(void)state;
	for (long nth = 1; nth <= 2; nth++) {
		struct mr_outbox o = {0};
		mr_alloc_fail_nth(nth);
		assert_int_equal(mr_outbox_put_content(&o, 1, properties, mr_slice_of(block, 10000),
					 block, FRAME_MAX),
			MR_NO_MEMORY);
		mr_alloc_fail_nth(0);
		assert_int_equal(mr_outbox_size(&o), 0);
		mr_outbox_fini(&o);
	}
	mr_free(block);
}

static void test_properties_that_fit_no_frame_are_refused(void **state)
{
	static char long_ones[FRAME_MAX];
	struct mr_outbox o = {0};
	char *block = block_of(10);
	(void)state;
	assert_int_equal(mr_outbox_put_content(&o, 1, mr_slice_of(long_ones, sizeof long_ones),
				 mr_slice_of(block, 10), block, FRAME_MAX),
		MR_BAD_ARGUMENT);
	assert_int_equal(mr_outbox_size(&o), 0);
	mr_outbox_fini(&o);
	mr_free(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_writes_carry_what_one_buffer_would),
		cmocka_unit_test(test_a_block_is_freed_with_its_last_byte),
		cmocka_unit_test(test_without_memory_nothing_is_put),
		cmocka_unit_test(test_properties_that_fit_no_frame_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
