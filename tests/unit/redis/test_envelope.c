/* test_envelope: envelopes are byte for byte kombu's own, and none of them is trusted.
 * SPDX-License-Identifier: MIT
 *
 * Covers: runtime/redis/base64.c by mr_base64_size
 * Covers: runtime/redis/pyjson.c by mr_pyjson_text
 * Covers: runtime/redis/envelope_write.c by mr_envelope_write
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "redis/base64.h"
#include "redis/envelope.h"
#include "redis/pyjson.h"

#include "kombu_envelopes.h"

#define SLICE(text) mr_slice_of(text, sizeof(text) - 1)
#define COUNT(list) (sizeof(list) / sizeof *(list))

static void is_text(const struct mr_buffer *b, const char *text)
{
	assert_int_equal(mr_buffer_size(b), strlen(text));
	assert_memory_equal(mr_buffer_data(b), text, strlen(text));
}

static enum mr_status write_again(struct mr_buffer *out, const struct mr_message *m,
	const struct mr_envelope *seen, mr_error *error)
{
	return mr_envelope_write(out, m, seen, error);
}

static void test_what_kombu_wrote_is_written_again(void **state)
{
	(void)state;
	(void)patterns;
	(void)matches;
	for (size_t i = 0; i < COUNT(written); i++) {
		struct mr_message *m = NULL;
		struct mr_envelope seen;
		struct mr_buffer b = {0};
		mr_error e = {0};
		assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(written[i]), &e), MR_OK);
		assert_false(seen.redelivered);
		assert_int_equal(write_again(&b, m, &seen, &e), MR_OK);
		is_text(&b, written[i]);
		mr_message_drop(m);
		mr_buffer_fini(&b);
	}
}

static void test_a_restored_message_is_redelivered_and_stays_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(written); i++) {
		struct mr_message *m = NULL;
		struct mr_envelope seen;
		struct mr_buffer b = {0};
		mr_error e = {0};
		assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(restored[i][1]), &e),
			MR_OK);
		assert_true(seen.redelivered);
		assert_int_equal(write_again(&b, m, &seen, &e), MR_OK);
		is_text(&b, restored[i][1]);
		struct mr_message *first = NULL;
		assert_int_equal(mr_envelope_read(&first, &seen, mr_slice_str(restored[i][0]), &e),
			MR_OK);
		assert_true(mr_slice_equal(mr_message_properties(m), mr_message_properties(first)));
		mr_message_drop(first);
		mr_message_drop(m);
		mr_buffer_fini(&b);
	}
}

static void test_the_message_has_what_the_envelope_says(void **state)
{
	struct mr_message *m = NULL;
	struct mr_envelope seen;
	struct mr_parts p;
	struct mr_walk_field f;
	(void)state;
	assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(written[5]), NULL), MR_OK);
	assert_true(mr_slice_equal(mr_message_exchange(m), SLICE("events")));
	assert_true(mr_slice_equal(mr_message_key(m), SLICE("orders.new")));
	assert_true(mr_slice_equal(mr_message_body(m), SLICE("{\"a\": 1}")));
	assert_string_equal(seen.delivery_tag, "6c1d7f4e-8f5b-4a39-9a0b-2f1f9a3b7c55");
	assert_int_equal(m->priority, 5);
	assert_true(mr_parts_split(mr_message_properties(m), &p));
	assert_true(mr_slice_equal(mr_part_text(&p, 0), SLICE("application/json")));
	assert_true(mr_slice_equal(mr_part_text(&p, MR_PART_REPLY_TO), SLICE("r-1")));
	assert_int_equal(p.part[MR_PART_DELIVERY_MODE].data[0], 2);
	mr_slice headers = mr_message_headers(m);
	assert_int_equal(mr_walk_check((const uint8_t *)headers.data, headers.size), headers.size);
	assert_true(mr_walk_find(headers, "lang", &f) && mr_walk_is_text(&f, "py"));
	assert_true(mr_walk_find(headers, "retries", &f) && f.type == 'l');
	assert_true(mr_walk_find(headers, "timelimit", &f) && f.type == 'A');
	mr_message_drop(m);
}

#define TAGGED(more) "{\"properties\": {\"delivery_tag\": \"t\"" more

static void test_a_text_body_is_taken_as_it_is(void **state)
{
	static const char *const ways[] = {TAGGED("}, \"body\": \"h\\u00e9\\u0000\"}"),
		TAGGED(", \"body_encoding\": null}, \"body\": \"h\\u00e9\\u0000\"}"),
		TAGGED(", \"body_encoding\": \"utf-8\"}, \"body\": \"h\\u00e9\\u0000\"}")};
	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++) {
		struct mr_message *m = NULL;
		struct mr_envelope seen;
		assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(ways[i]), NULL), MR_OK);
		assert_true(mr_slice_equal(mr_message_body(m), SLICE("h\xc3\xa9\0")));
		mr_message_drop(m);
	}
}

static void test_what_is_no_envelope_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *json, *why;
	} bad[] = {{"", "not JSON"}, {"{", "not JSON"}, {"[]", "not a JSON object"},
		{"{} x", "not JSON"}, {"{\"a\": 123456789012345678901}", "not JSON"},
		{"{\"a\": \"\\ud800\"}", "not JSON"}, {"{\"a\": \"\xff\"}", "not JSON"},
		{"{}", "properties are missing"}, {"{\"properties\": 1}", "properties are missing"},
		{"{\"properties\": {}}", "delivery_tag is missing"},
		{"{\"properties\": {\"delivery_tag\": 1}}", "delivery_tag is missing"},
		{"{\"properties\": {\"delivery_tag\": \"a\\u0000\"}}", "NUL"},
		{TAGGED(", \"body_encoding\": \"rot13\"}}"), "unknown body_encoding 'rot13'"},
		{TAGGED(", \"body_encoding\": 1}}"), "unknown body_encoding"},
		{TAGGED(", \"body_encoding\": \"base64\"}, \"body\": \"YQ=\"}"), "not base64"},
		{TAGGED(", \"body_encoding\": \"base64\"}, \"body\": \"Y\"}"), "not base64"},
		{TAGGED(", \"body_encoding\": \"base64\"}, \"body\": \"Y!Q=\"}"), "not base64"},
		{TAGGED(", \"body_encoding\": \"base64\"}, \"body\": \"YQ==YQ==\"}"), "not base64"},
		{TAGGED("}, \"body\": {}}"), "the body is not text"},
		{TAGGED("}, \"headers\": []}"), "headers is no object"},
		{TAGGED(", \"priority\": \"x\"}}"), "priority is not a number"},
		{TAGGED(", \"timestamp\": \"x\"}}"), "timestamp is not a number"},
		{TAGGED(", \"reply_to\": []}}"), "reply_to is not text"},
		{TAGGED(", \"delivery_info\": {\"exchange\": 1}}}"), "exchange is not text"}};
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct mr_message *m = NULL;
		struct mr_envelope seen;
		mr_error e = {0};
		assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(bad[i].json), &e),
			MR_BAD_ARGUMENT);
		assert_null(m);
		assert_non_null(strstr(e.text, bad[i].why));
		assert_true(mr_error_hint(&e)[0] != '\0');
	}
}

/* `levels` arrays within "headers"."x". */
static enum mr_status read_deep(int levels, mr_error *e)
{
	struct mr_buffer b = {0};
	struct mr_message *m = NULL;
	struct mr_envelope seen;
	mr_pyjson_text(&b, TAGGED("}, \"headers\": {\"x\": "));
	for (int i = 0; i < levels; i++) mr_pyjson_text(&b, "[");
	for (int i = 0; i < levels; i++) mr_pyjson_text(&b, "]");
	mr_pyjson_text(&b, "}}");
	enum mr_status st = mr_envelope_read(&m, &seen,
		mr_slice_of((char *)mr_buffer_data(&b), mr_buffer_size(&b)), e);
	if (st == MR_OK) {
		struct mr_buffer out = {0};
		assert_int_equal(write_again(&out, m, &seen, e), MR_OK);
		mr_buffer_fini(&out);
		mr_message_drop(m);
	}
	mr_buffer_fini(&b);
	return st;
}

