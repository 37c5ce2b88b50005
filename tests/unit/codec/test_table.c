/* test_table: field tables keep every type and value on their way to the wire and back.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>

#include "base/alloc.h"
#include "codec/table.h"

/* One entry of every type but 'L', written by another encoder (Python's struct), outermost values
 * where there are such: see build_golden. */
static const uint8_t golden[] = {
	/* clang-format off */
	0x00, 0x00, 0x00, 0xe1, 0x04, 0x62, 0x6f, 0x6f, 0x6c, 0x74, 0x01, 0x02, 0x69, 0x38, 0x62, 0x80,
	0x02, 0x75, 0x38, 0x42, 0xff, 0x03, 0x69, 0x31, 0x36, 0x73, 0x8a, 0xd0, 0x03, 0x75, 0x31, 0x36,
	0x75, 0xff, 0xff, 0x03, 0x69, 0x33, 0x32, 0x49, 0x80, 0x00, 0x00, 0x00, 0x03, 0x75, 0x33, 0x32,
	0x69, 0xff, 0xff, 0xff, 0xff, 0x03, 0x69, 0x36, 0x34, 0x6c, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x03, 0x6d, 0x61, 0x78, 0x6c, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03,
	0x66, 0x33, 0x32, 0x66, 0x3f, 0xc0, 0x00, 0x00, 0x03, 0x66, 0x36, 0x34, 0x64, 0xbf, 0xf8, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x64, 0x65, 0x63, 0x69, 0x6d, 0x61, 0x6c, 0x44, 0x02, 0x00,
	0x00, 0x01, 0x3a, 0x04, 0x74, 0x65, 0x78, 0x74, 0x53, 0x00, 0x00, 0x00, 0x06, 0x63, 0x61, 0x66,
	0xc3, 0xa9, 0x00, 0x05, 0x62, 0x79, 0x74, 0x65, 0x73, 0x78, 0x00, 0x00, 0x00, 0x04, 0x00, 0xff,
	0xfe, 0x01, 0x04, 0x74, 0x69, 0x6d, 0x65, 0x54, 0x00, 0x00, 0x00, 0x00, 0x65, 0x53, 0xf1, 0x00,
	0x04, 0x76, 0x6f, 0x69, 0x64, 0x56, 0x05, 0x61, 0x72, 0x72, 0x61, 0x79, 0x41, 0x00, 0x00, 0x00,
	0x1b, 0x49, 0x00, 0x00, 0x00, 0x07, 0x56, 0x53, 0x00, 0x00, 0x00, 0x02, 0x68, 0x69, 0x41, 0x00,
	0x00, 0x00, 0x01, 0x56, 0x46, 0x00, 0x00, 0x00, 0x03, 0x01, 0x6b, 0x56, 0x05, 0x74, 0x61, 0x62,
	0x6c, 0x65, 0x46, 0x00, 0x00, 0x00, 0x0e, 0x01, 0x61, 0x74, 0x00, 0x04, 0x64, 0x65, 0x65, 0x70,
	0x46, 0x00, 0x00, 0x00, 0x00,
	/* clang-format on */
};

#define INTEGER(t, n) ((mr_value){.type = (t), .as.integer = (n)})
#define NATURAL(t, n) ((mr_value){.type = (t), .as.natural = (n)})
#define REAL(t, n) ((mr_value){.type = (t), .as.real = (n)})
#define BYTES(t, s) ((mr_value){.type = (t), .as.bytes = {(s), sizeof(s) - 1}})
#define VOID ((mr_value){.type = 'V'})

static void add(mr_table *table, const char *key, mr_value value)
{
	assert_int_equal(mr_table_add(table, key, strlen(key), &value), MR_OK);
}

