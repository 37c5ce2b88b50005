/* envelope_write: messages to kombu's envelopes, byte for byte what kombu writes.
 * SPDX-License-Identifier: MIT
 * Headers of types that JSON has not become what they become in kombu: py-amqp reads T as a time
 * without a zone and D as a decimal, and kombu writes isoformat and str. x would be bytes there,
 * which kombu refuses; NaN would be no JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/value.h"
#include "redis/base64.h"
#include "redis/envelope.h"
#include "redis/pyjson.h"

struct pen {
	struct mr_buffer *out;
	mr_error *error;
	enum mr_status status; /* once it is not MR_OK, nothing is written */
	mr_slice header;       /* the name of the one that is written, or that it is within */
};

static void refuse(struct pen *p, const char *what, const char *why)
{
	if (p->status != MR_OK) return;
	int size = p->header.size > 120 ? 120 : (int)p->header.size;
	p->status = mr_error_set(p->error, MR_BAD_ARGUMENT, MR_SCOPE_MESSAGE, 0,
		"kombu envelope: %s%.*s%s%s %s", size ? "in the header '" : "", size,
		size ? p->header.data : "", size ? "', " : "", what, why);
}

static void text(struct pen *p, const char *bytes)
{
	if (p->status == MR_OK) p->status = mr_pyjson_text(p->out, bytes);
}

static void string(struct pen *p, mr_slice bytes, const char *what)
{
	enum mr_status st = p->status == MR_OK ? mr_pyjson_string(p->out, bytes) : p->status;
	if (st == MR_BAD_ARGUMENT)
		refuse(p, what, "is not UTF-8");
	else
		p->status = st;
}

static void integer(struct pen *p, int64_t number)
{
	if (p->status == MR_OK) p->status = mr_pyjson_integer(p->out, number);
}

static void natural(struct pen *p, uint64_t number)
{
	if (number > INT64_MAX)
		refuse(p, "a number", "is beyond 64 bits");
	else
		integer(p, (int64_t)number);
}

static void real(struct pen *p, double number)
{
	enum mr_status st = p->status == MR_OK ? mr_pyjson_real(p->out, number) : p->status;
	if (st == MR_BAD_ARGUMENT)
		refuse(p, "a number", "is NaN or infinite");
	else
		p->status = st;
}

/* ---- headers ---- */

#define YEAR_10000 253402300800u /* Python's last year is 9999 */

static void moment(struct pen *p, uint64_t seconds)
{
	char iso[32];
	struct tm tm;
	time_t at = (time_t)seconds;
	if (seconds >= YEAR_10000 || !gmtime_r(&at, &tm)) {
		refuse(p, "a time", "is beyond the year 9999");
		return;
	}
	strftime(iso, sizeof iso, "\"%Y-%m-%dT%H:%M:%S\"", &tm);
	text(p, iso);
}

/* str(Decimal(n) / Decimal(10 ** scale)) */
static void decimal(struct pen *p, uint32_t n, int scale)
{
	char digits[16], out[64];
	while (scale > 0 && n % 10 == 0 && n) n /= 10, scale--;
	if (!n) scale = 0;
	int count = snprintf(digits, sizeof digits, "%" PRIu32, n);
	int power = count - 1 - scale;
	if (!scale)
		snprintf(out, sizeof out, "\"%s\"", digits);
	else if (power < -6)
		snprintf(out, sizeof out, "\"%c%s%sE%d\"", digits[0], count > 1 ? "." : "",
			digits + 1, power);
	else if (scale >= count)
		snprintf(out, sizeof out, "\"0.%.*s%s\"", scale - count, "000000", digits);
	else
		snprintf(out, sizeof out, "\"%.*s.%s\"", count - scale, digits,
			digits + count - scale);
	text(p, out);
}

static float float_of(const char *at)
{
	uint32_t bits = mr_get32(at);
	float number;
	memcpy(&number, &bits, sizeof number);
	return number;
}

static double double_of(const char *at)
{
	uint64_t bits = mr_get64(at);
	double number;
	memcpy(&number, &bits, sizeof number);
	return number;
}

