/* test_properties: basic's 14 properties, to the wire and back, and the public functions over them.
 * Covers: runtime/codec/read.c by mr_table_new
 * Covers: runtime/codec/splice.c by mr_properties_splice
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "codec/properties.h"

#define ALL 0xfffcu

/* All 14, in the order of the wire. */
static const char golden[] = "\xff\xfc"
			     "\12text/plain"
			     "\4gzip"
			     "\0\0\0\5\3keyV"
			     "\2"
			     "\7"
			     "\2c1"
			     "\5reply"
			     "\00560000"
			     "\2m1"
			     "\0\0\0\0\x65\x53\xf1\0"
			     "\4kind"
			     "\5guest"
			     "\3app"
			     "\7cluster";
#define GOLDEN (sizeof golden - 1)

static mr_properties all_of_them(void)
{
	mr_value nothing = {.type = 'V'};
	mr_properties p = {.flags = ALL,
		.delivery_mode = 2,
		.priority = 7,
		.timestamp = 1700000000};
	p.content_type = mr_slice_str("text/plain");
	p.content_encoding = mr_slice_str("gzip");
	p.correlation_id = mr_slice_str("c1");
	p.reply_to = mr_slice_str("reply");
	p.expiration = mr_slice_str("60000");
	p.message_id = mr_slice_str("m1");
	p.type = mr_slice_str("kind");
	p.user_id = mr_slice_str("guest");
	p.app_id = mr_slice_str("app");
	p.cluster_id = mr_slice_str("cluster");
	p.headers = mr_table_new();
	assert_int_equal(mr_table_add(p.headers, "key", 3, &nothing), MR_OK);
	return p;
}

static void assert_same(const mr_properties *a, const mr_properties *b)
{
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->delivery_mode, b->delivery_mode);
	assert_int_equal(a->priority, b->priority);
	assert_true(a->timestamp == b->timestamp);
	assert_true(mr_slice_equal(a->content_type, b->content_type));
	assert_true(mr_slice_equal(a->content_encoding, b->content_encoding));
	assert_true(mr_slice_equal(a->correlation_id, b->correlation_id));
	assert_true(mr_slice_equal(a->reply_to, b->reply_to));
	assert_true(mr_slice_equal(a->expiration, b->expiration));
	assert_true(mr_slice_equal(a->message_id, b->message_id));
	assert_true(mr_slice_equal(a->type, b->type));
	assert_true(mr_slice_equal(a->user_id, b->user_id));
	assert_true(mr_slice_equal(a->app_id, b->app_id));
	assert_true(mr_slice_equal(a->cluster_id, b->cluster_id));
	assert_int_equal(a->headers ? a->headers->count : 0, b->headers ? b->headers->count : 0);
}

static void test_all_properties_encode_to_the_reference_bytes(void **state)
{
	struct mr_buffer out = {0};
	mr_properties p = all_of_them();
	(void)state;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), GOLDEN);
	assert_memory_equal(mr_buffer_data(&out), golden, GOLDEN);
	mr_buffer_fini(&out);
	mr_table_free(p.headers);
}

static void test_all_properties_decode_from_the_reference_bytes(void **state)
{
	mr_properties p, expected = all_of_them();
	(void)state;
	assert_int_equal(mr_properties_decode((const uint8_t *)golden, GOLDEN, &p), MR_OK);
	assert_same(&p, &expected);
	assert_true(p.reply_to.data > golden && p.reply_to.data < golden + GOLDEN); /* borrowed */
	assert_non_null(mr_table_find(p.headers, "key"));
	mr_table_free(p.headers);
	mr_table_free(expected.headers);
}

static void test_every_property_travels_alone(void **state)
{
	mr_properties all = all_of_them();
	(void)state;
	for (uint32_t flag = 4; flag <= 0x8000; flag <<= 1) {
		struct mr_buffer out = {0};
		mr_properties p = all, back;
		p.flags = flag;
		assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
		assert_int_equal(
			mr_properties_decode(mr_buffer_data(&out), mr_buffer_size(&out), &back),
			MR_OK);
		assert_int_equal(back.flags, flag);
		/* What the flags do not name is zero, whatever was given. */
		assert_int_equal(back.priority, flag == MR_HAS_PRIORITY ? 7 : 0);
		assert_int_equal(back.app_id.size, flag == MR_HAS_APP_ID ? 3 : 0);
		assert_int_equal(back.content_type.size, flag == MR_HAS_CONTENT_TYPE ? 10 : 0);
		assert_true((back.headers != NULL) == (flag == MR_HAS_HEADERS));
		mr_table_free(back.headers);
		mr_buffer_fini(&out);
	}
	mr_table_free(all.headers);
}

