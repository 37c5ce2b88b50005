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

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool mr_base64_read(char *out, size_t *size, mr_slice text)
{
	uint32_t bits = 0;
	size_t digits = 0, padding = 0, n = 0;
	for (size_t i = 0; i < text.size; i++) {
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
