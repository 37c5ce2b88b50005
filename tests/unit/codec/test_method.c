/* test_method: every method has the bytes that AMQP 0-9-1 gives it, in both directions.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/value.h"
#include "codec/frame.h"
#include "codec/method.h"
#include "method_samples.h"

static const struct mr_guard limits = {.frame_max = LARGE, .channel_max = 2047};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int open_codec(void **state) { return mr_codec_open((struct mr_codec **)state) != MR_OK; }

static int close_codec(void **state)
{
	mr_codec_close(*state);
	return 0;
}

static struct mr_frame frame_of(const void *payload, size_t size)
{
	return (struct mr_frame){.type = MR_FRAME_METHOD,
		.channel = 1,
		.size = (uint32_t)size,
		.payload = payload};
}

static void assert_same(const struct mr_method *a, const struct mr_method *b)
{
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->flags, b->flags);
	assert_true(a->tag == b->tag);
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->consumers, b->consumers);
	assert_int_equal(a->failing, b->failing);
	assert_int_equal(a->code, b->code);
	assert_int_equal(a->channel_max, b->channel_max);
	assert_int_equal(a->heartbeat, b->heartbeat);
	assert_true(mr_slice_equal(a->name, b->name));
	assert_true(mr_slice_equal(a->other, b->other));
	assert_true(mr_slice_equal(a->key, b->key));
	assert_true(mr_slice_equal(a->text, b->text));
	assert_true((a->table == NULL) == (b->table == NULL));
}

static void assert_payload(const struct mr_buffer *out, const char *bytes, size_t size)
{
	struct mr_frame frame;
	size_t used, want;
	assert_int_equal(mr_frame_next(&limits, mr_buffer_data(out), mr_buffer_size(out), &frame,
				 &used, &want, NULL),
		MR_OK);
	assert_int_equal(used, mr_buffer_size(out));
	assert_int_equal(frame.type, MR_FRAME_METHOD);
	assert_int_equal(frame.channel, 513);
	assert_int_equal(frame.size, size);
	assert_memory_equal(frame.payload, bytes, size);
}

/* ---- what leaves ---- */

static void test_what_a_client_sends_has_the_bytes_of_the_specification(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(sent); i++) {
		struct mr_buffer out = {0};
		assert_int_equal(mr_method_put(&out, 513, &sent[i].method, LARGE, NULL), MR_OK);
		assert_payload(&out, sent[i].bytes, sent[i].size);
		mr_buffer_fini(&out);
	}
}

/* For fake servers in tests: only what they need is encoded, and the rest of these has no fields. */
static void test_what_a_server_sends_can_be_encoded_too(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(received); i++) {
		struct mr_buffer out = {0};
		assert_int_equal(mr_method_put(&out, 513, &received[i].method, LARGE, NULL), MR_OK);
		assert_payload(&out, received[i].bytes, received[i].size);
		mr_buffer_fini(&out);
	}
}