static mr_table *build_golden(void)
{
	mr_table *t = mr_table_new();
	add(t, "bool", (mr_value){.type = 't', .as.boolean = true});
	add(t, "i8", INTEGER('b', INT8_MIN));
	add(t, "u8", NATURAL('B', UINT8_MAX));
	add(t, "i16", INTEGER('s', -30000));
	add(t, "u16", NATURAL('u', UINT16_MAX));
	add(t, "i32", INTEGER('I', INT32_MIN));
	add(t, "u32", NATURAL('i', UINT32_MAX));
	add(t, "i64", INTEGER('l', INT64_MIN));
	add(t, "max", INTEGER('l', INT64_MAX));
	add(t, "f32", REAL('f', 1.5));
	add(t, "f64", REAL('d', -1.5));
	add(t, "decimal", (mr_value){.type = 'D', .decimals = 2, .as.natural = 314});
	add(t, "text", BYTES('S', "caf\xc3\xa9\0"));
	add(t, "bytes", BYTES('x', "\0\xff\xfe\1"));
	add(t, "time", NATURAL('T', 1700000000));
	add(t, "void", VOID);
	mr_table *array = mr_table_nest(t, "array", 5, 'A');
	add(array, "", INTEGER('I', 7));
	add(array, "", VOID);
	add(array, "", BYTES('S', "hi"));
	add(mr_table_nest(array, "", 0, 'A'), "", VOID);
	add(mr_table_nest(array, "", 0, 'F'), "k", VOID);
	mr_table *nested = mr_table_nest(t, "table", 5, 'F');
	add(nested, "a", (mr_value){.type = 't'});
	mr_table_nest(nested, "deep", 4, 'F');
	return t;
}

static void assert_same_table(const mr_table *a, const mr_table *b);

static void assert_same_value(const mr_value *a, const mr_value *b)
{
	assert_int_equal(a->type, b->type);
	switch (a->type) {
	case 't': assert_int_equal(a->as.boolean, b->as.boolean); break;
	case 'F':
	case 'A': assert_same_table(a->as.nested, b->as.nested); break;
	case 'S':
	case 'x': assert_true(mr_slice_equal(a->as.bytes, b->as.bytes)); break;
	case 'V': break;
	default:
		assert_int_equal(a->decimals, b->decimals);
		assert_true(a->as.natural == b->as.natural); /* bits of reals, too */
		break;
	}
}

static void assert_same_table(const mr_table *a, const mr_table *b)
{
	assert_int_equal(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		assert_true(mr_slice_equal(a->fields[i].key, b->fields[i].key));
		assert_same_value(&a->fields[i].value, &b->fields[i].value);
	}
}

static mr_table *decode(const void *data, size_t size)
{
	mr_table *table = NULL;
	size_t used = 0;
	assert_int_equal(mr_table_decode(data, size, &table, &used), MR_OK);
	assert_int_equal(used, size);
	return table;
}

static enum mr_status status_of(const void *data, size_t size)
{
	mr_table *table = NULL;
	enum mr_status st = mr_table_decode(data, size, &table, NULL);
	mr_table_free(table);
	return st;
}

static void test_every_type_encodes_to_the_reference_bytes(void **state)
{
	struct mr_buffer out = {0};
	mr_table *table = build_golden();
	(void)state;
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), sizeof golden);
	assert_memory_equal(mr_buffer_data(&out), golden, sizeof golden);
	mr_buffer_fini(&out);
	mr_table_free(table);
}

static void test_every_type_decodes_from_the_reference_bytes(void **state)
{
	mr_table *expected = build_golden(), *table = decode(golden, sizeof golden);
	(void)state;
	assert_same_table(table, expected);
	mr_table_free(table);
	mr_table_free(expected);
}

static void test_bytes_behind_the_table_are_left_alone(void **state)
{
	mr_table *table;
	size_t used;
	(void)state;
	assert_int_equal(mr_table_decode((const uint8_t *)"\0\0\0\3\1kVtail", 11, &table, &used),
		MR_OK);
	assert_int_equal(used, 7);
	assert_int_equal(table->count, 1);
	mr_table_free(table);
}