static void test_no_properties_are_two_zero_octets(void **state)
{
	struct mr_buffer out = {0};
	mr_properties p = {0}, back;
	(void)state;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 2);
	assert_int_equal(mr_properties_decode(mr_buffer_data(&out), 2, &back), MR_OK);
	assert_int_equal(back.flags, 0);
	assert_null(back.headers);
	mr_buffer_fini(&out);
}

static void test_headers_without_a_table_are_an_empty_table(void **state)
{
	struct mr_buffer out = {0};
	mr_properties p = {.flags = MR_HAS_HEADERS}, back;
	(void)state;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
	assert_memory_equal(mr_buffer_data(&out), "\x20\0\0\0\0\0", 6);
	assert_int_equal(mr_properties_decode(mr_buffer_data(&out), 6, &back), MR_OK);
	assert_int_equal(back.headers->count, 0);
	mr_table_free(back.headers);
	mr_buffer_fini(&out);
}

static void test_a_string_has_255_bytes_at_most(void **state)
{
	static char text[256];
	struct mr_buffer out = {0};
	mr_error error = {0};
	mr_properties p = {.flags = MR_HAS_REPLY_TO, .reply_to = {text, 255}}, back;
	(void)state;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
	assert_int_equal(mr_properties_decode(mr_buffer_data(&out), mr_buffer_size(&out), &back),
		MR_OK);
	assert_int_equal(back.reply_to.size, 255);
	p.reply_to.size = 256;
	assert_int_equal(mr_properties_put(&out, &p, &error), MR_BAD_ARGUMENT);
	assert_int_equal(error.kind, MR_BAD_ARGUMENT);
	assert_int_equal(mr_buffer_size(&out), 258);
	mr_buffer_fini(&out);
}

static void test_flags_that_amqp_does_not_have_are_refused(void **state)
{
	struct mr_buffer out = {0};
	mr_properties p = {.flags = 2};
	(void)state;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_BAD_ARGUMENT);
	p.flags = 1;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_BAD_ARGUMENT);
	p.flags = 0x10000;
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_BAD_ARGUMENT);
	assert_int_equal(mr_buffer_size(&out), 0);
	mr_buffer_fini(&out);
}

static void test_cut_or_padded_properties_do_not_decode(void **state)
{
	mr_properties p = {.flags = 77};
	char padded[GOLDEN + 1];
	(void)state;
	for (size_t size = 0; size < GOLDEN; size++)
		assert_int_equal(mr_properties_decode((const uint8_t *)golden, size, &p),
			MR_FRAME_ERROR);
	memcpy(padded, golden, sizeof padded);
	assert_int_equal(mr_properties_decode((uint8_t *)padded, sizeof padded, &p),
		MR_FRAME_ERROR);
	assert_int_equal(p.flags, 77);
}

/* ---- the public functions ---- */

static void test_a_delivery_s_properties_are_read(void **state)
{
	mr_delivery d = {.properties = golden, .properties_size = GOLDEN};
	mr_properties p;
	(void)state;
	assert_int_equal(mr_delivery_properties(&d, &p), MR_OK);
	assert_true(mr_slice_equal(p.message_id, mr_slice_str("m1")));
	mr_table_free(p.headers);
	d.properties_size--;
	assert_int_equal(mr_delivery_properties(&d, &p), MR_FRAME_ERROR);
}

