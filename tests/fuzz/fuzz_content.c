/* fuzz_content: header and body frames in any order and size, over two interleaved contents.
 * SPDX-License-Identifier: MIT
 * Each step of the input: channel bit and kind, then a size, then that many payload bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "amqp/content.h"

#define BODY_MAX (1 << 20)

static void begin(struct mr_content *c, uint8_t kind)
{
	struct mr_method m = {.id = kind & 4 ? MR_M_BASIC_RETURN : MR_M_BASIC_DELIVER, .tag = 1};
	m.name = mr_slice_str("exchange");
	m.key = mr_slice_str("key");
	m.other = mr_slice_str("tag");
	m.text = mr_slice_str("NO_ROUTE");
	mr_content_begin(c, &m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mr_content contents[2] = {{0}};
	struct mr_delivery_pool *pool;
	if (mr_delivery_pool_open(&pool) != MR_OK) return 0;
	for (size_t at = 0; at + 3 <= size;) {
		uint8_t kind = data[at];
		size_t length = mr_get16(data + at + 1) & 0xfff;
		struct mr_content *c = &contents[kind & 1];
		at += 3;
		if (length > size - at) length = size - at;
		struct mr_frame frame = {kind & 2 ? MR_FRAME_HEADER : MR_FRAME_BODY, kind & 1,
			(uint32_t)length, data + at};
		at += length;
		if (kind & 8) begin(c, kind);
		if (mr_guard_frame(&frame, NULL) != MR_OK) continue;
		mr_delivery *done = NULL;
		if (mr_content_feed(c, pool, BODY_MAX, &frame, &done, NULL) != MR_OK || !done)
			continue;
		if (done->body_size > BODY_MAX || done->exchange_size != 8) abort();
		mr_delivery_give(pool, done);
	}
	for (int i = 0; i < 2; i++) {
		mr_content_drop(&contents[i], pool);
		mr_content_fini(&contents[i]);
	}
	if (mr_delivery_pool_out(pool, NULL)) abort();
	mr_delivery_pool_close(pool);
	return 0;
}