static void fields(struct pen *p, mr_slice encoded, bool is_array, int depth, bool mark);

static void number(struct pen *p, uint8_t type, const char *at)
{
	switch (type) {
	case 'b': integer(p, (int8_t)at[0]); break;
	case 'B': integer(p, (uint8_t)at[0]); break;
	case 's': integer(p, (int16_t)mr_get16(at)); break;
	case 'u': integer(p, mr_get16(at)); break;
	case 'I': integer(p, (int32_t)mr_get32(at)); break;
	case 'i': integer(p, mr_get32(at)); break;
	case 'l': integer(p, (int64_t)mr_get64(at)); break;
	case 'L': natural(p, mr_get64(at)); break;
	case 'f': real(p, (double)float_of(at)); break;
	case 'd': real(p, double_of(at)); break;
	default: refuse(p, "a value", "has a type that JSON has not"); break;
	}
}

/* As kombu does from 5.3 on; for older ones it is a table of these two. */
static void binary(struct pen *p, mr_slice bytes)
{
	text(p, "{\"bytes\": \"");
	if (p->status == MR_OK) p->status = mr_base64_put(p->out, bytes);
	text(p, "\", \"__base64__\": true}");
}

static void value(struct pen *p, const struct mr_walk_field *f, int depth)
{
	const char *at = f->value.data;
	switch (f->type) {
	case 't': text(p, at[0] ? "true" : "false"); break;
	case 'V': text(p, "null"); break;
	case 'S': string(p, mr_walk_text(f), "a text"); break;
	case 'x': binary(p, mr_walk_text(f)); break;
	case 'T': moment(p, mr_get64(at)); break;
	case 'D': decimal(p, mr_get32(at + 1), (uint8_t)at[0]); break;
	case 'F': fields(p, f->value, false, depth + 1, false); break;
	case 'A': fields(p, f->value, true, depth + 1, false); break;
	default: number(p, f->type, at); break;
	}
}

static void name(struct pen *p, mr_slice key, int depth)
{
	if (depth == 1) p->header = key;
	string(p, key, "a name");
	text(p, ": ");
}

/* A table or an array; `mark`: with "redelivered": true, at the place that it has. */
static void fields(struct pen *p, mr_slice encoded, bool is_array, int depth, bool mark)
{
	struct mr_walk walk = is_array ? mr_walk_array(encoded) : mr_walk_table(encoded);
	struct mr_walk_field f;
	bool is_first = true;
	if (depth > MR_TABLE_DEPTH_MAX) refuse(p, "the headers", "are nested too deep");
	text(p, is_array ? "[" : "{");
	while (p->status == MR_OK && mr_walk_next(&walk, &f)) {
		if (!is_first) text(p, ", ");
		is_first = false;
		if (!is_array) name(p, f.key, depth);
		bool is_mark = mark && mr_slice_equal(f.key, mr_slice_str("redelivered"));
		if (is_mark)
			text(p, "true");
		else
			value(p, &f, depth);
		mark = mark && !is_mark;
	}
	if (mark) text(p, is_first ? "\"redelivered\": true" : ", \"redelivered\": true");
	text(p, is_array ? "]" : "}");
}

/* ---- the message ---- */

static void body(struct pen *p, mr_slice bytes)
{
	text(p, "{\"body\": \"");
	if (p->status == MR_OK) p->status = mr_base64_put(p->out, bytes);
	text(p, "\"");
}

static void content(struct pen *p, const struct mr_parts *parts, enum mr_part part,
	const char *name)
{
	text(p, ", \"");
	text(p, name);
	text(p, "\": ");
	if (parts->part[part].data)
		string(p, mr_part_text(parts, part), name);
	else
		text(p, "null");
}

static void property(struct pen *p, const struct mr_parts *parts, enum mr_part part,
	const char *name)
{
	mr_slice bytes = parts->part[part];
	if (!bytes.data) return;
	text(p, "\"");
	text(p, name);
	text(p, "\": ");
	switch ((int)part) {
	case MR_PART_DELIVERY_MODE: integer(p, (uint8_t)bytes.data[0]); break;
	case MR_PART_TIMESTAMP: natural(p, mr_get64(bytes.data)); break;
	default: string(p, mr_part_text(parts, part), name); break;
	}
	text(p, ", ");
}

