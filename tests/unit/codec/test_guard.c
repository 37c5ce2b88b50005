/* test_guard: what must never reach the codec is refused, and what is sound passes.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/value.h"
#include "codec/guard.h"
#include "codec/method.h"
#include "codec/walk.h"

static const struct mr_guard limits = {.frame_max = 4096, .channel_max = 16};

static enum mr_status head(uint8_t type, uint16_t channel, uint32_t size, mr_error *error)
{
	uint8_t bytes[MR_FRAME_HEAD] = {type};
	mr_put16(bytes + 1, channel);
	mr_put32(bytes + 3, size);
	return mr_guard_head(&limits, bytes, error);
}

static void test_each_frame_type_of_amqp_passes(void **state)
{
	(void)state;
	assert_int_equal(head(MR_FRAME_METHOD, 0, 4, NULL), MR_OK);
	assert_int_equal(head(MR_FRAME_HEADER, 1, 14, NULL), MR_OK);
	assert_int_equal(head(MR_FRAME_BODY, 16, 0, NULL), MR_OK);
	assert_int_equal(head(MR_FRAME_HEARTBEAT, 0, 0, NULL), MR_OK);
}

/* FAULTS S1. */
static void test_every_other_frame_type_is_refused(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		mr_error error = {0};
		if ((type >= 1 && type <= 3) || type == 8) continue;
		assert_int_equal(head((uint8_t)type, 0, 4, &error), MR_FRAME_ERROR);
		assert_int_equal(error.code, 501);
		assert_int_equal(error.scope, MR_SCOPE_CONNECTION);
	}
}

