/* pyjson: JSON text as Python's json.dumps writes it, which is what kombu stores.
 * SPDX-License-Identifier: MIT */
#include "redis/pyjson.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"

enum mr_status mr_pyjson_text(struct mr_buffer *out, const char *text)
{
	return mr_buffer_append(out, text, strlen(text));
}

/* Reads the UTF-8 sequence at the front (RFC 3629); returns its length, 0 if there is none. */
static size_t read_point(const uint8_t *s, size_t left, uint32_t *point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t size = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	*point = size == 1 ? s[0] : s[0] & (0x7fu >> size);
	if (size == 1) return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || size > left) return 0;
	for (size_t i = 1; i < size; i++) {
		if ((s[i] & 0xc0) != 0x80) return 0;
		*point = *point << 6 | (s[i] & 0x3f);
	}
	bool is_surrogate = *point >= 0xd800 && *point <= 0xdfff;
	return *point < least[size] || *point > 0x10ffff || is_surrogate ? 0 : size;
}

static enum mr_status put_escape(struct mr_buffer *out, uint32_t point)
{
	char text[16];
	switch (point) {
	case '"': return mr_pyjson_text(out, "\\\"");
	case '\\': return mr_pyjson_text(out, "\\\\");
	case '\n': return mr_pyjson_text(out, "\\n");
	case '\r': return mr_pyjson_text(out, "\\r");
	case '\t': return mr_pyjson_text(out, "\\t");
	case '\b': return mr_pyjson_text(out, "\\b");
	case '\f': return mr_pyjson_text(out, "\\f");
	default: break;
	}
	if (point < 0x10000)
		snprintf(text, sizeof text, "\\u%04" PRIx32, point);
	else
		snprintf(text, sizeof text, "\\u%04" PRIx32 "\\u%04" PRIx32,
			0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
	return mr_pyjson_text(out, text);
}

static bool is_plain(uint8_t c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

enum mr_status mr_pyjson_string(struct mr_buffer *out, mr_slice text)
{
	const uint8_t *s = (const uint8_t *)text.data;
	enum mr_status st = mr_pyjson_text(out, "\"");
	for (size_t i = 0; i < text.size && st == MR_OK;) {
		size_t size = 0;
		uint32_t point;
		while (i + size < text.size && is_plain(s[i + size])) size++;
		if (size) {
			st = mr_buffer_append(out, s + i, size);
		} else {
			size = read_point(s + i, text.size - i, &point);
			st = size ? put_escape(out, point) : MR_BAD_ARGUMENT;
		}
		i += size;
	}
	return st == MR_OK ? mr_pyjson_text(out, "\"") : st;
}

enum mr_status mr_pyjson_integer(struct mr_buffer *out, int64_t number)
{
	char text[32];
	snprintf(text, sizeof text, "%" PRId64, number);
	return mr_pyjson_text(out, text);
}

/* Fills in the shortest digits that read back as the number; returns the power of ten of the first
 * one. */
static int shortest(double number, char digits[20])
{
	char text[40];
	for (int precision = 0; precision < 17; precision++) {
		mr_number_format(text, sizeof text, "%.*e", precision, number);
		if (mr_number_read(text, NULL) == number) break;
	}
	char *e = strchr(text, 'e');
	size_t n = 0;
	for (const char *at = text; at < e; at++)
		if (*at >= '0' && *at <= '9') digits[n++] = *at;
	while (n > 1 && digits[n - 1] == '0') n--;
	digits[n] = '\0';
	return (int)strtol(e + 1, NULL, 10);
}

/* repr: a point and a digit behind it, or an exponent below 1e-4 and from 1e16 on. */
enum mr_status mr_pyjson_real(struct mr_buffer *out, double number)
{
	char digits[20], text[64];
	if (!isfinite(number)) return MR_BAD_ARGUMENT;
	int power = shortest(fabs(number), digits), count = (int)strlen(digits);
	const char *sign = signbit(number) ? "-" : "";
	if (power < -4 || power >= 16)
		snprintf(text, sizeof text, "%s%c%s%se%c%02d", sign, digits[0],
			count > 1 ? "." : "", digits + 1, power < 0 ? '-' : '+', abs(power));
	else if (power < 0)
		snprintf(text, sizeof text, "%s0.%.*s%s", sign, -power - 1, "0000", digits);
	else if (count <= power + 1)
		snprintf(text, sizeof text, "%s%s%.*s.0", sign, digits, power + 1 - count,
			"0000000000000000");
	else
		snprintf(text, sizeof text, "%s%.*s.%s", sign, power + 1, digits,
			digits + power + 1);
	return mr_pyjson_text(out, text);
}
