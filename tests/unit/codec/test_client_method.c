/* test_client_method: what a client says, as the embedded broker reads it, and what it refuses.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/client_method.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* By the letter of the specification, with RabbitMQ's extensions, written down apart from the code:
 * w 16 bit, d 32, q 64, o the octet of flags, s short string, l long string, T table. */
static const struct {
	uint32_t id;
	const char *fields;
} methods[] = {
	{MR_METHOD(10, 11), "Tsls"}, /* start-ok: properties, mechanism, response, locale */
	{MR_METHOD(10, 21), "l"},    /* secure-ok */
	{MR_METHOD(10, 31), "wdw"},  /* tune-ok: channel max, frame max, heartbeat */
	{MR_METHOD(10, 40), "sso"},  /* open: vhost, reserved, reserved */
	{MR_METHOD(10, 50), "wsww"}, /* close: code, text, class, method */
	{MR_METHOD(10, 51), ""},
	{MR_METHOD(10, 70), "ls"}, /* update-secret: secret, reason */
	{MR_METHOD(20, 10), "s"},
	{MR_METHOD(20, 20), "o"},
	{MR_METHOD(20, 40), "wsww"},
	{MR_METHOD(20, 41), ""},
	{MR_METHOD(30, 10), "so"},
	{MR_METHOD(40, 10), "wssoT"},  /* exchange.declare: ticket, name, type, flags, arguments */
	{MR_METHOD(40, 20), "wso"},    /* delete */
	{MR_METHOD(40, 30), "wsssoT"}, /* bind: ticket, destination, source, key */
	{MR_METHOD(40, 40), "wsssoT"},
	{MR_METHOD(50, 10), "wsoT"},   /* queue.declare */
	{MR_METHOD(50, 20), "wsssoT"}, /* bind: ticket, queue, exchange, key, no-wait */
	{MR_METHOD(50, 30), "wso"},
	{MR_METHOD(50, 40), "wso"},
	{MR_METHOD(50, 50), "wsssT"}, /* unbind has no no-wait */
	{MR_METHOD(60, 10), "dwo"},   /* qos: prefetch size, count, global */
	{MR_METHOD(60, 20), "wssoT"}, /* consume: ticket, queue, tag, flags */
	{MR_METHOD(60, 30), "so"},    /* cancel */
	{MR_METHOD(60, 40), "wsso"},  /* publish: ticket, exchange, key, flags */
	{MR_METHOD(60, 70), "wso"},   /* get */
	{MR_METHOD(60, 80), "qo"},
	{MR_METHOD(60, 90), "qo"},
	{MR_METHOD(60, 100), "o"},
	{MR_METHOD(60, 110), "o"},
	{MR_METHOD(60, 120), "qo"},
	{MR_METHOD(85, 10), "o"},
	{MR_METHOD(90, 10), ""},
	{MR_METHOD(90, 20), ""},
	{MR_METHOD(90, 30), ""},
};

static const char table_bytes[] = "\0\0\0\x0b"
				  "\1kS\0\0\0\4text";
#define TABLE_SIZE (sizeof table_bytes - 1)
static const char *const texts[] = {"one", "", "three \xc3\xbc"};

static void put(struct mr_buffer *b, const void *data, size_t size)
{
	assert_int_equal(mr_buffer_append(b, data, size), MR_OK);
}

static void put_number(struct mr_buffer *b, uint64_t value, int width)
{
	for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
		uint8_t octet = (uint8_t)(value >> shift);
		put(b, &octet, 1);
	}
}

/* A payload with a value of its own in every field. */
static void put_method(struct mr_buffer *b, uint32_t id, const char *fields)
{
	uint16_t numbers = 0;
	int names = 0;
	put_number(b, id, 4);
	for (; *fields; fields++) {
		const char *text = texts[names % 3];
		switch (*fields) {
		case 'w': put_number(b, 1000u + numbers++, 2); break;
		case 'd': put_number(b, 0xdeadbeef, 4); break;
		case 'q': put_number(b, 0x0123456789abcdef, 8); break;
		case 'o': put_number(b, 0xa5, 1); break;
		case 'l': put(b, "\0\0\0\4a\0\xff-", 8); break;
		case 'T': put(b, table_bytes, TABLE_SIZE); break;
		default:
			names++;
			put_number(b, strlen(text), 1);
			put(b, text, strlen(text));
		}
	}
}