/* The order of a Celery publisher: its own properties, then what kombu adds. */
static void properties(struct pen *p, const struct mr_parts *parts)
{
	property(p, parts, MR_PART_CORRELATION_ID, "correlation_id");
	property(p, parts, MR_PART_REPLY_TO, "reply_to");
	property(p, parts, MR_PART_MESSAGE_ID, "message_id");
	property(p, parts, MR_PART_TIMESTAMP, "timestamp");
	property(p, parts, MR_PART_TYPE, "type");
	property(p, parts, MR_PART_USER_ID, "user_id");
	property(p, parts, MR_PART_USER_ID + 1, "app_id");
	property(p, parts, MR_PART_USER_ID + 2, "cluster_id");
	property(p, parts, MR_PART_DELIVERY_MODE, "delivery_mode");
	property(p, parts, MR_PART_EXPIRATION, "expiration");
}

/* The property expiration is relative to when the message was published, which nothing else says. */
static void expiry(struct pen *p, int64_t expires)
{
	if (expires == INT64_MAX) return;
	text(p, "\"" MR_ENVELOPE_EXPIRES "\": ");
	integer(p, expires);
	text(p, ", ");
}

static void write(struct pen *p, const struct mr_message *m, const struct mr_parts *parts,
	const struct mr_envelope *as)
{
	mr_slice priority = parts->part[MR_PART_PRIORITY];
	body(p, mr_message_body(m));
	content(p, parts, 1, "content-encoding");
	content(p, parts, 0, "content-type");
	text(p, ", \"headers\": ");
	fields(p, parts->part[MR_PART_HEADERS], false, 1, as->redelivered);
	if (p->status == MR_OK) p->header = (mr_slice){0};
	text(p, ", \"properties\": {");
	properties(p, parts);
	expiry(p, as->expires);
	text(p, "\"delivery_info\": {\"exchange\": ");
	string(p, mr_message_exchange(m), "the exchange");
	text(p, ", \"routing_key\": ");
	string(p, mr_message_key(m), "the routing key");
	text(p, as->redelivered ? ", \"redelivered\": true}" : "}");
	text(p, ", \"priority\": ");
	integer(p, priority.data ? (uint8_t)priority.data[0] : 0);
	text(p, ", \"body_encoding\": \"base64\", \"delivery_tag\": ");
	string(p, mr_slice_str(as->delivery_tag), "the delivery tag");
	text(p, "}}");
}

enum mr_status mr_envelope_write(struct mr_buffer *out, const struct mr_message *m,
	const struct mr_envelope *as, mr_error *error)
{
	struct pen p = {.out = out, .error = error};
	struct mr_parts parts;
	size_t before = mr_buffer_size(out);
	if (m->body_size > MR_ENVELOPE_MAX || mr_base64_size(m->body_size) > MR_ENVELOPE_MAX)
		p.status = mr_error_set(error, MR_CONTENT_TOO_LARGE, MR_SCOPE_MESSAGE, 0,
			"kombu envelope: the body is over the limit of %u bytes as base64",
			MR_ENVELOPE_MAX);
	else if (!mr_parts_split(mr_message_properties(m), &parts))
		refuse(&p, "the properties", "are malformed");
	else
		write(&p, m, &parts, as);
	if (p.status == MR_OK && mr_buffer_size(out) - before > MR_ENVELOPE_MAX)
		p.status = mr_error_set(error, MR_CONTENT_TOO_LARGE, MR_SCOPE_MESSAGE, 0,
			"kombu envelope: it is over the limit of %u bytes", MR_ENVELOPE_MAX);
	if (p.status == MR_NO_MEMORY)
		mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_MESSAGE, 0,
			"out of memory for a kombu envelope");
	if (p.status != MR_OK) out->end = out->start + before;
	return p.status;
}
