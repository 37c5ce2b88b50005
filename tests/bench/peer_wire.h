/* peer_wire: the AMQP 0-9-1 bytes of the load peer and of the raw drain client, read and written by
 * hand so that the bench measures no library but the one under test.
 * One thread. Does no I/O. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_PEER_WIRE_H
#define BENCH_PEER_WIRE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8 };
enum { FRAME_HEAD = 7, FRAME_OVERHEAD = 8, FRAME_END = 0xCE };

#define METHOD(class_id, method_id) ((uint32_t)(class_id) << 16 | (uint32_t)(method_id))

/* A cursor over borrowed bytes. Reading past the end gives zeros and sets `is_bad`. */
struct wire_in {
	const uint8_t *at, *end;
	bool is_bad;
};

/* A growing buffer of whole frames. Out of memory sets `is_bad` and drops what is written. */
struct wire_out {
	uint8_t *data;
	size_t length, capacity;
	size_t frame; /* offset of the frame being written */
	bool is_bad;
};

/* A string inside somebody else's bytes; not terminated. */
struct wire_text {
	const uint8_t *data;
	uint8_t length;
};

static inline uint16_t wire_load16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline uint32_t wire_load32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap32(v);
}

static inline uint64_t wire_load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap64(v);
}

static inline void wire_store32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof v);
}

static inline void wire_store64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof v);
}

uint8_t wire_get8(struct wire_in *in);
uint16_t wire_get16(struct wire_in *in);
uint32_t wire_get32(struct wire_in *in);
uint64_t wire_get64(struct wire_in *in);
struct wire_text wire_get_text(struct wire_in *in); /* short string */

void wire_put8(struct wire_out *out, uint8_t v);
void wire_put16(struct wire_out *out, uint16_t v);
void wire_put32(struct wire_out *out, uint32_t v);
void wire_put64(struct wire_out *out, uint64_t v);
void wire_put_bytes(struct wire_out *out, const void *bytes, size_t length);
void wire_put_text(struct wire_out *out, struct wire_text text); /* short string */
void wire_put_name(struct wire_out *out, const char *name);      /* short string */
void wire_put_long_text(struct wire_out *out, const char *text);
void wire_fini(struct wire_out *out);

/* A frame is everything written between begin and end; begin_method also writes its method ids. */
void wire_begin(struct wire_out *out, uint8_t type, uint16_t channel);
void wire_begin_method(struct wire_out *out, uint16_t channel, uint32_t method);
void wire_end(struct wire_out *out);

/* The three kinds of frame of one message after its method: the header (content type text/plain,
 * delivery mode 1: the same two properties every client of the bench sends) and the body. */
void wire_put_content(struct wire_out *out, uint16_t channel, const uint8_t *body, size_t length,
	uint32_t frame_max);
#endif
