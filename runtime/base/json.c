/* json: a table as JSON text.
 * SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/number.h"

static enum mr_status put(struct mr_buffer *out, const char *text)
{
	return mr_buffer_append(out, text, strlen(text));
}

/* True if it is not overlong, not a surrogate, and not beyond Unicode. */
static bool is_proper(uint8_t first, uint8_t second)
{
	switch (first) {
	case 0xe0: return second >= 0xa0;
	case 0xed: return second <= 0x9f;
	case 0xf0: return second >= 0x90;
	case 0xf4: return second <= 0x8f;
	default: return true;
	}
}

/* Returns the length of the UTF-8 sequence at the front, 0 if there is none (RFC 3629). */
static size_t sequence(const uint8_t *s, size_t left)
{
	size_t size = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (size == 1) return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || size > left || !is_proper(s[0], s[1])) return 0;
	for (size_t i = 1; i < size; i++)
		if ((s[i] & 0xc0) != 0x80) return 0;
	return size;
}

static enum mr_status put_special(struct mr_buffer *out, uint8_t c)
{
	char text[8];
	switch (c) {
	case '"': return put(out, "\\\"");
	case '\\': return put(out, "\\\\");
	case '\n': return put(out, "\\n");
	case '\r': return put(out, "\\r");
	case '\t': return put(out, "\\t");
	default: snprintf(text, sizeof text, "\\u%04x", c); return put(out, text);
	}
}

enum mr_status mr_json_string(struct mr_buffer *out, mr_slice text)
{
	const uint8_t *s = (const uint8_t *)text.data;
	enum mr_status st = put(out, "\"");
	for (size_t i = 0; i < text.size && st == MR_OK;) {
		size_t size = sequence(s + i, text.size - i);
		if (!size)
			st = put(out, "\xef\xbf\xbd");
		else if (s[i] < 0x20 || s[i] == '"' || s[i] == '\\' || s[i] == 0x7f)
			st = put_special(out, s[i]);
		else
			st = mr_buffer_append(out, s + i, size);
		i += size ? size : 1;
	}
	return st == MR_OK ? put(out, "\"") : st;
}

static enum mr_status put_real(struct mr_buffer *out, double real)
{
	char text[MR_NUMBER_SIZE];
	if (!isfinite(real)) return put(out, "null");
	mr_number_text(text, real);
	return put(out, text);
}

static enum mr_status put_table(struct mr_buffer *out, const mr_table *t, bool is_array);

static enum mr_status put_value(struct mr_buffer *out, const mr_value *v)
{
	char text[32];
	switch (v->type) {
	case 'S':
	case 'x': return mr_json_string(out, v->as.bytes);
	case 'F': return put_table(out, v->as.nested, false);
	case 'A': return put_table(out, v->as.nested, true);
	case 't': return put(out, v->as.boolean ? "true" : "false");
	case 'f':
	case 'd': return put_real(out, v->as.real);
	case 'V': return put(out, "null");
	case 'b':
	case 's':
	case 'I':
	case 'l': snprintf(text, sizeof text, "%" PRIi64, v->as.integer); break;
	default: snprintf(text, sizeof text, "%" PRIu64, v->as.natural); break;
	}
	return put(out, text);
}

static enum mr_status put_table(struct mr_buffer *out, const mr_table *t, bool is_array)
{
	enum mr_status st = put(out, is_array ? "[" : "{");
	for (uint32_t i = 0; i < t->count && st == MR_OK; i++) {
		if (i) st = put(out, ",");
		if (!is_array && st == MR_OK) st = mr_json_string(out, t->fields[i].key);
		if (!is_array && st == MR_OK) st = put(out, ":");
		if (st == MR_OK) st = put_value(out, &t->fields[i].value);
	}
	return st == MR_OK ? put(out, is_array ? "]" : "}") : st;
}

enum mr_status mr_json_table(struct mr_buffer *out, const mr_table *table)
{
	return put_table(out, table, false);
}
