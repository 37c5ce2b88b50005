/* base64: RFC 4648, as Python's base64 module reads and writes it.
 * SPDX-License-Identifier: MIT */
#include "redis/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum mr_status mr_base64_put(struct mr_buffer *out, mr_slice bytes)
{
	const uint8_t *s = (const uint8_t *)bytes.data;
	enum mr_status st = mr_buffer_reserve(out, mr_base64_size(bytes.size));
	if (st != MR_OK || !bytes.size) return st;
	uint8_t *at = mr_buffer_tail(out);
	for (size_t i = 0; i < bytes.size; i += 3) {
		size_t left = bytes.size - i;
		uint32_t three = (uint32_t)s[i] << 16 | (left > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
		                 (left > 2 ? s[i + 2] : 0);
		*at++ = (uint8_t)letters[three >> 18];
		*at++ = (uint8_t)letters[three >> 12 & 63];
		*at++ = left > 1 ? (uint8_t)letters[three >> 6 & 63] : '=';
		*at++ = left > 2 ? (uint8_t)letters[three & 63] : '=';
	}
	out->end += mr_base64_size(bytes.size);
	return MR_OK;
}

/* -1: no letter. */
static int value_of(char c)
{
	static const int8_t values[256] = {
#define NONE -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1
		NONE, NONE, /* clang-format off */
		-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 62, -1, -1, -1, 63,
		52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1, -1,
		-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
		15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1,
		-1, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
		41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, -1, -1, -1, -1, -1, /* clang-format on */
		NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE};
	return values[(unsigned char)c];
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* As many groups of four letters as stand there: nearly all of a text. Returns how many bytes they make. */
static size_t read_groups(char *out, const char *text, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i + 4 <= size; i += 4, n += 3) {
		int a = value_of(text[i]), b = value_of(text[i + 1]), c = value_of(text[i + 2]),
		    d = value_of(text[i + 3]);
		if ((a | b | c | d) < 0) break;
		out[n] = (char)(a << 2 | b >> 4);
		out[n + 1] = (char)(b << 4 | c >> 2);
		out[n + 2] = (char)(c << 6 | d);
	}
	return n;
}

bool mr_base64_read(char *out, size_t *size, mr_slice text)
{
	uint32_t bits = 0;
	size_t n = read_groups(out, text.data, text.size), digits = n / 3 * 4, padding = 0;
	for (size_t i = digits; i < text.size; i++) {
		int value = value_of(text.data[i]);
		if (is_space(text.data[i])) continue;
		if (text.data[i] == '=') {
			padding++;
			continue;
		}
		if (value < 0 || padding) return false;
		bits = bits << 6 | (uint32_t)value;
		if (digits++ % 4) out[n++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
	}
	if (digits % 4 == 1 || padding != (4 - digits % 4) % 4) return false;
	*size = n;
	return true;
}
