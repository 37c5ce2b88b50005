/* slice: a borrowed range of bytes, and AMQP's big-endian numbers.
 * SPDX-License-Identifier: MIT
 * Any thread; pure; owns nothing. */
#ifndef MR_BASE_SLICE_H
#define MR_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "moonrabbit.h"

typedef struct mr_bytes mr_slice;

static inline mr_slice mr_slice_of(const char *data, size_t size)
{
	mr_slice s = {data, size};
	return s;
}
static inline mr_slice mr_slice_str(const char *text) { return mr_slice_of(text, strlen(text)); }
static inline bool mr_slice_equal(mr_slice a, mr_slice b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline uint16_t mr_get16(const void *p)
{
	const uint8_t *b = p;
	return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint32_t mr_get32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap32(v);
}
static inline uint64_t mr_get64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap64(v);
}
static inline void mr_put16(void *p, uint16_t v)
{
	uint8_t *b = p;
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}
static inline void mr_put32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof v);
}
static inline void mr_put64(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof v);
}

#endif