static void test_depth_is_bounded(void **state)
{
	mr_error e = {0};
	(void)state;
	assert_int_equal(read_deep(31, &e), MR_OK);
	assert_int_equal(read_deep(32, &e), MR_BAD_ARGUMENT);
	assert_non_null(strstr(e.text, "too deep"));
	assert_int_equal(read_deep(100000, &e), MR_BAD_ARGUMENT);
}

/* Writes a message with one header; its JSON, or the error. */
static enum mr_status write_header(struct mr_buffer *out, const char *field, size_t size,
	mr_error *e)
{
	struct mr_buffer b = {0};
	size_t at;
	mr_buffer_append(&b, "\x20\0", 2);
	mr_walk_begin(&b, &at);
	mr_buffer_append(&b, field, size);
	mr_walk_end(&b, at);
	struct mr_message *m = mr_message_new((mr_slice){0}, SLICE("q"),
		mr_slice_of((char *)mr_buffer_data(&b), mr_buffer_size(&b)), 0);
	const struct mr_envelope as = {.delivery_tag = "t", .expires = INT64_MAX};
	enum mr_status st = mr_envelope_write(out, m, &as, e);
	mr_message_drop(m);
	mr_buffer_fini(&b);
	return st;
}

static void test_when_a_message_expires_is_written_down(void **state)
{
	const struct mr_envelope as = {.delivery_tag = "t", .expires = 1700000000123};
	struct mr_message *m = mr_message_new((mr_slice){0}, SLICE("q"),
				  SLICE("\1\0\2"
					"60"),
				  0),
			  *again = NULL;
	struct mr_envelope seen;
	struct mr_buffer b = {0};
	mr_error e = {0};
	(void)state;
	assert_int_equal(mr_envelope_write(&b, m, &as, &e), MR_OK);
	assert_int_equal(mr_envelope_read(&again, &seen,
				 mr_slice_of((char *)mr_buffer_data(&b), mr_buffer_size(&b)), &e),
		MR_OK);
	assert_int_equal(seen.expires, 1700000000123);
	mr_buffer_append(&b, "", 1);
	assert_non_null(strstr((char *)mr_buffer_data(&b),
		"\"expiration\": \"60\", \"x-mr-expires\": 1700000000123, "));
	mr_message_drop(m);
	mr_message_drop(again);
	mr_buffer_fini(&b);
}

