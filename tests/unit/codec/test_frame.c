/* test_frame: frames are found in place however the bytes come, and written as AMQP wants them.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "codec/frame.h"

static const struct mr_guard limits = {.frame_max = 4096, .channel_max = 16};

static enum mr_status next(const void *data, size_t size, struct mr_frame *out, size_t *used,
	mr_error *error)
{
	size_t want;
	return mr_frame_next(&limits, data, size, out, used, &want, error);
}

static void test_a_frame_is_found_in_place(void **state)
{
	static const uint8_t data[] = "\1\0\2\0\0\0\4abcd\xce\1";
	struct mr_frame frame;
	size_t used;
	(void)state;
	assert_int_equal(next(data, sizeof data - 1, &frame, &used, NULL), MR_OK);
	assert_int_equal(used, 12);
	assert_int_equal(frame.type, MR_FRAME_METHOD);
	assert_int_equal(frame.channel, 2);
	assert_int_equal(frame.size, 4);
	assert_ptr_equal(frame.payload, data + 7);
}

static void test_a_part_of_a_frame_says_how_much_it_wants(void **state)
{
	static const uint8_t data[] = "\1\0\2\0\0\0\4abcd\xce";
	struct mr_frame frame;
	(void)state;
	for (size_t size = 0; size < sizeof data - 1; size++) {
		size_t used = 9, want = 0;
		assert_int_equal(mr_frame_next(&limits, data, size, &frame, &used, &want, NULL),
			MR_OK);
		assert_int_equal(used, 0);
		assert_int_equal(want, size < MR_FRAME_HEAD ? MR_FRAME_HEAD : 12);
	}
}

/* FAULTS S1. */
static void test_a_size_over_frame_max_is_refused_before_its_bytes_come(void **state)
{
	mr_error error = {0};
	struct mr_frame frame;
	size_t used = 1;
	(void)state;
	assert_int_equal(next("\3\0\1\x7f\xff\xff\xff", 7, &frame, &used, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
	assert_int_equal(used, 0);
}

static void test_a_wrong_end_octet_is_refused(void **state)
{
	mr_error error = {0};
	struct mr_frame frame;
	size_t used;
	(void)state;
	assert_int_equal(next("\1\0\0\0\0\0\4abcd\xcd", 12, &frame, &used, &error), MR_FRAME_ERROR);
	assert_int_equal(error.code, 501);
}

/* A header frame may carry bytes behind its properties: the frames behind it are found all the same. */
static void test_padding_in_a_header_frame_does_not_lose_the_next(void **state)
{
	uint8_t data[64] = {MR_FRAME_HEADER, 0, 1, 0, 0, 0, 14 + 5, 0, 60};
	struct mr_frame frame;
	size_t used;
	(void)state;
	data[7 + 14 + 5] = MR_FRAME_END;
	data[7 + 14 + 5 + 1] = MR_FRAME_HEARTBEAT;
	data[7 + 14 + 5 + 8] = MR_FRAME_END;
	assert_int_equal(next(data, sizeof data, &frame, &used, NULL), MR_OK);
	assert_int_equal(next(data + used, sizeof data - used, &frame, &used, NULL), MR_OK);
	assert_int_equal(frame.type, MR_FRAME_HEARTBEAT);
}

/* ---- the first bytes ---- */

static enum mr_status sniff(const char *data, size_t size, mr_error *error)
{
	return mr_frame_sniff((const uint8_t *)data, size, error);
}

static void assert_stranger(const char *data, size_t size, const char *says)
{
	mr_error error = {0};
	assert_int_equal(sniff(data, size, &error), MR_PROTOCOL_MISMATCH);
	assert_int_equal(error.scope, MR_SCOPE_CONNECTION);
	if (!strstr(error.text, says)) fail_msg("'%s' does not say '%s'", error.text, says);
}

static void test_a_method_frame_and_nothing_are_taken_for_amqp(void **state)
{
	(void)state;
	assert_int_equal(sniff("", 0, NULL), MR_OK);
	assert_int_equal(sniff("\1", 1, NULL), MR_OK);
	assert_int_equal(sniff("\1\0\0\0\0\1\2", 7, NULL), MR_OK);
}

static void test_another_version_of_amqp_is_named(void **state)
{
	(void)state;
	for (size_t size = 1; size < 8; size++)
		assert_int_equal(sniff("AMQP\0\1\0\0", size, NULL), MR_OK);
	assert_stranger("AMQP\0\1\0\0", 8, "AMQP 1-0-0");
	assert_stranger("AMQP\0\0\x0a\0", 8, "AMQP 0-10-0");
	assert_stranger("AMQP\0\0\x09\1", 8, "our own first bytes");
}

static void test_strangers_are_named(void **state)
{
	(void)state;
	assert_stranger("\x15\3\1\0\2\2\x0a", 7, "TLS");
	assert_stranger("\x16\3\1", 3, "TLS");
	assert_stranger("HTTP/1.1 400 Bad Request\r\n", 26, "HTTP");
	assert_stranger("<html>", 6, "HTTP");
	assert_stranger("SSH-2.0-OpenSSH_9.2\r\n", 21, "SSH");
	assert_stranger("220 mail ESMTP\r\n", 16, "220 mail ESMTP");
	assert_stranger("AMQX", 4, "AMQX");
	assert_stranger("\0\0\0\0", 4, "does not speak AMQP");
	assert_stranger("\x08\0\0\0\0\0\0\xce", 8,
		"does not speak AMQP"); /* a heartbeat comes first never */
}

/* ---- writing ---- */

static void test_the_fixed_frames_are_these_bytes(void **state)
{
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(mr_frame_put_protocol_header(&out), MR_OK);
	assert_int_equal(mr_frame_put_heartbeat(&out), MR_OK);
	assert_int_equal(mr_buffer_size(&out), 16);
	assert_memory_equal(mr_buffer_data(&out), "AMQP\0\0\x09\1\x08\0\0\0\0\0\0\xce", 16);
	mr_buffer_fini(&out);
}

static void test_an_empty_body_has_no_body_frame(void **state)
{
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(
		mr_frame_put_content(&out, 3, mr_slice_of("\x10\0\2", 3), mr_slice_of("", 0), 4096),
		MR_OK);
	assert_int_equal(mr_buffer_size(&out), 23);
	assert_memory_equal(mr_buffer_data(&out),
		"\2\0\3\0\0\0\x0f\0\x3c\0\0\0\0\0\0\0\0\0\0\x10\0\2\xce", 23);
	mr_buffer_fini(&out);
}

static void assert_body_comes_back(const char *body, size_t size, uint32_t frame_max)
{
	struct mr_guard guard = {.frame_max = frame_max, .channel_max = 16};
	struct mr_buffer out = {0};
	struct mr_frame frame;
	size_t used, want, at = 0, frames = 0;
	assert_int_equal(mr_frame_put_content(&out, 16, mr_slice_of("\0\0", 2),
				 mr_slice_of(body, size), frame_max),
		MR_OK);
	while (mr_buffer_size(&out)) {
		assert_int_equal(mr_frame_next(&guard, mr_buffer_data(&out), mr_buffer_size(&out),
					 &frame, &used, &want, NULL),
			MR_OK);
		assert_true(used > 0);
		assert_int_equal(frame.channel, 16);
		assert_int_equal(frame.type, frames++ ? MR_FRAME_BODY : MR_FRAME_HEADER);
		if (frame.type == MR_FRAME_HEADER) {
			assert_int_equal(mr_get64(frame.payload + 4), size);
		} else {
			assert_memory_equal(frame.payload, body + at, frame.size);
			at += frame.size;
		}
		mr_buffer_consume(&out, used);
	}
	assert_int_equal(at, size);
	assert_int_equal(frames, 1 + (size + frame_max - 9) / (frame_max - 8));
	mr_buffer_fini(&out);
}

static void test_a_body_is_cut_at_frame_max(void **state)
{
	static char body[20000];
	static const size_t sizes[] = {1, 4087, 4088, 4089, 8176, 8177, 20000};
	(void)state;
	for (size_t i = 0; i < sizeof body; i++) body[i] = (char)(i * 7);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		assert_body_comes_back(body, sizes[i], 4096);
		assert_body_comes_back(body, sizes[i], UINT32_MAX);
	}
}

static void test_properties_over_one_frame_are_refused(void **state)
{
	static char properties[4096];
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(mr_frame_put_content(&out, 1, mr_slice_of(properties, 4096 - 8 - 12 + 1),
				 mr_slice_of("b", 1), 4096),
		MR_BAD_ARGUMENT);
	assert_int_equal(mr_buffer_size(&out), 0);
	assert_int_equal(mr_frame_put_content(&out, 1, mr_slice_of(properties, 4096 - 8 - 12),
				 mr_slice_of("b", 1), 4096),
		MR_OK);
	mr_buffer_fini(&out);
}

static void test_out_of_memory_appends_nothing(void **state)
{
	struct mr_buffer out = {0};
	long live = mr_alloc_live();
	(void)state;
	mr_alloc_fail_nth(1);
	assert_int_equal(
		mr_frame_put_content(&out, 1, mr_slice_of("\0\0", 2), mr_slice_of("body", 4), 4096),
		MR_NO_MEMORY);
	mr_alloc_fail_nth(1);
	assert_int_equal(mr_frame_put_heartbeat(&out), MR_NO_MEMORY);
	mr_alloc_fail_nth(0);
	assert_int_equal(mr_buffer_size(&out), 0);
	mr_buffer_fini(&out);
	assert_int_equal(mr_alloc_live(), live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_is_found_in_place),
		cmocka_unit_test(test_a_part_of_a_frame_says_how_much_it_wants),
		cmocka_unit_test(test_a_size_over_frame_max_is_refused_before_its_bytes_come),
		cmocka_unit_test(test_a_wrong_end_octet_is_refused),
		cmocka_unit_test(test_padding_in_a_header_frame_does_not_lose_the_next),
		cmocka_unit_test(test_a_method_frame_and_nothing_are_taken_for_amqp),
		cmocka_unit_test(test_another_version_of_amqp_is_named),
		cmocka_unit_test(test_strangers_are_named),
		cmocka_unit_test(test_the_fixed_frames_are_these_bytes),
		cmocka_unit_test(test_an_empty_body_has_no_body_frame),
		cmocka_unit_test(test_a_body_is_cut_at_frame_max),
		cmocka_unit_test(test_properties_over_one_frame_are_refused),
		cmocka_unit_test(test_out_of_memory_appends_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
