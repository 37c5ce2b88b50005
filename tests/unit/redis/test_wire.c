/* test_wire: Redis' protocol, byte by byte.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "redis/wire.h"

#define S mr_slice_str

static void puts_commands(void **state)
{
	const mr_slice words[] = {S("SET"), mr_slice_of("a\0b", 3), S("")};
	static const char text[] = "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n";
	struct mr_buffer out = {0};
	(void)state;
	assert_int_equal(mr_redis_wire_put(&out, words, 3), MR_OK);
	assert_int_equal(mr_buffer_size(&out), sizeof text - 1);
	assert_memory_equal(mr_buffer_data(&out), text, sizeof text - 1);
	mr_buffer_fini(&out);
}

static void puts_a_command_whole_or_not_at_all(void **state)
{
	char body[5000] = "x";
	const mr_slice words[] = {S("SET"), S("k"), mr_slice_of(body, sizeof body)};
	long n = 1;
	enum mr_status st;
	(void)state;
	do {
		struct mr_buffer out = {0};
		assert_int_equal(mr_redis_wire_put(&out, words, 2), MR_OK);
		size_t before = mr_buffer_size(&out);
		mr_alloc_fail_nth(n++);
		st = mr_redis_wire_put(&out, words, 3);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(mr_buffer_size(&out), before);
		mr_buffer_fini(&out);
	} while (st != MR_OK);
	assert_true(n > 2);
}

static const char nested[] = "*4\r\n$5\r\nhe\0lo\r\n:-7\r\n$-1\r\n*2\r\n+OK\r\n-ERR no\r\n";

static void check_nested(const redisReply *r)
{
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	assert_int_equal(r->elements, 4);
	assert_int_equal(r->element[0]->len, 5);
	assert_memory_equal(r->element[0]->str, "he\0lo", 6);
	assert_int_equal(r->element[1]->integer, -7);
	assert_int_equal(r->element[2]->type, REDIS_REPLY_NIL);
	assert_int_equal(r->element[3]->element[0]->type, REDIS_REPLY_STATUS);
	assert_int_equal(r->element[3]->element[1]->type, REDIS_REPLY_ERROR);
	assert_string_equal(r->element[3]->element[1]->str, "ERR no");
}

static void takes_replies_in_any_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < sizeof nested; piece++) {
		struct mr_redis_wire w = {0};
		redisReply *r = NULL;
		mr_error error = {0};
		assert_int_equal(mr_redis_wire_open(&w), MR_OK);
		for (size_t at = 0; at < sizeof nested - 1; at += piece) {
			size_t rest = sizeof nested - 1 - at;
			assert_null(r);
			assert_int_equal(mr_redis_wire_feed(&w, nested + at,
						 rest < piece ? rest : piece, &error),
				MR_OK);
			assert_int_equal(mr_redis_wire_take(&w, &r, &error), MR_OK);
		}
		assert_non_null(r);
		check_nested(r);
		mr_redis_wire_free(r);
		mr_redis_wire_close(&w);
	}
}

static void lacks_memory_cleanly(void **state)
{
	long n = 1, live = mr_alloc_live();
	enum mr_status st;
	(void)state;
	do {
		struct mr_redis_wire w = {0};
		redisReply *r = NULL;
		mr_error error = {0};
		assert_int_equal(mr_redis_wire_open(&w), MR_OK);
		assert_int_equal(mr_redis_wire_feed(&w, nested, sizeof nested - 1, &error), MR_OK);
		mr_alloc_fail_nth(n++);
		st = mr_redis_wire_take(&w, &r, &error);
		mr_alloc_fail_nth(0);
		if (st != MR_OK) assert_int_equal(error.kind, MR_NO_MEMORY);
		if (st == MR_OK) mr_redis_wire_free(r);
		mr_redis_wire_close(&w);
		assert_int_equal(mr_alloc_live(), live);
	} while (st != MR_OK);
	assert_true(n > 9);
}

static void refuses_what_is_not_redis(void **state)
{
	static const char *const texts[] = {"HTTP/1.1 400\r\n", "$-2\r\n", "$x\r\n", "*-2\r\n",
		"$99999999999999999999\r\n", "*2000000\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"};
	long live = mr_alloc_live();
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct mr_redis_wire w = {0};
		redisReply *r = NULL;
		mr_error error = {0};
		assert_int_equal(mr_redis_wire_open(&w), MR_OK);
		assert_int_equal(mr_redis_wire_feed(&w, texts[i], strlen(texts[i]), &error), MR_OK);
		if (mr_redis_wire_take(&w, &r, &error) == MR_OK) fail_msg("%s was taken", texts[i]);
		assert_null(r);
		assert_true(error.kind == MR_FRAME_ERROR || error.kind == MR_NO_MEMORY);
		mr_redis_wire_close(&w);
		assert_int_equal(mr_alloc_live(), live);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_commands),
		cmocka_unit_test(puts_a_command_whole_or_not_at_all),
		cmocka_unit_test(takes_replies_in_any_pieces),
		cmocka_unit_test(lacks_memory_cleanly),
		cmocka_unit_test(refuses_what_is_not_redis),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