static enum mr_status decode(const void *payload, size_t size, struct mr_client_method *m,
	mr_error *error)
{
	struct mr_frame frame = {.type = MR_FRAME_METHOD, .channel = 1, .size = (uint32_t)size};
	uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a byte too far */
	memcpy(exact, payload, size);
	frame.payload = exact;
	memset(m, 0x55, sizeof *m);
	memset(error, 0, sizeof *error);
	enum mr_status st = mr_client_method_decode(&frame, m, error);
	if (st == MR_OK) { /* strings borrow: let them borrow from what outlives us */
		const char *from = (const char *)exact, *to = payload;
		for (int i = 0; i < m->name_count; i++)
			m->names[i].data = to + (m->names[i].data - from);
		if (m->text.data) m->text.data = to + (m->text.data - from);
		if (m->table.data) m->table.data = to + (m->table.data - from);
	}
	free(exact);
	return st;
}

static void fields_are(const struct mr_client_method *m, const char *fields)
{
	int names = 0, numbers = 0;
	for (; *fields; fields++) {
		switch (*fields) {
		case 's':
			assert_true(mr_slice_equal(m->names[names], mr_slice_str(texts[names])));
			names++;
			break;
		case 'w':
			assert_int_equal(m->numbers[numbers], 1000 + numbers);
			numbers++;
			break;
		case 'd': assert_int_equal(m->wide, 0xdeadbeef); break;
		case 'q': assert_true(m->tag == 0x0123456789abcdef); break;
		case 'o': assert_int_equal(m->bits, 0xa5); break;
		case 'l': assert_true(mr_slice_equal(m->text, mr_slice_of("a\0\xff-", 4))); break;
		default:
			assert_int_equal(m->table.size, TABLE_SIZE);
			assert_memory_equal(m->table.data, table_bytes, TABLE_SIZE);
		}
	}
	assert_int_equal(m->name_count, names);
	assert_int_equal(m->number_count, numbers);
}

static void test_every_method_is_read_field_by_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(methods); i++) {
		struct mr_buffer b = {0};
		struct mr_client_method m;
		mr_error error;
		put_method(&b, methods[i].id, methods[i].fields);
		assert_int_equal(decode(b.base, mr_buffer_size(&b), &m, &error), MR_OK);
		assert_int_equal(m.id, methods[i].id);
		fields_are(&m, methods[i].fields);
		mr_buffer_fini(&b);
	}
}

static void test_cut_anywhere_it_is_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(methods); i++) {
		struct mr_buffer b = {0};
		put_method(&b, methods[i].id, methods[i].fields);
		for (size_t size = 4; size < mr_buffer_size(&b); size++) {
			struct mr_client_method m;
			mr_error error;
			assert_int_equal(decode(b.base, size, &m, &error), MR_FRAME_ERROR);
			assert_int_equal(error.code, 501);
			assert_int_equal(m.id, 0x55555555); /* nothing was written */
		}
		mr_buffer_fini(&b);
	}
}

static void test_one_byte_too_long_it_is_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(methods); i++) {
		struct mr_buffer b = {0};
		struct mr_client_method m;
		mr_error error;
		put_method(&b, methods[i].id, methods[i].fields);
		put(&b, "", 1);
		assert_int_equal(decode(b.base, mr_buffer_size(&b), &m, &error), MR_FRAME_ERROR);
		mr_buffer_fini(&b);
	}
}

/* FAULTS S1. */
static void test_lengths_that_lie_do_not_lead_out_of_the_frame(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		{"\0\12\0\25\xff\xff\xff\xff", 8},           /* a long string of 4 GiB */
		{"\0\12\0\25\x80\0\0\0abcd", 12},            /* and of 2 */
		{"\0\24\0\12\xff", 5},                       /* a short string of 255 */
		{"\0\62\0\12\0\0\1q\0\xff\xff\xff\xff", 13}, /* a table of 4 GiB */
		{"\0\62\0\12\0\0\1q\0\0\0\0\5\1k", 15},      /* longer than the rest */
		{"\0\62\0\12\0\0\1q\0\0\0\0\2\5k", 15},      /* its key leads out of it */
		{"\0\62\0\12\0\0\1q\0\0\0\0\3\1k?", 16},     /* a type that is not there */
		{"\0\62\0\12\0\0\1q\0\0\0\0\5\1kt\1x", 18},  /* a piece of a field behind it */
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mr_client_method m;
		mr_error error;
		assert_int_equal(decode(cases[i].bytes, cases[i].size, &m, &error), MR_FRAME_ERROR);
		assert_int_equal(error.scope, MR_SCOPE_CONNECTION);
	}
}

