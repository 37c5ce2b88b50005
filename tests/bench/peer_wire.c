/* peer_wire: see peer_wire.h. One thread; does no I/O. */
// SPDX-License-Identifier: MIT
#include "peer_wire.h"

#include <stdlib.h>

static const uint8_t *take(struct wire_in *in, size_t count)
{
	if ((size_t)(in->end - in->at) < count) {
		in->is_bad = true;
		in->at = in->end;
		return NULL;
	}
	const uint8_t *p = in->at;
	in->at += count;
	return p;
}

uint8_t wire_get8(struct wire_in *in)
{
	const uint8_t *p = take(in, 1);
	return p ? *p : 0;
}

uint16_t wire_get16(struct wire_in *in)
{
	const uint8_t *p = take(in, 2);
	return p ? wire_load16(p) : 0;
}

uint32_t wire_get32(struct wire_in *in)
{
	const uint8_t *p = take(in, 4);
	return p ? wire_load32(p) : 0;
}

uint64_t wire_get64(struct wire_in *in)
{
	const uint8_t *p = take(in, 8);
	return p ? wire_load64(p) : 0;
}

struct wire_text wire_get_text(struct wire_in *in)
{
	struct wire_text text = {.length = wire_get8(in)};
	text.data = take(in, text.length);
	if (!text.data) text.length = 0;
	return text;
}

static uint8_t *grow(struct wire_out *out, size_t count)
{
	if (out->capacity - out->length < count) {
		size_t capacity = out->capacity ? out->capacity : 512;
		while (capacity - out->length < count) capacity *= 2;
		uint8_t *data = realloc(out->data, capacity);
		if (!data) {
			out->is_bad = true;
			return NULL;
		}
		out->data = data;
		out->capacity = capacity;
	}
	uint8_t *p = out->data + out->length;
	out->length += count;
	return p;
}

void wire_put8(struct wire_out *out, uint8_t v) { wire_put_bytes(out, &v, 1); }

void wire_put16(struct wire_out *out, uint16_t v)
{
	const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};
	wire_put_bytes(out, bytes, sizeof bytes);
}

void wire_put32(struct wire_out *out, uint32_t v)
{
	uint8_t *p = grow(out, sizeof v);
	if (p) wire_store32(p, v);
}

void wire_put64(struct wire_out *out, uint64_t v)
{
	uint8_t *p = grow(out, sizeof v);
	if (p) wire_store64(p, v);
}

void wire_put_bytes(struct wire_out *out, const void *bytes, size_t length)
{
	uint8_t *p = grow(out, length);
	if (p && length) memcpy(p, bytes, length);
}

void wire_put_text(struct wire_out *out, struct wire_text text)
{
	wire_put8(out, text.length);
	wire_put_bytes(out, text.data, text.length);
}

void wire_put_name(struct wire_out *out, const char *name)
{
	const size_t length = strlen(name);
	wire_put8(out, (uint8_t)length);
	wire_put_bytes(out, name, length);
}

void wire_put_long_text(struct wire_out *out, const char *text)
{
	const size_t length = strlen(text);
	wire_put32(out, (uint32_t)length);
	wire_put_bytes(out, text, length);
}

void wire_fini(struct wire_out *out)
{
	free(out->data);
	*out = (struct wire_out){0};
}

void wire_begin(struct wire_out *out, uint8_t type, uint16_t channel)
{
	out->frame = out->length;
	wire_put8(out, type);
	wire_put16(out, channel);
	wire_put32(out, 0); /* the size, known at the end */
}

void wire_begin_method(struct wire_out *out, uint16_t channel, uint32_t method)
{
	wire_begin(out, FRAME_METHOD, channel);
	wire_put32(out, method);
}

void wire_end(struct wire_out *out)
{
	const size_t size = out->length - out->frame - FRAME_HEAD;
	wire_put8(out, FRAME_END);
	if (!out->is_bad) wire_store32(out->data + out->frame + 3, (uint32_t)size);
}

void wire_put_content(struct wire_out *out, uint16_t channel, const uint8_t *body, size_t length,
	uint32_t frame_max)
{
	const size_t chunk_max = frame_max - FRAME_OVERHEAD;

	wire_begin(out, FRAME_HEADER, channel);
	wire_put16(out, 60); /* class basic */
	wire_put16(out, 0);  /* weight */
	wire_put64(out, length);
	wire_put16(out, 1 << 15 | 1 << 12); /* content-type, delivery-mode */
	wire_put_name(out, "text/plain");
	wire_put8(out, 1);
	wire_end(out);
	for (size_t at = 0; at < length;) {
		const size_t chunk = length - at < chunk_max ? length - at : chunk_max;
		wire_begin(out, FRAME_BODY, channel);
		wire_put_bytes(out, body + at, chunk);
		wire_end(out);
		at += chunk;
	}
}