static void test_no_table_encodes_as_an_empty_one(void **state)
{
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(mr_table_encode(&out, NULL, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 4);
	assert_memory_equal(mr_buffer_data(&out), "\0\0\0\0", 4);
	mr_buffer_fini(&out);
}

static void test_l_is_signed(void **state)
{
	mr_table *table = decode("\0\0\0\x0b\1kl\xff\xff\xff\xff\xff\xff\x8a\xd0", 15);
	(void)state;
	assert_true(mr_table_find(table, "k")->as.integer == -30000);
	mr_table_free(table);
}

static void test_unsigned_64_bits_are_read_and_leave_signed(void **state)
{
	static const char big_l[] = "\0\0\0\x0b\1kL\x7f\xff\xff\xff\xff\xff\xff\xff";
	struct mr_buffer out = {0};
	mr_table *table = decode(big_l, 15);
	(void)state;
	assert_int_equal(mr_table_find(table, "k")->type, 'L');
	assert_true(mr_table_find(table, "k")->as.natural == INT64_MAX);
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
	assert_memory_equal(mr_buffer_data(&out), "\0\0\0\x0b\1kl\x7f\xff\xff\xff\xff\xff\xff\xff",
		15);
	table->fields[0].value.as.natural++;
	mr_error error = {0};
	assert_int_equal(mr_table_encode(&out, table, &error), MR_BAD_ARGUMENT);
	assert_int_equal(error.kind, MR_BAD_ARGUMENT);
	assert_int_equal(mr_buffer_size(&out), 15);
	mr_buffer_fini(&out);
	mr_table_free(table);
}

static void test_bytes_that_are_not_utf8_are_kept(void **state)
{
	static const char data[] = "\0\0\0\x0d\2\xff\xc0S\0\0\0\5\xf0\x28\x8c\0\xff";
	mr_table *table = decode(data, 17);
	struct mr_buffer out = {0};
	(void)state;
	assert_true(mr_slice_equal(table->fields[0].key, mr_slice_of("\xff\xc0", 2)));
	assert_true(mr_slice_equal(table->fields[0].value.as.bytes,
		mr_slice_of("\xf0\x28\x8c\0\xff", 5)));
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
	assert_memory_equal(mr_buffer_data(&out), data, 17);
	mr_buffer_fini(&out);
	mr_table_free(table);
}

static void test_decoded_strings_and_keys_end_in_a_nul(void **state)
{
	mr_table *table = decode("\0\0\0\x0a\1kS\0\0\0\3abc", 14);
	(void)state;
	assert_string_equal(table->fields[0].key.data, "k");
	assert_string_equal(table->fields[0].value.as.bytes.data, "abc");
	mr_table_free(table);
}

static void test_equal_keys_are_kept_in_their_order(void **state)
{
	mr_table *table = decode("\0\0\0\x08\1kt\1\1kt\0", 12);
	(void)state;
	assert_int_equal(table->count, 2);
	assert_true(table->fields[0].value.as.boolean);
	assert_false(table->fields[1].value.as.boolean);
	mr_table_free(table);
}

static void test_what_the_guard_refuses_does_not_decode(void **state)
{
	(void)state;
	assert_int_equal(status_of("\0\0\0\3\1k?", 7), MR_FRAME_ERROR);
	assert_int_equal(status_of("\0\0\0\7\1kx\xff\xff\xff\xff", 11), MR_FRAME_ERROR);
	assert_int_equal(status_of("\0\0\0\4\1kV", 7), MR_FRAME_ERROR);
	assert_int_equal(status_of("\xff\xff\xff\xff\1kV", 7), MR_FRAME_ERROR);
	for (size_t size = 0; size < sizeof golden; size++)
		assert_int_equal(status_of(golden, size), MR_FRAME_ERROR);
}

/* ---- keys and depth ---- */

static void test_a_received_key_of_255_bytes_is_kept_but_not_sent_on(void **state)
{
	uint8_t data[4 + 1 + 255 + 1] = {0, 0, 1, 1, 255};
	struct mr_buffer out = {0};
	(void)state;
	memset(data + 5, 'k', 255);
	data[sizeof data - 1] = 'V';
	mr_table *table = decode(data, sizeof data);
	assert_int_equal(table->fields[0].key.size, 255);
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_BAD_ARGUMENT);
	table->fields[0].key.size = MR_KEY_MAX + 1;
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_BAD_ARGUMENT);
	table->fields[0].key.size = MR_KEY_MAX;
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 4 + 1 + MR_KEY_MAX + 1);
	mr_buffer_fini(&out);
	mr_table_free(table);
}

