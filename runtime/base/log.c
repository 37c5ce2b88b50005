/* log: formats log lines as logfmt or JSON.
 * SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/number.h"

#define LINE_MAX_BYTES 8192 /* a longer line is cut: PIPE_BUF is less, but readers expect lines */

struct line {
	char *out;
	size_t used, capacity;
	int format;
};

static void put(struct line *l, const char *data, size_t size)
{
	if (size > l->capacity - l->used) size = l->capacity - l->used;
	memcpy(l->out + l->used, data, size);
	l->used += size;
}

static void put_str(struct line *l, const char *text) { put(l, text, strlen(text)); }

/* Returns the length of the longest part of a run that fits `most` bytes and does not end within a
 * character. */
static size_t whole(const char *run, size_t size, size_t most)
{
	if (size <= most) return size;
	size_t part = most;
	while (part > most - 3 && ((unsigned char)run[part] & 0xc0) == 0x80) part--;
	return part;
}

/* Writes a run of bytes after mr_error_escape. Each of its backslashes begins an \xNN, which is \u00NN in
 * JSON. */
static void put_escaped(struct line *l, const char *run, size_t size)
{
	char escaped[512];
	while (size) {
		size_t part = whole(run, size, sizeof escaped / 4 - 1);
		size_t n = mr_error_escape(escaped, sizeof escaped, run, part);
		for (size_t i = 0; i < n; i++) {
			bool is_hex = escaped[i] == '\\' && l->format == MR_LOG_JSON;
			if (is_hex) i++;
			if (is_hex)
				put_str(l, "\\u00");
			else
				put(l, escaped + i, 1);
		}
		run += part;
		size -= part;
	}
}

/* Writes text in quotes, for both formats: it stays on one line, and has no control characters for
 * a terminal. */
static void put_quoted(struct line *l, mr_slice text)
{
	static const char special[] = "\"\\\n\t", spelled[] = "\"\\nt";
	size_t from = 0;
	put_str(l, "\"");
	for (size_t i = 0; i < text.size; i++) {
		const char *at = text.data[i] ? strchr(special, text.data[i]) : NULL;
		if (!at) continue;
		put_escaped(l, text.data + from, i - from);
		put_str(l, "\\");
		put(l, &spelled[at - special], 1);
		from = i + 1;
	}
	if (from < text.size) put_escaped(l, text.data + from, text.size - from);
	put_str(l, "\"");
}

static bool is_bare(mr_slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
	}
	return text.size > 0;
}

static void put_key(struct line *l, const char *key)
{
	bool json = l->format == MR_LOG_JSON;
	if (l->used) put_str(l, json ? "," : " ");
	if (!json) {
		put_str(l, key);
		put_str(l, "=");
		return;
	}
	if (!l->used) put_str(l, "{");
	put_quoted(l, mr_slice_str(key));
	put_str(l, ":");
}

static void put_pair(struct line *l, const char *key, mr_slice value)
{
	put_key(l, key);
	if (l->format != MR_LOG_JSON && is_bare(value))
		put(l, value.data, value.size);
	else
		put_quoted(l, value);
}

/* A number, true, false or null: without quotes in JSON, too. */
static void put_plain(struct line *l, const char *key, const char *text)
{
	put_key(l, key);
	put_str(l, text);
}

static void begin(struct line *l, const char *time, int level, mr_slice msg, int worker)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	char number[16];
	if (time) put_pair(l, "time", mr_slice_str(time));
	put_pair(l, "level", mr_slice_str(levels[level & 3]));
	put_pair(l, "msg", msg);
	if (!worker) return;
	snprintf(number, sizeof number, "%d", worker);
	put_plain(l, "worker", number);
}

static void put_field(struct line *l, const mr_field *f)
{
	char number[64], key[160];
	const mr_value *v = &f->value;
	mr_error_escape(key, sizeof key, f->key.data, f->key.size);
	switch (v->type) {
	case 'S':
	case 'x': put_pair(l, key, v->as.bytes); return;
	case 't': snprintf(number, sizeof number, "%s", v->as.boolean ? "true" : "false"); break;
	case 'f':
	case 'd':
		mr_number_text(number, v->as.real);
		if (!isfinite(v->as.real)) { /* not allowed in JSON */
			put_pair(l, key, mr_slice_str(number));
			return;
		}
		break;
	case 'V': snprintf(number, sizeof number, "null"); break;
	case 'A':
	case 'F': put_pair(l, key, mr_slice_str("(table)")); return;
	case 'B':
	case 'u':
	case 'i':
	case 'L':
	case 'T':
	case 'D': snprintf(number, sizeof number, "%llu", (unsigned long long)v->as.natural); break;
	default: snprintf(number, sizeof number, "%lld", (long long)v->as.integer); break;
	}
	put_plain(l, key, number);
}

static size_t finish(struct line *l)
{
	if (l->format == MR_LOG_JSON) {
		if (l->used > l->capacity - 1) l->used = l->capacity - 1;
		put_str(l, "}");
	}
	return l->used;
}

static size_t put_all(struct line *l, const mr_table *fields)
{
	for (uint32_t i = 0; fields && i < fields->count; i++) put_field(l, &fields->fields[i]);
	return finish(l);
}

size_t mr_log_format(char *out, size_t capacity, int format, const char *time, int level,
	mr_slice msg, const mr_table *fields)
{
	struct line l = {out, 0, capacity, format};
	begin(&l, time, level, msg, 0);
	return put_all(&l, fields);
}

static void stamp(char *out, size_t size)
{
	struct timespec now;
	struct tm tm;
	char seconds[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

void mr_log(const struct mr_log *log, int level, const char *msg, ...)
{
	char text[LINE_MAX_BYTES], time[48];
	struct line l = {text, 0, sizeof text, log->format};
	const char *key;
	va_list args;
	if (!log->sink || level > log->level) return;
	stamp(time, sizeof time);
	begin(&l, time, level, mr_slice_str(msg), log->worker);
	va_start(args, msg);
	while ((key = va_arg(args, const char *))) {
		const char *value = va_arg(args, const char *);
		if (!value) continue;
		if (*key == '#')
			put_plain(&l, key + 1, value);
		else
			put_pair(&l, key, mr_slice_str(value));
	}
	va_end(args);
	size_t size = finish(&l);
	log->sink(log->owner, level, text, size);
}

void mr_log_table(const struct mr_log *log, int level, mr_slice msg, const mr_table *fields)
{
	char text[LINE_MAX_BYTES], time[48];
	struct line l = {text, 0, sizeof text, log->format};
	if (!log->sink || level > log->level) return;
	stamp(time, sizeof time);
	begin(&l, time, level, msg, log->worker);
	size_t size = put_all(&l, fields);
	log->sink(log->owner, level, text, size);
}