static void test_frames_are_appended_behind_what_is_there(void **state)
{
	struct mr_buffer out = {0};
	struct mr_method ack = {.id = MR_M_BASIC_ACK, .tag = 1};
	(void)state;
	mr_buffer_append(&out, "before", 6);
	mr_buffer_consume(&out, 1);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(mr_method_put(&out, 1, &ack, LARGE, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 5 + 1000 * 21);
	assert_memory_equal(mr_buffer_data(&out), "efore\1\0\1\0\0\0\15\0\74\0\120", 16);
	mr_buffer_fini(&out);
}

static void test_a_table_is_encoded_inside_its_method(void **state)
{
	struct mr_buffer out = {0};
	struct mr_method declare = {.id = MR_M_QUEUE_DECLARE,
		.name = S("q"),
		.table = mr_table_new()};
	(void)state;
	assert_int_equal(mr_table_add_string(declare.table, "k", mr_slice_str("v")), MR_OK);
	assert_int_equal(mr_method_put(&out, 513, &declare, LARGE, NULL), MR_OK);
	assert_payload(&out, A("\0\62\0\12\0\0\1q\0\0\0\0\10\1kS\0\0\0\1v"));
	mr_table_free(declare.table);
	mr_buffer_fini(&out);
}

static void assert_refused(const struct mr_method *m, uint32_t frame_max, const char *says)
{
	struct mr_buffer out = {0};
	mr_error error = {0};
	mr_buffer_append(&out, "kept", 4);
	assert_int_equal(mr_method_put(&out, 1, m, frame_max, &error), MR_BAD_ARGUMENT);
	assert_int_equal(error.kind, MR_BAD_ARGUMENT);
	if (!strstr(error.text, says)) fail_msg("'%s' does not say '%s'", error.text, says);
	assert_int_equal(mr_buffer_size(&out), 4);
	mr_buffer_fini(&out);
}

static void test_a_short_string_has_255_bytes_at_most(void **state)
{
	static char text[256];
	struct mr_buffer out = {0};
	struct mr_method m = {.id = MR_M_BASIC_PUBLISH, .name = {text, 255}, .key = {text, 255}};
	(void)state;
	memset(text, 'n', sizeof text);
	assert_int_equal(mr_method_put(&out, 1, &m, LARGE, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 7 + 4 + 2 + 256 + 256 + 1 + 1);
	mr_buffer_fini(&out);
	m.key.size = 256;
	assert_refused(&m, LARGE, "basic.publish");
	m = (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .text = {text, 256}};
	assert_refused(&m, LARGE, "connection.close");
	m = (struct mr_method){.id = MR_M_EXCHANGE_DECLARE, .other = {text, 256}};
	assert_refused(&m, LARGE, "exchange.declare");
	m = (struct mr_method){.id = MR_M_QUEUE_DECLARE, .name = {text, 256}};
	assert_refused(&m, LARGE, "queue.declare");
}

static void test_a_frame_may_fill_frame_max_and_no_more(void **state)
{
	static char response[5000];
	struct mr_buffer out = {0};
	struct mr_method m = {.id = MR_M_CONNECTION_START_OK,
		.name = S("PLAIN"),
		.other = S("en_US")};
	size_t fixed = 7 + 4 + 4 + 6 + 4 + 6 + 1;
	(void)state;
	m.text = mr_slice_of(response, 4096 - fixed);
	assert_int_equal(mr_method_put(&out, 0, &m, 4096, NULL), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 4096);
	mr_buffer_fini(&out);
	m.text.size++;
	assert_refused(&m, 4096, "frame_max");
}

static void test_a_large_table_is_held_against_frame_max(void **state)
{
	static char value[5000];
	struct mr_method m = {.id = MR_M_QUEUE_DECLARE, .name = S("q"), .table = mr_table_new()};
	(void)state;
	assert_int_equal(mr_table_add_string(m.table, "k", mr_slice_of(value, sizeof value)),
		MR_OK);
	assert_refused(&m, 4096, "frame_max");
	m.table->fields[0].value.type = '?';
	assert_refused(&m, LARGE, "field table");
	mr_table_free(m.table);
}

static void test_what_cannot_be_said_is_refused(void **state)
{
	struct mr_method m = {.id = MR_METHOD(50, 99)};
	(void)state;
	assert_refused(&m, LARGE, "unknown");
	m = (struct mr_method){.id = MR_M_BASIC_QOS, .count = 65536};
	assert_refused(&m, LARGE, "65535");
}

/* ---- what comes ---- */

static void test_what_a_server_sends_is_read(void **state)
{
	for (size_t i = 0; i < COUNT(received); i++) {
		struct mr_frame frame = frame_of(received[i].bytes, received[i].size);
		struct mr_method m;
		assert_int_equal(mr_guard_frame(&frame, NULL), MR_OK);
		assert_int_equal(mr_method_decode(*state, &frame, &m, NULL), MR_OK);
		assert_same(&m, &received[i].method);
	}
}

static void test_a_cut_method_is_refused_and_writes_nothing(void **state)
{
	for (size_t i = 0; i < COUNT(received); i++) {
		for (size_t size = 4; size < received[i].size; size++) {
			struct mr_frame frame = frame_of(received[i].bytes, size);
			struct mr_method m = {.id = 77};
			mr_error error = {0};
			assert_int_equal(mr_method_decode(*state, &frame, &m, &error),
				MR_FRAME_ERROR);
			assert_int_equal(error.code, 502);
			assert_int_equal(m.id, 77);
		}
	}
}

static void test_strings_borrow_from_the_frame(void **state)
{
	static const char bytes[] = "\0\74\0\74\3tag\0\0\0\0\0\0\0\5\1\1x\1k";
	struct mr_frame frame = frame_of(bytes, sizeof bytes - 1);
	struct mr_method m;
	assert_int_equal(mr_method_decode(*state, &frame, &m, NULL), MR_OK);
	assert_ptr_equal(m.other.data, bytes + 5);
	assert_ptr_equal(m.key.data, bytes + sizeof bytes - 2);
}

static void test_a_start_gives_its_table(void **state)
{
	static const char bytes[] = "\0\12\0\12\0\11\0\0\0\15\7productS\0\0\0\0"
				    "\0\0\0\16PLAIN AMQPLAIN\0\0\0\5en_US";
	struct mr_frame frame = frame_of(bytes, sizeof bytes - 1);
	struct mr_method m;
	assert_int_equal(mr_guard_frame(&frame, NULL), MR_OK);
	assert_int_equal(mr_method_decode(*state, &frame, &m, NULL), MR_OK);
	assert_true(mr_slice_equal(m.text, mr_slice_str("PLAIN AMQPLAIN")));
	assert_true(mr_slice_equal(m.other, mr_slice_str("en_US")));
	assert_non_null(mr_table_find(m.table, "product"));
	mr_table_free(m.table);
}

static void test_a_start_of_another_version_is_a_mismatch(void **state)
{
	static const char bytes[] = "\0\12\0\12\10\0\0\0\0\0\0\0\0\5PLAIN\0\0\0\5en_US";
	struct mr_frame frame = frame_of(bytes, sizeof bytes - 1);
	struct mr_method m = {0};
	mr_error error = {0};
	assert_int_equal(mr_method_decode(*state, &frame, &m, &error), MR_PROTOCOL_MISMATCH);
	assert_non_null(strstr(error.text, "8-0"));
	assert_null(m.table);
}

/* ---- the methods of the message path, against a reference by hand (docs/decisions/0002) ---- */

static bool take_short(const uint8_t **at, const uint8_t *end, mr_slice *out)
{
	if (*at == end || **at >= end - *at) return false;
	*out = mr_slice_of((const char *)*at + 1, **at);
	*at += 1 + **at;
	return true;
}

static bool reference_deliver(const struct mr_frame *frame, struct mr_method *out)
{
	const uint8_t *at = frame->payload + 4, *end = frame->payload + frame->size;
	*out = (struct mr_method){.id = MR_M_BASIC_DELIVER};
	if (!take_short(&at, end, &out->other) || end - at < 9) return false;
	out->tag = mr_get64(at);
	out->flags = at[8] & 1;
	at += 9;
	return take_short(&at, end, &out->name) && take_short(&at, end, &out->key);
}

/* Deterministic noise: the same at every run. */
static uint8_t noise(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return (uint8_t)(*seed >> 24);
}

static void test_deliver_agrees_with_a_reference_on_any_bytes(void **state)
{
	uint32_t seed = 1, whole = 0;
	for (int round = 0; round < 20000; round++) {
		uint8_t bytes[64];
		struct mr_method ours, reference;
		struct mr_frame frame = frame_of(bytes, 4 + (size_t)noise(&seed) % 60);
		for (size_t i = 4; i < sizeof bytes; i++)
			bytes[i] = round & 1 ? noise(&seed) : noise(&seed) % 12;
		mr_put32(bytes, MR_M_BASIC_DELIVER);
		bool decodes = reference_deliver(&frame, &reference);
		assert_int_equal(mr_method_decode(*state, &frame, &ours, NULL),
			decodes ? MR_OK : MR_FRAME_ERROR);
		if (decodes) assert_same(&ours, &reference);
		whole += decodes;
	}
	assert_true(whole > 1000);
}

static void test_decoding_deliveries_does_not_allocate(void **state)
{
	static const char bytes[] = "\0\74\0\74\3tag\0\0\0\0\0\0\0\5\1\1x\1k";
	struct mr_frame frame = frame_of(bytes, sizeof bytes - 1);
	struct mr_method m;
	long live = mr_alloc_live();
	mr_alloc_fail_nth(1);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(mr_method_decode(*state, &frame, &m, NULL), MR_OK);
	mr_alloc_fail_nth(0);
	assert_int_equal(mr_alloc_live(), live);
}

/* ---- names and memory ---- */

static void test_methods_have_the_names_of_the_specification(void **state)
{
	(void)state;
	assert_string_equal(mr_method_name(MR_M_QUEUE_DECLARE), "queue.declare");
	assert_string_equal(mr_method_name(MR_M_BASIC_GET_EMPTY), "basic.get-empty");
	assert_string_equal(mr_method_name(MR_METHOD(50, 99)), "unknown");
	for (size_t i = 0; i < COUNT(sent); i++)
		assert_string_not_equal(mr_method_name(sent[i].method.id), "unknown");
	for (size_t i = 0; i < COUNT(received); i++)
		assert_string_not_equal(mr_method_name(received[i].method.id), "unknown");
}

static void test_every_failing_allocation_of_put_is_reported(void **state)
{
	struct mr_method m = {.id = MR_M_QUEUE_DECLARE, .name = S("q"), .table = mr_table_new()};
	enum mr_status st;
	long n = 1;
	(void)state;
	assert_int_equal(mr_table_add_string(m.table, "k", mr_slice_str("v")), MR_OK);
	long live = mr_alloc_live();
	do {
		struct mr_buffer out = {0};
		mr_error error = {0};
		mr_alloc_fail_nth(n++);
		st = mr_method_put(&out, 1, &m, LARGE, &error);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(error.kind, MR_NO_MEMORY);
		if (st != MR_OK) assert_int_equal(mr_buffer_size(&out), 0);
		mr_buffer_fini(&out);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 3);
	mr_table_free(m.table);
}

static void test_every_failing_allocation_of_a_start_is_reported(void **state)
{
	static const char bytes[] = "\0\12\0\12\0\11\0\0\0\15\7productS\0\0\0\0"
				    "\0\0\0\5PLAIN\0\0\0\5en_US";
	struct mr_frame frame = frame_of(bytes, sizeof bytes - 1);
	long live = mr_alloc_live(), n = 1;
	enum mr_status st;
	do {
		struct mr_method m = {0};
		mr_error error = {0};
		mr_alloc_fail_nth(n++);
		st = mr_method_decode(*state, &frame, &m, &error);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(error.kind, MR_NO_MEMORY);
		mr_table_free(m.table);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 2);
}

static void test_no_memory_for_a_codec_is_reported(void **state)
{
	struct mr_codec *codec = NULL;
	(void)state;
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_codec_open(&codec), MR_NO_MEMORY);
	mr_alloc_fail_nth(0);
	assert_null(codec);
	mr_codec_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_client_sends_has_the_bytes_of_the_specification),
		cmocka_unit_test(test_what_a_server_sends_can_be_encoded_too),
		cmocka_unit_test(test_frames_are_appended_behind_what_is_there),
		cmocka_unit_test(test_a_table_is_encoded_inside_its_method),
		cmocka_unit_test(test_a_short_string_has_255_bytes_at_most),
		cmocka_unit_test(test_a_frame_may_fill_frame_max_and_no_more),
		cmocka_unit_test(test_a_large_table_is_held_against_frame_max),
		cmocka_unit_test(test_what_cannot_be_said_is_refused),
		cmocka_unit_test(test_what_a_server_sends_is_read),
		cmocka_unit_test(test_a_cut_method_is_refused_and_writes_nothing),
		cmocka_unit_test(test_strings_borrow_from_the_frame),
		cmocka_unit_test(test_a_start_gives_its_table),
		cmocka_unit_test(test_a_start_of_another_version_is_a_mismatch),
		cmocka_unit_test(test_deliver_agrees_with_a_reference_on_any_bytes),
		cmocka_unit_test(test_decoding_deliveries_does_not_allocate),
		cmocka_unit_test(test_methods_have_the_names_of_the_specification),
		cmocka_unit_test(test_every_failing_allocation_of_put_is_reported),
		cmocka_unit_test(test_every_failing_allocation_of_a_start_is_reported),
		cmocka_unit_test(test_no_memory_for_a_codec_is_reported),
	};
	return cmocka_run_group_tests(tests, open_codec, close_codec);
}