/* A length octet cannot say 256: the octet is 0, and what follows is no field. */
static void test_a_key_of_256_bytes_is_refused(void **state)
{
	uint8_t data[4 + 1 + 256 + 1] = {0, 0, 1, 2, 0};
	(void)state;
	memset(data + 5, 'k', 256);
	data[sizeof data - 1] = 'V';
	assert_int_equal(status_of(data, sizeof data), MR_FRAME_ERROR);
}

static mr_table *build_tower(unsigned levels, uint8_t type)
{
	mr_table *root = mr_table_new(), *top = root;
	for (unsigned i = 1; i < levels; i++) top = mr_table_nest(top, "k", 1, type);
	return root;
}

static void test_depth_ends_at_the_limit_in_both_directions(void **state)
{
	struct mr_buffer out = {0};
	(void)state;
	for (const char *type = "FA"; *type; type++) {
		mr_table *table = build_tower(MR_TABLE_DEPTH_MAX, (uint8_t)*type);
		assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
		mr_table *back = decode(mr_buffer_data(&out), mr_buffer_size(&out));
		mr_table_free(back);
		mr_buffer_fini(&out);
		mr_table_free(table);
		table = build_tower(MR_TABLE_DEPTH_MAX + 1, (uint8_t)*type);
		assert_int_equal(mr_table_encode(&out, table, NULL), MR_BAD_ARGUMENT);
		mr_table_free(table);
		table = build_tower(5000, (uint8_t)*type);
		assert_int_equal(mr_table_encode(&out, table, NULL), MR_BAD_ARGUMENT);
		mr_table_free(table);
	}
	mr_buffer_fini(&out);
}

/* ---- values ---- */

static enum mr_status encode_one(mr_value value)
{
	struct mr_buffer out = {0};
	mr_table *table = mr_table_new();
	add(table, "k", VOID);
	table->fields[0].value = value;
	enum mr_status st = mr_table_encode(&out, table, NULL);
	if (st != MR_OK) assert_int_equal(mr_buffer_size(&out), 0);
	mr_buffer_fini(&out);
	mr_table_free(table);
	return st;
}