static void test_encode_writes_only_what_fits(void **state)
{
	mr_properties p = all_of_them();
	(void)state;
	for (size_t size = 0; size <= 2 * GOLDEN; size++) {
		char *buffer = malloc(size ? size : 1); /* so that the sanitizer sees its end */
		memset(buffer, '#', size ? size : 1);
		assert_int_equal(mr_properties_encode(&p, buffer, size), GOLDEN);
		if (size >= GOLDEN)
			assert_memory_equal(buffer, golden, GOLDEN);
		else
			assert_int_equal(buffer[0], '#');
		if (size > GOLDEN + 32) assert_int_equal(buffer[size - 1], '#');
		free(buffer);
	}
	assert_int_equal(mr_properties_encode(&p, NULL, 0), GOLDEN);
	mr_table_free(p.headers);
}

static void test_encode_says_what_is_wrong_as_a_negative_kind(void **state)
{
	static char text[300];
	char buffer[600];
	mr_properties p = {.flags = MR_HAS_TYPE, .type = {text, 256}};
	(void)state;
	assert_int_equal(mr_properties_encode(&p, buffer, sizeof buffer), -MR_BAD_ARGUMENT);
	assert_int_equal(mr_properties_encode(&p, NULL, 0), -MR_BAD_ARGUMENT);
	p = all_of_them();
	p.headers->fields[0].value.type = '?';
	assert_int_equal(mr_properties_encode(&p, buffer, sizeof buffer), -MR_BAD_ARGUMENT);
	assert_int_equal(mr_properties_encode(&p, NULL, 0), -MR_BAD_ARGUMENT);
	mr_table_free(p.headers);
}

/* ---- splicing ---- */

static void assert_spliced(const char *raw, size_t raw_size, const mr_properties *changes,
	uint32_t without, const mr_table *names, const char *wanted, size_t wanted_size)
{
	char buffer[512];
	int n = mr_properties_splice(raw, raw_size, changes, without, names, buffer, sizeof buffer);
	assert_int_equal(n, wanted_size);
	assert_memory_equal(buffer, wanted, wanted_size);
	assert_int_equal(mr_properties_splice(raw, raw_size, changes, without, names, NULL, 0), n);
}
#define SPLICED(raw, changes, without, names, wanted)                                              \
	assert_spliced(raw, sizeof raw - 1, changes, without, names, wanted, sizeof wanted - 1)

/* FIELD-W11 */
static void test_what_is_sent_on_stays_byte_for_byte(void **state)
{
	mr_properties none = {0};
	(void)state;
	SPLICED(golden, &none, 0, NULL, golden);
	SPLICED("\0\0", &none, 0, NULL, "\0\0");
	/* A timestamp beyond 2^63, an L beyond l, the same name twice. */
	SPLICED("\x20\x40\0\0\0\x16\1aL\xff\xff\xff\xff\xff\xff\xff\xff\1at\2\1bV\1cb\x80"
		"\xff\xff\xff\xff\xff\xff\xff\xff",
		&none, 0, NULL,
		"\x20\x40\0\0\0\x16\1aL\xff\xff\xff\xff\xff\xff\xff\xff\1at\2\1bV\1cb\x80"
		"\xff\xff\xff\xff\xff\xff\xff\xff");
}

/* FIELD-W11 */
static void test_splicing_replaces_adds_and_leaves_out(void **state)
{
	mr_properties changes = {.flags = MR_HAS_TYPE | MR_HAS_HEADERS};
	mr_value yes = {.type = 't', .as.boolean = true};
	mr_table *names = mr_table_new();
	(void)state;
	changes.type = mr_slice_str("new");
	changes.headers = mr_table_new();
	assert_int_equal(mr_table_add(changes.headers, "key", 3, &yes), MR_OK);
	assert_int_equal(mr_table_add(names, "gone", 4, &yes), MR_OK);
	SPLICED("\x21\x30\0\0\0\x10\3keyV\4goneV\1xs\xff\xfe\5"
		"60000\3old\1u",
		&changes, MR_HAS_EXPIRATION | MR_HAS_USER_ID, names,
		"\x20\x20\0\0\0\xb\1xs\xff\xfe\3keyt\1\3new");
	SPLICED("\0\0", &changes, 0, names, "\x20\x20\0\0\0\6\3keyt\1\3new");
	mr_table_free(changes.headers);
	mr_table_free(names);
}