#define FIELD(bytes) bytes, sizeof(bytes) - 1

static void test_headers_that_json_has_not_become_what_kombu_makes_of_them(void **state)
{
	static const struct {
		const char *field;
		size_t size;
		const char *json;
	} good[] = {{FIELD("\1kT\0\0\0\0\x65\x53\xf1\0"), "{\"k\": \"2023-11-14T22:13:20\"}"},
		{FIELD("\1kD\2\0\0\0\x7b"), "{\"k\": \"1.23\"}"},
		{FIELD("\1kD\2\0\0\0\x78"), "{\"k\": \"1.2\"}"},
		{FIELD("\1kD\2\0\0\0\0"), "{\"k\": \"0\"}"},
		{FIELD("\1kD\6\0\0\0\7"), "{\"k\": \"0.000007\"}"},
		{FIELD("\1kD\7\0\0\0\7"), "{\"k\": \"7E-7\"}"},
		{FIELD("\1kD\0\0\0\0\x0a"), "{\"k\": \"10\"}"},
		{FIELD("\1kf\x3d\xcc\xcc\xcd"), "{\"k\": 0.10000000149011612}"},
		{FIELD("\1kx\0\0\0\2a\xff"),
			"{\"k\": {\"bytes\": \"Yf8=\", \"__base64__\": true}}"},
		{FIELD("\1kb\xff"), "{\"k\": -1}"}, {FIELD("\1kB\xff"), "{\"k\": 255}"},
		{FIELD("\1ki\xff\xff\xff\xff"), "{\"k\": 4294967295}"}};
	static const struct {
		const char *field;
		size_t size;
		const char *why;
	} bad[] = {{FIELD("\1kS\0\0\0\1\xff"), "UTF-8"}, {FIELD("\1kd\x7f\xf8\0\0\0\0\0\0"), "NaN"},
		{FIELD("\1kL\xff\0\0\0\0\0\0\0"), "beyond 64 bits"},
		{FIELD("\1kT\xff\0\0\0\0\0\0\0"), "beyond the year 9999"},
		{FIELD("\1\xffV"), "UTF-8"}};
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		struct mr_buffer b = {0};
		assert_int_equal(write_header(&b, good[i].field, good[i].size, NULL), MR_OK);
		mr_buffer_append(&b, "", 1);
		assert_non_null(strstr((char *)mr_buffer_data(&b), good[i].json));
		mr_buffer_fini(&b);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct mr_buffer b = {0};
		mr_error e = {0};
		assert_int_equal(write_header(&b, bad[i].field, bad[i].size, &e), MR_BAD_ARGUMENT);
		assert_non_null(strstr(e.text, bad[i].why));
		assert_non_null(
			strstr(e.text, i == 4 ? "', a name is not" : "in the header 'k', a "));
		assert_non_null(strstr(mr_error_hint(&e), "type x"));
		assert_int_equal(mr_buffer_size(&b), 0);
		mr_buffer_fini(&b);
	}
}

