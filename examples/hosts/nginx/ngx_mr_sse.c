/* ngx_mr_sse: the text of a server-sent event.
 * SPDX-License-Identifier: MIT
 *
 *   id: MESSAGE-ID           its message_id, or its offset in a stream; empty: none
 *   event: TYPE              its type, if it has one
 *   data: LINE               for each line of the body
 *
 * A body that would not survive that, because it is not UTF-8 or has a carriage return, comes as base64, and
 * its event is called TYPE+base64 ("message+base64" without a type). */
#include "ngx_mr.h"

/* Counts, and writes if there is something to write to. */
typedef struct {
	u_char *at; /* NULL: only counts */
	size_t size;
} text_t;

static void put(text_t *t, const void *data, size_t size)
{
	if (t->at && size) t->at = ngx_cpymem(t->at, data, size);
	t->size += size;
}

static void put_word(text_t *t, const char *word) { put(t, word, ngx_strlen(word)); }

/* Is it what a browser shows unchanged: UTF-8 without the bytes that `stops` forbids? */
static ngx_uint_t is_text(const void *data, size_t size, const char *stops, size_t stop_count)
{
	u_char *at = (u_char *)data, *end = at + size;
	while (at < end) {
		if (*at < 0x80) {
			if (ngx_strlchr((u_char *)stops, (u_char *)stops + stop_count, *at))
				return 0;
			at++;
			continue;
		}
		uint32_t c = ngx_utf8_decode(&at, (size_t)(end - at));
		if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
	}
	return 1;
}

/* A name is one line. */
static ngx_uint_t is_name(const mr_bytes *name)
{
	return name->size && is_text(name->data, name->size, "\r\n\0", 3);
}

static void put_id(text_t *t, const mr_delivery *d, const mr_properties *props)
{
	char offset[24];
	put_word(t, "id");
	if ((props->flags & MR_HAS_MESSAGE_ID) && is_name(&props->message_id)) {
		put_word(t, ": ");
		put(t, props->message_id.data, props->message_id.size);
	} else if (d->flags & MR_DELIVERY_STREAM) {
		snprintf(offset, sizeof offset, ": %llu", (unsigned long long)d->offset);
		put_word(t, offset);
	}
	put_word(t, "\n");
}

static void put_event(text_t *t, const mr_properties *props, ngx_uint_t is_base64)
{
	ngx_uint_t has_type = (props->flags & MR_HAS_TYPE) && is_name(&props->type);
	if (!has_type && !is_base64) return;
	put_word(t, "event: ");
	if (has_type)
		put(t, props->type.data, props->type.size);
	else
		put_word(t, "message");
	put_word(t, is_base64 ? "+base64\n" : "\n");
}

static void put_lines(text_t *t, const u_char *body, size_t size)
{
	const u_char *end = body + size;
	for (;;) {
		const u_char *stop = memchr(body, '\n', (size_t)(end - body));
		put_word(t, "data: ");
		put(t, body, (size_t)((stop ? stop : end) - body));
		put_word(t, "\n");
		if (!stop) return;
		body = stop + 1;
	}
}

static void put_base64(text_t *t, const u_char *body, size_t size)
{
	ngx_str_t from = {size, (u_char *)body}, to = {ngx_base64_encoded_length(size), t->at};
	put_word(t, "data: ");
	if (t->at) {
		to.data = t->at;
		ngx_encode_base64(&to, &from);
		t->at += to.len;
	}
	t->size += to.len;
	put_word(t, "\n");
}

size_t ngx_mr_sse_write(const mr_delivery *d, u_char *to)
{
	text_t t = {to, 0};
	mr_properties props = {.flags = 0};
	const u_char *body = (const u_char *)d->body;
	size_t size = (size_t)d->body_size;
	ngx_uint_t is_base64 = !is_text(body, size, "\r", 1);
	if (mr_delivery_properties(d, &props) != MR_OK) props = (mr_properties){.flags = 0};
	put_id(&t, d, &props);
	put_event(&t, &props, is_base64);
	if (is_base64)
		put_base64(&t, body, size);
	else
		put_lines(&t, body, size);
	put_word(&t, "\n");
	mr_table_free(props.headers);
	return t.size;
}