static void test_a_number_beyond_its_type_is_refused_not_cut(void **state)
{
	(void)state;
	assert_int_equal(encode_one(INTEGER('b', 127)), MR_OK);
	assert_int_equal(encode_one(INTEGER('b', 128)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(INTEGER('b', -129)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(NATURAL('B', 256)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(INTEGER('s', -32769)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(NATURAL('u', 65536)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(INTEGER('I', INT64_MIN)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(NATURAL('i', (uint64_t)1 << 32)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(NATURAL('D', (uint64_t)1 << 32)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(NATURAL('T', UINT64_MAX)), MR_OK);
	assert_int_equal(encode_one(REAL('f', DBL_MAX)), MR_BAD_ARGUMENT);
	assert_int_equal(encode_one(REAL('f', (double)FLT_MAX)), MR_OK);
	assert_int_equal(encode_one(REAL('f', (double)NAN)), MR_OK);
	assert_int_equal(encode_one(REAL('d', (double)-INFINITY)), MR_OK);
}

static void test_an_unknown_type_is_not_encoded(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type && strchr("tbBsuIilLfdDTVSxFA", (int)type)) continue;
		assert_int_equal(encode_one((mr_value){.type = (uint8_t)type}), MR_BAD_ARGUMENT);
	}
}

static void test_a_nested_table_that_is_missing_is_empty(void **state)
{
	(void)state;
	assert_int_equal(encode_one((mr_value){.type = 'F'}), MR_OK);
	assert_int_equal(encode_one((mr_value){.type = 'A'}), MR_OK);
}

/* Its size is claimed only; nothing reads it. */
static void test_a_string_over_2_gib_is_refused(void **state)
{
	mr_value value = BYTES('x', "");
	(void)state;
	value.as.bytes.size = (size_t)1 << 31;
	assert_int_equal(encode_one(value), MR_BAD_ARGUMENT);
}

static void test_a_long_string_comes_back_whole(void **state)
{
	static char text[100000];
	struct mr_buffer out = {0};
	mr_table *table = mr_table_new();
	(void)state;
	memset(text, 'x', sizeof text);
	add(table, "long", (mr_value){.type = 'S', .as.bytes = {text, sizeof text}});
	assert_int_equal(mr_table_encode(&out, table, NULL), MR_OK);
	mr_table *back = decode(mr_buffer_data(&out), mr_buffer_size(&out));
	assert_same_table(back, table);
	mr_table_free(back);
	mr_table_free(table);
	mr_buffer_fini(&out);
}

/* ---- memory ---- */

static void test_every_failing_allocation_of_encode_is_reported(void **state)
{
	mr_table *table = build_golden();
	long live = mr_alloc_live(), n = 1;
	enum mr_status st;
	(void)state;
	do {
		struct mr_buffer out = {0};
		mr_error error = {0};
		mr_alloc_fail_nth(n++);
		st = mr_table_encode(&out, table, &error);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) {
			assert_int_equal(st, MR_NO_MEMORY);
			assert_int_equal(error.kind, MR_NO_MEMORY);
			assert_int_equal(mr_buffer_size(&out), 0);
		}
		mr_buffer_fini(&out);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 3);
	mr_table_free(table);
}

static void test_every_failing_allocation_of_decode_is_reported(void **state)
{
	long live = mr_alloc_live(), n = 1;
	enum mr_status st;
	(void)state;
	do {
		mr_table *table = NULL;
		mr_alloc_fail_nth(n++);
		st = mr_table_decode(golden, sizeof golden, &table, NULL);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(st, MR_NO_MEMORY);
		if (st != MR_OK) assert_null(table);
		mr_table_free(table);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_encodes_to_the_reference_bytes),
		cmocka_unit_test(test_every_type_decodes_from_the_reference_bytes),
		cmocka_unit_test(test_bytes_behind_the_table_are_left_alone),
		cmocka_unit_test(test_no_table_encodes_as_an_empty_one),
		cmocka_unit_test(test_l_is_signed),
		cmocka_unit_test(test_unsigned_64_bits_are_read_and_leave_signed),
		cmocka_unit_test(test_bytes_that_are_not_utf8_are_kept),
		cmocka_unit_test(test_decoded_strings_and_keys_end_in_a_nul),
		cmocka_unit_test(test_equal_keys_are_kept_in_their_order),
		cmocka_unit_test(test_what_the_guard_refuses_does_not_decode),
		cmocka_unit_test(test_a_received_key_of_255_bytes_is_kept_but_not_sent_on),
		cmocka_unit_test(test_a_key_of_256_bytes_is_refused),
		cmocka_unit_test(test_depth_ends_at_the_limit_in_both_directions),
		cmocka_unit_test(test_a_number_beyond_its_type_is_refused_not_cut),
		cmocka_unit_test(test_an_unknown_type_is_not_encoded),
		cmocka_unit_test(test_a_nested_table_that_is_missing_is_empty),
		cmocka_unit_test(test_a_string_over_2_gib_is_refused),
		cmocka_unit_test(test_a_long_string_comes_back_whole),
		cmocka_unit_test(test_every_failing_allocation_of_encode_is_reported),
		cmocka_unit_test(test_every_failing_allocation_of_decode_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