/* kombu writes those that are text as text. */
static void test_bytes_in_headers_come_back_as_bytes(void **state)
{
	static const char *const forms[] = {"{\"bytes\": \"Yf8=\", \"__base64__\": true}",
		"{\"bytes\": \"ab\", \"__bytes__\": true}",
		"{\"bytes\": \"ab\", \"__bytes__\": false}",
		"{\"bytes\": \"!\", \"__base64__\": true}"};
	(void)state;
	for (size_t i = 0; i < COUNT(forms); i++) {
		struct mr_envelope seen;
		struct mr_message *m = NULL;
		struct mr_walk_field f;
		mr_error e = {0};
		char json[300];
		snprintf(json, sizeof json,
			"{\"body\": \"\", \"headers\": {\"k\": %s}, \"properties\": {\"delivery_tag\": \"t\", "
			"\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"q\"}}}",
			forms[i]);
		enum mr_status st = mr_envelope_read(&m, &seen, mr_slice_str(json), &e);
		assert_int_equal(st, i == 3 ? MR_BAD_ARGUMENT : MR_OK);
		if (st != MR_OK) continue;
		assert_true(mr_walk_find(mr_message_headers(m), "k", &f));
		assert_int_equal(f.type, i == 2 ? 'F' : 'x');
		if (i < 2)
			assert_true(
				mr_slice_equal(mr_walk_text(&f), i ? SLICE("ab") : SLICE("a\xff")));
		mr_message_drop(m);
	}
}

static enum mr_status all_of_it(struct mr_buffer *out)
{
	struct mr_message *m = NULL;
	struct mr_envelope seen;
	mr_error e = {0};
	enum mr_status st = mr_envelope_read(&m, &seen, mr_slice_str(written[5]), &e);
	if (st == MR_OK) st = write_again(out, m, &seen, &e);
	if (st != MR_OK) assert_int_equal(e.kind, MR_NO_MEMORY);
	mr_message_drop(m);
	return st;
}