static void test_a_frame_may_fill_frame_max_and_no_more(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(head(MR_FRAME_BODY, 1, 4096 - 8, NULL), MR_OK);
	assert_int_equal(head(MR_FRAME_BODY, 1, 4096 - 7, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
	assert_int_equal(head(MR_FRAME_BODY, 1, UINT32_MAX, NULL), MR_FRAME_ERROR);
}

/* FAULTS S1. */
static void test_a_channel_over_channel_max_is_refused(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(head(MR_FRAME_METHOD, 16, 4, NULL), MR_OK);
	assert_int_equal(head(MR_FRAME_METHOD, 17, 4, &error), MR_CHANNEL_ERROR);
	assert_int_equal(error.code, 504);
	assert_int_equal(head(MR_FRAME_METHOD, 4000, 4, NULL), MR_CHANNEL_ERROR);
}

static void test_a_heartbeat_is_empty_and_on_channel_0(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(head(MR_FRAME_HEARTBEAT, 0, 1, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
	assert_int_equal(head(MR_FRAME_HEARTBEAT, 1, 0, NULL), MR_FRAME_ERROR);
}

/* ---- whole frames ---- */

static enum mr_status whole(uint8_t type, const void *payload, uint32_t size, mr_error *error)
{
	struct mr_frame frame = {.type = type, .channel = 1, .size = size, .payload = payload};
	return mr_guard_frame(&frame, error);
}

static enum mr_status method(uint32_t id)
{
	uint8_t payload[4];
	mr_put32(payload, id);
	return whole(MR_FRAME_METHOD, payload, sizeof payload, NULL);
}

static void test_a_method_shorter_than_its_id_is_refused(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(whole(MR_FRAME_METHOD, "\0\x3c\0", 3, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
}

static void test_the_methods_of_a_server_pass(void **state)
{
	static const uint32_t ids[] = {MR_M_CONNECTION_TUNE, MR_M_CONNECTION_CLOSE,
		MR_M_CHANNEL_OPEN_OK, MR_M_EXCHANGE_UNBIND_OK, MR_M_QUEUE_DECLARE_OK,
		MR_M_BASIC_DELIVER, MR_M_BASIC_RETURN, MR_M_BASIC_ACK, MR_M_BASIC_NACK,
		MR_M_BASIC_CANCEL, MR_M_CONFIRM_SELECT_OK, MR_M_TX_ROLLBACK_OK};
	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		assert_int_equal(method(ids[i]), MR_OK);
}

static void test_the_methods_of_a_client_are_refused(void **state)
{
	static const uint32_t ids[] = {MR_M_CONNECTION_START_OK, MR_M_CONNECTION_TUNE_OK,
		MR_M_CONNECTION_OPEN, MR_M_CHANNEL_OPEN, MR_M_CHANNEL_FLOW_OK,
		MR_M_EXCHANGE_DECLARE, MR_M_QUEUE_DECLARE, MR_M_QUEUE_BIND, MR_M_BASIC_QOS,
		MR_M_BASIC_CONSUME, MR_M_BASIC_PUBLISH, MR_M_BASIC_GET, MR_M_BASIC_REJECT,
		MR_M_BASIC_RECOVER, MR_M_CONFIRM_SELECT, MR_M_TX_COMMIT};
	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		assert_int_equal(method(ids[i]), MR_COMMAND_INVALID);
}

/* FAULTS S1. */
static void test_of_all_numbers_only_the_methods_of_a_server_pass(void **state)
{
	unsigned passed = 0;
	(void)state;
	for (uint32_t class_id = 0; class_id < 128; class_id++)
		for (uint32_t id = 0; id < 256; id++)
			passed += method(MR_METHOD(class_id, id)) == MR_OK;
	assert_int_equal(passed, 36); /* connection.start needs its table besides */
}

static void test_an_unknown_method_is_a_503(void **state)
{
	mr_error error = {0};
	uint8_t payload[4];
	(void)state;
	mr_put32(payload, MR_METHOD(50, 99));
	assert_int_equal(whole(MR_FRAME_METHOD, payload, 4, &error), MR_COMMAND_INVALID);
	assert_int_equal(error.code, 503);
}

static void test_a_start_whose_table_is_unsound_is_refused(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(whole(MR_FRAME_METHOD, "\0\x0a\0\x0a\0\x09\0\0\0\0", 10, NULL), MR_OK);
	assert_int_equal(whole(MR_FRAME_METHOD, "\0\x0a\0\x0a\0\x09\0\0\0\1", 10, &error),
		MR_FRAME_ERROR);
	assert_int_equal(error.code, 502);
	assert_int_equal(whole(MR_FRAME_METHOD, "\0\x0a\0\x0a\0", 5, NULL), MR_FRAME_ERROR);
}

static enum mr_status content_header(uint16_t class_id, uint64_t body, uint32_t size,
	mr_error *error)
{
	uint8_t payload[14] = {0};
	mr_put16(payload, class_id);
	mr_put64(payload + 4, body);
	return whole(MR_FRAME_HEADER, payload, size, error);
}

static void test_a_content_header_is_judged_by_size_and_class(void **state)
{
	mr_error error = {0};
	(void)state;
	assert_int_equal(content_header(60, 1000, 14, NULL), MR_OK);
	assert_int_equal(content_header(60, 0, 13, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
	assert_int_equal(content_header(10, 0, 14, &error), MR_FRAME_ERROR);
	assert_int_equal(content_header(60, UINT64_MAX, 14, NULL),
		MR_OK); /* content.c knows what to do */
}

/* FIELD-W10 */
static void test_a_content_header_has_a_bound_of_its_own(void **state)
{
	const struct mr_guard wide = {.frame_max = 4096,
		.channel_max = 16,
		.header_max = MR_HEADER_FRAME_MAX};
	uint8_t head[MR_FRAME_HEAD] = {MR_FRAME_HEADER, 0, 1};
	(void)state;
	mr_put32(head + 3, MR_HEADER_FRAME_MAX - 8);
	assert_int_equal(mr_guard_head(&wide, head, NULL), MR_OK);
	assert_int_equal(mr_guard_head(&limits, head, NULL), MR_FRAME_ERROR);
	mr_put32(head + 3, MR_HEADER_FRAME_MAX - 7);
	assert_int_equal(mr_guard_head(&wide, head, NULL), MR_FRAME_ERROR);
	mr_put32(head + 3, 4096 - 7);
	assert_int_equal(mr_guard_head(&wide, head, NULL), MR_OK);
	head[0] = MR_FRAME_BODY;
	assert_int_equal(mr_guard_head(&wide, head, NULL), MR_FRAME_ERROR);
	head[0] = MR_FRAME_METHOD;
	assert_int_equal(mr_guard_head(&wide, head, NULL), MR_FRAME_ERROR);
}

/* ---- tables ---- */

#define TABLE(bytes) mr_guard_table((const uint8_t *)bytes, sizeof bytes - 1)

static void test_an_empty_table_takes_four_bytes(void **state)
{
	(void)state;
	assert_int_equal(TABLE("\0\0\0\0"), 4);
	assert_int_equal(TABLE("\0\0\0\0more"), 4);
	assert_int_equal(TABLE("\0\0\0"), 0);
	assert_int_equal(mr_guard_table(NULL, 0), 0);
}

static void test_every_type_passes_at_its_own_size_and_at_no_other(void **state)
{
	static const char types[] = "tbBsuIilLfdDTV";
	static const uint8_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 5, 8, 0};
	(void)state;
	for (size_t i = 0; i < sizeof sizes; i++) {
		uint8_t data[32] = {0, 0, 0, (uint8_t)(3 + sizes[i]), 1, 'k', (uint8_t)types[i]};
		assert_int_equal(mr_guard_table(data, 7u + sizes[i]), 7 + sizes[i]);
		assert_int_equal(mr_guard_table(data, 6u + sizes[i]), 0);
		if (!sizes[i]) continue;
		data[3]--;
		assert_int_equal(mr_guard_table(data, sizeof data), 0);
	}
}

static void test_an_unknown_type_is_refused(void **state)
{
	(void)state;
	for (unsigned type = 1; type < 256; type++) {
		if (strchr("tbBsuIilLfdDTVSxFA", (int)type)) continue;
		for (uint8_t behind = 0; behind < 10; behind++) {
			uint8_t data[32] = {0, 0, 0, (uint8_t)(3 + behind), 1, 'k', (uint8_t)type};
			assert_int_equal(mr_guard_table(data, 7u + behind), 0);
		}
	}
}

/* FAULTS S1. */
static void test_a_negative_length_is_refused(void **state)
{
	(void)state;
	assert_int_equal(TABLE("\xff\xff\xff\xff"), 0);
	assert_int_equal(TABLE("\0\0\0\x07\1kx\xff\xff\xff\xff"), 0);
	assert_int_equal(TABLE("\0\0\0\x07\1kS\x80\0\0\0"), 0);
	assert_int_equal(TABLE("\0\0\0\x07\1kA\xff\xff\xff\xfe"), 0);
	assert_int_equal(TABLE("\0\0\0\x07\1kF\xff\xff\xff\xfe"), 0);
}

static void test_a_string_longer_than_its_table_is_refused(void **state)
{
	(void)state;
	assert_int_equal(TABLE("\0\0\0\x09\1kS\0\0\0\2hi"), 13);
	assert_int_equal(TABLE("\0\0\0\x09\1kS\0\0\0\3hi!"), 0);
	assert_int_equal(TABLE("\0\0\0\x09\1kx\0\1\0\0hi"), 0);
}

static void test_a_nested_table_stays_inside_its_parent(void **state)
{
	(void)state;
	assert_int_equal(TABLE("\0\0\0\x0a\1kF\0\0\0\3\1aV"), 14);
	assert_int_equal(TABLE("\0\0\0\x07\1kF\0\0\0\3\1aV"), 0);
	assert_int_equal(TABLE("\0\0\0\x09\1kF\0\0\0\2\1aV"), 0);
}

static void test_a_key_may_have_255_bytes_and_must_end_inside(void **state)
{
	uint8_t data[4 + 256 + 1] = {0, 0, 1, 1, 255};
	(void)state;
	data[4 + 256] = 'V';
	assert_int_equal(mr_guard_table(data, sizeof data), sizeof data);
	data[3] = 0; /* the type is cut off */
	assert_int_equal(mr_guard_table(data, sizeof data), 0);
	assert_int_equal(TABLE("\0\0\0\2\5k"), 0);
}

/* Tables within tables, or arrays, `levels` in all: written from the inside out, up to `end`. */
static const uint8_t *tower(uint8_t *end, unsigned levels, char type, size_t *size)
{
	uint8_t *at = end - 4;
	mr_put32(at, 0);
	for (unsigned i = 1; i < levels; i++) {
		bool in_array = type == 'A' && i + 1 < levels;
		*--at = (uint8_t)type;
		if (!in_array) {
			*--at = 'k';
			*--at = 1;
		}
		uint32_t length = (uint32_t)(end - at);
		at -= 4;
		mr_put32(at, length);
	}
	*size = (size_t)(end - at);
	return at;
}

/* FAULTS S1. */
static void test_depth_ends_at_the_limit(void **state)
{
	static uint8_t space[200000];
	size_t size;
	(void)state;
	for (const char *type = "FA"; *type; type++) {
		const uint8_t *at = tower(space + sizeof space, MR_TABLE_DEPTH_MAX, *type, &size);
		assert_int_equal(mr_guard_table(at, size), size);
		at = tower(space + sizeof space, MR_TABLE_DEPTH_MAX + 1, *type, &size);
		assert_int_equal(mr_guard_table(at, size), 0);
		at = tower(space + sizeof space, 18000, *type, &size);
		assert_int_equal(mr_guard_table(at, size), 0);
	}
}

/* ---- properties ---- */

static bool is_sound(const char *bytes, size_t size)
{
	struct mr_parts parts;
	return mr_parts_split(mr_slice_of(bytes, size), &parts);
}
#define PROPERTIES(bytes) is_sound(bytes, sizeof bytes - 1)

static void test_no_properties_are_sound(void **state)
{
	(void)state;
	assert_true(PROPERTIES("\0\0"));
	assert_false(PROPERTIES("\0"));
	assert_false(PROPERTIES(""));
}

static void test_properties_must_fill_their_bytes_exactly(void **state)
{
	(void)state;
	assert_true(PROPERTIES("\x80\0\4text"));
	assert_false(PROPERTIES("\x80\0\4tex"));
	assert_false(PROPERTIES("\x80\0\4texts"));
	assert_false(PROPERTIES("\x80\0"));
	assert_true(PROPERTIES("\x10\0\2"));
	assert_false(PROPERTIES("\x10\0\2\2"));
	assert_true(PROPERTIES("\0\x40\1\2\3\4\5\6\7\x08"));
	assert_false(PROPERTIES("\0\x40\1\2\3\4\5\6\7"));
}

static void test_a_second_flag_word_is_refused(void **state)
{
	(void)state;
	assert_false(PROPERTIES("\0\1\0\1\0\1\0\0"));
	assert_false(PROPERTIES("\0\2"));
}

static void test_headers_are_walked(void **state)
{
	(void)state;
	assert_true(PROPERTIES("\x20\0\0\0\0\3\1kV"));
	assert_false(PROPERTIES("\x20\0\0\0\0\3\1k?"));
	assert_false(PROPERTIES("\x20\0\0\0\0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_frame_type_of_amqp_passes),
		cmocka_unit_test(test_every_other_frame_type_is_refused),
		cmocka_unit_test(test_a_frame_may_fill_frame_max_and_no_more),
		cmocka_unit_test(test_a_channel_over_channel_max_is_refused),
		cmocka_unit_test(test_a_heartbeat_is_empty_and_on_channel_0),
		cmocka_unit_test(test_a_method_shorter_than_its_id_is_refused),
		cmocka_unit_test(test_the_methods_of_a_server_pass),
		cmocka_unit_test(test_the_methods_of_a_client_are_refused),
		cmocka_unit_test(test_of_all_numbers_only_the_methods_of_a_server_pass),
		cmocka_unit_test(test_an_unknown_method_is_a_503),
		cmocka_unit_test(test_a_start_whose_table_is_unsound_is_refused),
		cmocka_unit_test(test_a_content_header_is_judged_by_size_and_class),
		cmocka_unit_test(test_a_content_header_has_a_bound_of_its_own),
		cmocka_unit_test(test_an_empty_table_takes_four_bytes),
		cmocka_unit_test(test_every_type_passes_at_its_own_size_and_at_no_other),
		cmocka_unit_test(test_an_unknown_type_is_refused),
		cmocka_unit_test(test_a_negative_length_is_refused),
		cmocka_unit_test(test_a_string_longer_than_its_table_is_refused),
		cmocka_unit_test(test_a_nested_table_stays_inside_its_parent),
		cmocka_unit_test(test_a_key_may_have_255_bytes_and_must_end_inside),
		cmocka_unit_test(test_depth_ends_at_the_limit),
		cmocka_unit_test(test_no_properties_are_sound),
		cmocka_unit_test(test_properties_must_fill_their_bytes_exactly),
		cmocka_unit_test(test_a_second_flag_word_is_refused),
		cmocka_unit_test(test_headers_are_walked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
