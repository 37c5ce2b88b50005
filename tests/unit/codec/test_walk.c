/* test_walk: tables and properties are carried as bytes, whatever their depth, keys and types.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "codec/walk.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1
#define SLICE(text) mr_slice_of(text, sizeof(text) - 1)

/* All 18 types, each under a key of one letter. */
#define ALL_TYPES                                                                                  \
	"\1at\1"                                                                                   \
	"\1bb\2"                                                                                   \
	"\1cB\3"                                                                                   \
	"\1ds\0\1"                                                                                 \
	"\1eu\0\2"                                                                                 \
	"\1fI\0\0\0\1"                                                                             \
	"\1gi\0\0\0\2"                                                                             \
	"\1hf\0\0\0\3"                                                                             \
	"\1jD\2\0\0\0\7"                                                                           \
	"\1kl\0\0\0\0\0\0\0\1"                                                                     \
	"\1lL\0\0\0\0\0\0\0\2"                                                                     \
	"\1md\0\0\0\0\0\0\0\3"                                                                     \
	"\1nT\0\0\0\0\0\0\0\4"                                                                     \
	"\1oV"                                                                                     \
	"\1pS\0\0\0\2hi"                                                                           \
	"\1qx\0\0\0\1\0"                                                                           \
	"\1rF\0\0\0\3\1zV"                                                                         \
	"\1sA\0\0\0\2Vt"

static void put_table(struct mr_buffer *b, const void *fields, size_t size)
{
	size_t at;
	assert_int_equal(mr_walk_begin(b, &at), MR_OK);
	assert_int_equal(mr_buffer_append(b, fields, size), MR_OK);
	mr_walk_end(b, at);
}

static void test_every_type_is_stepped_over_and_every_cut_is_seen(void **state)
{
	struct mr_buffer b = {0};
	struct mr_walk_field f;
	size_t count = 0, sum = 0;
	(void)state;
	put_table(&b, ALL_TYPES, sizeof ALL_TYPES - 1); /* the `t` in the array has no value */
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), mr_buffer_size(&b)), 0);
	mr_buffer_fini(&b);
	put_table(&b, ALL_TYPES, sizeof ALL_TYPES - 2); /* the array is cut */
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), mr_buffer_size(&b)), 0);
	mr_buffer_fini(&b);
	put_table(&b, ALL_TYPES, sizeof ALL_TYPES - 1 - 9);
	size_t size = mr_buffer_size(&b);
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), size), size);
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(mr_walk_check(mr_buffer_data(&b), cut), 0);
	struct mr_walk w = mr_walk_table(mr_slice_of((char *)mr_buffer_data(&b), size));
	while (mr_walk_next(&w, &f)) {
		count++;
		sum += f.whole.size;
	}
	assert_int_equal(count, 17);
	assert_int_equal(sum, size - 4);
	mr_buffer_fini(&b);
}

/* FIELD-R21. */
static void test_a_table_may_be_as_deep_as_it_likes(void **state)
{
	long before = mr_alloc_live();
	size_t depth = 20000;
	struct mr_buffer b = {0};
	size_t *ends = malloc(depth * sizeof *ends), at;
	(void)state;
	assert_non_null(ends);
	assert_int_equal(mr_walk_begin(&b, &at), MR_OK);
	assert_int_equal(mr_walk_put_key(&b, "deep", 'A'), MR_OK);
	for (size_t i = 0; i < depth; i++) {
		assert_int_equal(mr_walk_begin(&b, &ends[i]), MR_OK);
		if (i + 1 < depth) assert_int_equal(mr_buffer_append(&b, "A", 1), MR_OK);
	}
	for (size_t i = depth; i-- > 0;) mr_walk_end(&b, ends[i]);
	mr_walk_end(&b, at);
	size_t size = mr_buffer_size(&b);
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), size), size);
	mr_buffer_data(&b)[size - 1] = 1; /* the innermost is longer than its parent */
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), size), 0);
	mr_buffer_data(&b)[size - 1] = 0;
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), size), 0);
	mr_alloc_fail_nth(0);
	free(ends);
	mr_buffer_fini(&b);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_a_type_that_is_not_known_is_malformed(void **state)
{
	(void)state;
	for (int type = 0; type < 256; type++) {
		uint8_t table[] = {0, 0, 0, 11, 1, 'k', (uint8_t)type, 0, 0, 0, 0, 0, 0, 0, 0};
		bool known = type && strchr("ldLT", type);
		assert_int_equal(mr_walk_check(table, sizeof table), known ? sizeof table : 0);
	}
}

/* FIELD-R21. */
static void test_a_key_may_have_255_bytes(void **state)
{
	char key[256];
	struct mr_buffer b = {0};
	struct mr_walk_field f;
	size_t at;
	(void)state;
	memset(key, 'k', 255);
	key[255] = 0;
	assert_int_equal(mr_walk_begin(&b, &at), MR_OK);
	assert_int_equal(mr_walk_put_text(&b, key, SLICE("long")), MR_OK);
	assert_int_equal(mr_walk_put_64(&b, "n", 'l', 7), MR_OK);
	mr_walk_end(&b, at);
	mr_slice table = mr_slice_of((char *)mr_buffer_data(&b), mr_buffer_size(&b));
	assert_int_equal(mr_walk_check(mr_buffer_data(&b), table.size), table.size);
	assert_true(mr_walk_find(table, key, &f));
	assert_true(mr_walk_is_text(&f, "long"));
	assert_true(mr_walk_find(table, "n", &f));
	assert_int_equal(mr_get64(f.value.data), 7);
	assert_false(mr_walk_find(table, "m", &f));
	mr_buffer_fini(&b);
}

static void test_properties_come_apart_and_together_again(void **state)
{
	/* content_type, headers, priority, expiration, timestamp, user_id */
	static const char bytes[] = "\xa9\x50\4text\0\0\0\3\1kV\5\2"
				    "10\0\0\0\0\0\0\0\1\5guest";
	struct mr_parts p;
	struct mr_buffer b = {0};
	(void)state;
	assert_true(mr_parts_split(SLICE(bytes), &p));
	assert_true(mr_slice_equal(mr_part_text(&p, MR_PART_EXPIRATION), SLICE("10")));
	assert_true(mr_slice_equal(mr_part_text(&p, MR_PART_USER_ID), SLICE("guest")));
	assert_int_equal(mr_part_text(&p, MR_PART_REPLY_TO).size, 0);
	assert_int_equal(p.part[MR_PART_PRIORITY].data[0], 5);
	assert_int_equal(p.part[MR_PART_HEADERS].size, 7);
	assert_int_equal(mr_parts_join(&b, &p), MR_OK);
	assert_int_equal(mr_buffer_size(&b), sizeof bytes - 1);
	assert_memory_equal(mr_buffer_data(&b), bytes, sizeof bytes - 1);
	for (size_t cut = 0; cut < sizeof bytes - 1; cut++)
		assert_false(mr_parts_split(mr_slice_of(bytes, cut), &p));
	assert_false(mr_parts_split(SLICE("\0\1"), &p));
	assert_false(mr_parts_split(SLICE("\0\0x"), &p));
	mr_buffer_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_is_stepped_over_and_every_cut_is_seen),
		cmocka_unit_test(test_a_table_may_be_as_deep_as_it_likes),
		cmocka_unit_test(test_a_type_that_is_not_known_is_malformed),
		cmocka_unit_test(test_a_key_may_have_255_bytes),
		cmocka_unit_test(test_properties_come_apart_and_together_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