static enum mr_status open_named(const char *name, size_t size, mr_error *error)
{
	struct mr_buffer b = {0};
	struct mr_client_method m;
	put_number(&b, MR_M_BASIC_CANCEL, 4);
	put_number(&b, size, 1);
	put(&b, name, size);
	put_number(&b, 0, 1);
	enum mr_status st = decode(b.base, mr_buffer_size(&b), &m, error);
	mr_buffer_fini(&b);
	return st;
}

static void test_names_are_utf_8_by_the_letter(void **state)
{
	static const char *const good[] = {"", "plain", "\x7f", "\xc2\x80", "\xdf\xbf",
		"\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf", "a\xe2\x82\xac\x62"};
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"a\x80", /* a follower first */
		"\xc3",
		"\xe2\x82",
		"\xf0\x9f\x90", /* cut short */
		"\xc3(",
		"\xe2(\xa1",
		"\xe2\x82(",
		"\xf0\x9f(\xb0",
		"\xf0\x9f\x90(",
		"\xc0\x80",
		"\xc1\xbf", /* overlong */
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf", /* surrogates */
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xf7\xbf\xbf\xbf", /* above U+10FFFF */
		"\xf8\x88\x80\x80\x80",
		"\xfe",
		"\xff",
	};
	mr_error error;
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(open_named(good[i], strlen(good[i]), &error), MR_OK);
	assert_int_equal(open_named("nul\0inside", 10, &error), MR_OK);
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(open_named(bad[i], strlen(bad[i]), &error), MR_BAD_ARGUMENT);
		assert_int_equal(error.code, 501);
	}
}

static void test_methods_that_are_not_there_or_not_a_clients_have_their_codes(void **state)
{
	static const uint32_t unknown[] = {0, MR_METHOD(10, 99), MR_METHOD(50, 12),
		MR_METHOD(61, 10), UINT32_MAX};
	static const uint32_t servers[] = {MR_M_CONNECTION_START, MR_M_CONNECTION_TUNE,
		MR_M_QUEUE_DECLARE_OK, MR_M_BASIC_DELIVER, MR_M_BASIC_GET_EMPTY,
		MR_M_CONFIRM_SELECT_OK};
	struct mr_client_method m;
	mr_error error;
	(void)state;
	for (size_t i = 0; i < COUNT(unknown); i++) {
		struct mr_buffer b = {0};
		put_number(&b, unknown[i], 4);
		assert_int_equal(decode(b.base, 4, &m, &error), MR_NOT_IMPLEMENTED);
		assert_int_equal(error.code, 540);
		mr_buffer_fini(&b);
	}
	for (size_t i = 0; i < COUNT(servers); i++) {
		struct mr_buffer b = {0};
		put_number(&b, servers[i], 4);
		assert_int_equal(decode(b.base, 4, &m, &error), MR_COMMAND_INVALID);
		assert_int_equal(error.code, 503);
		mr_buffer_fini(&b);
	}
}

/* What is told of a malformed frame ends up in a short string of a close. */
static void test_a_long_malformed_frame_is_shown_in_part(void **state)
{
	char bytes[5000] = "\0\62\0\12";
	struct mr_client_method m;
	mr_error error;
	(void)state;
	memset(bytes + 4, 200, sizeof bytes - 4);
	assert_int_equal(decode(bytes, sizeof bytes, &m, &error), MR_FRAME_ERROR);
	assert_non_null(strstr(error.text, "cannot decode <<200,200,"));
	assert_true(strlen(error.text) < sizeof error.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_method_is_read_field_by_field),
		cmocka_unit_test(test_cut_anywhere_it_is_malformed),
		cmocka_unit_test(test_one_byte_too_long_it_is_malformed),
		cmocka_unit_test(test_lengths_that_lie_do_not_lead_out_of_the_frame),
		cmocka_unit_test(test_names_are_utf_8_by_the_letter),
		cmocka_unit_test(test_methods_that_are_not_there_or_not_a_clients_have_their_codes),
		cmocka_unit_test(test_a_long_malformed_frame_is_shown_in_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