static void test_no_memory_is_said_and_nothing_leaks(void **state)
{
	long before = mr_alloc_live(), n = 1;
	enum mr_status st;
	(void)state;
	do {
		struct mr_buffer b = {0};
		mr_alloc_fail_nth(n++);
		st = all_of_it(&b);
		mr_alloc_fail_nth(0);
		mr_buffer_fini(&b);
		assert_int_equal(mr_alloc_live(), before);
	} while (st == MR_NO_MEMORY);
	assert_int_equal(st, MR_OK);
	assert_true(n > 4);
}

/* A plain body at the beginning is not parsed; what is read is the same wherever it stands. */
static void test_the_body_may_be_first_and_plain_or_not(void **state)
{
	static const char *const bodies[][2] = {{"YWJj", "YWJj"}, {"", ""}, {"a\\\"b", "a\"b"},
		{"\xc3\xa9", "\xc3\xa9"}, {"a\\u0041", "aA"}};
	static const char rest[] = "\"properties\": {\"delivery_tag\": \"t\"}";
	char text[200];
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies * 2; i++) {
		const char *const *body = bodies[i / 2];
		struct mr_message *m = NULL;
		struct mr_envelope seen;
		mr_error e = {0};
		if (i % 2)
			snprintf(text, sizeof text, "{\"body\": \"%s\", %s}", body[0], rest);
		else
			snprintf(text, sizeof text, "{%s, \"body\": \"%s\"}", rest, body[0]);
		assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str(text), &e), MR_OK);
		assert_int_equal(m->body_size, strlen(body[1]));
		assert_memory_equal(mr_message_body(m).data, body[1], m->body_size);
		mr_message_drop(m);
	}
	mr_error e = {0};
	struct mr_message *m = NULL;
	struct mr_envelope seen;
	assert_int_equal(
		mr_envelope_read(&m, &seen, mr_slice_str("{\"body\": \"0123456789\", x"), &e),
		MR_BAD_ARGUMENT);
	assert_non_null(strstr(e.text, "at byte 24"));
	assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str("{\"body\": \"01\n\"}"), &e),
		MR_BAD_ARGUMENT);
	assert_int_equal(mr_envelope_read(&m, &seen, mr_slice_str("{\"body\": \"0123"), &e),
		MR_BAD_ARGUMENT);
}

static void test_base64_is_bounded_by_its_size(void **state)
{
	struct mr_buffer b = {0};
	char bytes[256], back[256 + 3];
	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
	for (size_t n = 0; n <= sizeof bytes; n++) {
		size_t size = 0;
		assert_int_equal(mr_base64_put(&b, mr_slice_of(bytes, n)), MR_OK);
		assert_int_equal(mr_buffer_size(&b), mr_base64_size(n));
		assert_true(mr_base64_read(back, &size,
			mr_slice_of((char *)mr_buffer_data(&b), mr_buffer_size(&b))));
		assert_int_equal(size, n);
		assert_memory_equal(back, bytes, n);
		b.end = b.start;
	}
	mr_buffer_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_is_bounded_by_its_size),
		cmocka_unit_test(test_the_body_may_be_first_and_plain_or_not),
		cmocka_unit_test(test_what_kombu_wrote_is_written_again),
		cmocka_unit_test(test_a_restored_message_is_redelivered_and_stays_so),
		cmocka_unit_test(test_the_message_has_what_the_envelope_says),
		cmocka_unit_test(test_a_text_body_is_taken_as_it_is),
		cmocka_unit_test(test_what_is_no_envelope_is_refused_with_a_reason),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_bytes_in_headers_come_back_as_bytes),
		cmocka_unit_test(test_headers_that_json_has_not_become_what_kombu_makes_of_them),
		cmocka_unit_test(test_when_a_message_expires_is_written_down),
		cmocka_unit_test(test_no_memory_is_said_and_nothing_leaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