static void test_splicing_refuses_what_is_malformed(void **state)
{
	mr_properties none = {0};
	char buffer[64];
	(void)state;
	for (size_t size = 0; size < GOLDEN; size++)
		assert_int_equal(
			mr_properties_splice(golden, size, &none, 0, NULL, buffer, sizeof buffer),
			-MR_FRAME_ERROR);
	mr_properties bad = {.flags = 1};
	assert_int_equal(mr_properties_splice(golden, GOLDEN, &bad, 0, NULL, buffer, sizeof buffer),
		-MR_BAD_ARGUMENT);
}

/* FIELD-W11: long keys, every depth. */
static void test_what_the_wire_carries_can_be_read(void **state)
{
	enum { DEEP = 20000, SIZE = 2 + 4 + 257 + 4 + DEEP * 5 };
	uint8_t *data = malloc(SIZE), *at = data;
	mr_properties p;
	(void)state;
	memcpy(at, "\x20\0", 2);
	mr_put32(at + 2, SIZE - 6);
	at[6] = 255;
	memset(at + 7, 'k', 255);
	at[262] = 'A';
	at += 263;
	for (uint32_t left = SIZE - 267;; left -= 5, at += 5) {
		mr_put32(at, left);
		if (!left) break;
		at[4] = 'A';
	}
	assert_int_equal(mr_properties_decode(data, SIZE, &p), MR_OK);
	assert_int_equal(p.headers->fields[0].key.size, 255);
	int depth = 0;
	for (const mr_table *t = p.headers; t->count; t = t->fields[0].value.as.nested) depth++;
	assert_int_equal(depth, DEEP + 1);
	mr_table_free(p.headers);
	free(data);
}

/* ---- memory ---- */

static void test_every_failing_allocation_is_reported(void **state)
{
	mr_properties p = all_of_them();
	long live = mr_alloc_live();
	int n = 1, size;
	(void)state;
	do {
		char buffer[GOLDEN];
		mr_alloc_fail_nth(n++);
		size = mr_properties_encode(&p, buffer, sizeof buffer);
		mr_alloc_fail_nth(0);
		assert_true(size == -MR_NO_MEMORY || size == (int)GOLDEN);
		assert_int_equal(mr_alloc_live(), live);
	} while (size < 0);
	assert_true(n > 3);
	enum mr_status st;
	n = 1;
	do {
		mr_properties back = {0};
		mr_alloc_fail_nth(n++);
		st = mr_properties_decode((const uint8_t *)golden, GOLDEN, &back);
		mr_alloc_fail_nth(0);
		assert_true(st == MR_OK || st == MR_NO_MEMORY);
		mr_table_free(back.headers);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 2);
	n = 1;
	do {
		char buffer[2 * GOLDEN];
		mr_alloc_fail_nth(n++);
		size = mr_properties_splice(golden, GOLDEN, &p, 0, NULL, buffer, sizeof buffer);
		mr_alloc_fail_nth(0);
		assert_true(size == -MR_NO_MEMORY || size == (int)GOLDEN);
		assert_int_equal(mr_alloc_live(), live);
	} while (size < 0);
	assert_true(n > 3);
	mr_table_free(p.headers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_properties_encode_to_the_reference_bytes),
		cmocka_unit_test(test_all_properties_decode_from_the_reference_bytes),
		cmocka_unit_test(test_every_property_travels_alone),
		cmocka_unit_test(test_no_properties_are_two_zero_octets),
		cmocka_unit_test(test_headers_without_a_table_are_an_empty_table),
		cmocka_unit_test(test_a_string_has_255_bytes_at_most),
		cmocka_unit_test(test_flags_that_amqp_does_not_have_are_refused),
		cmocka_unit_test(test_cut_or_padded_properties_do_not_decode),
		cmocka_unit_test(test_a_delivery_s_properties_are_read),
		cmocka_unit_test(test_encode_writes_only_what_fits),
		cmocka_unit_test(test_encode_says_what_is_wrong_as_a_negative_kind),
		cmocka_unit_test(test_what_is_sent_on_stays_byte_for_byte),
		cmocka_unit_test(test_splicing_replaces_adds_and_leaves_out),
		cmocka_unit_test(test_splicing_refuses_what_is_malformed),
		cmocka_unit_test(test_what_the_wire_carries_can_be_read),
		cmocka_unit_test(test_every_failing_allocation_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
