/* fuzz_properties: what decodes as properties encodes again, to the same properties.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "codec/properties.h"
#include "codec/walk.h"

#define CHECK(claim) ((claim) ? (void)0 : __builtin_trap())

/* The public function must agree with the inner one, for a buffer of just the size and one too small. */
static void encode_publicly(const mr_properties *p, const struct mr_buffer *expected)
{
	size_t size = mr_buffer_size(expected);
	char *buffer = malloc(size);
	if (!buffer) return;
	CHECK(mr_properties_encode(p, buffer, size) == (int)size);
	CHECK(memcmp(buffer, mr_buffer_data(expected), size) == 0);
	CHECK(mr_properties_encode(p, buffer, size - 1) == (int)size);
	free(buffer);
}

static void encode_and_back(const mr_properties *p)
{
	struct mr_buffer first = {0}, second = {0};
	mr_properties again = {0};
	mr_error error = {0};
	enum mr_status st = mr_properties_put(&first, p, &error);
	if (st != MR_OK) { /* headers with a long key, or 'L' beyond 'l' */
		CHECK(st == MR_BAD_ARGUMENT && error.text[0] && !mr_buffer_size(&first));
		CHECK(mr_properties_encode(p, NULL, 0) == -MR_BAD_ARGUMENT);
		mr_buffer_fini(&first);
		return;
	}
	CHECK(mr_properties_decode(mr_buffer_data(&first), mr_buffer_size(&first), &again) ==
		MR_OK);
	CHECK(again.flags == p->flags);
	CHECK(mr_properties_put(&second, &again, NULL) == MR_OK);
	CHECK(mr_buffer_size(&first) == mr_buffer_size(&second));
	CHECK(memcmp(mr_buffer_data(&first), mr_buffer_data(&second), mr_buffer_size(&first)) == 0);
	encode_publicly(p, &first);
	mr_table_free(again.headers);
	mr_buffer_fini(&first);
	mr_buffer_fini(&second);
}

/* With nothing to change, what was received goes out again byte for byte. */
static void splice(const uint8_t *data, size_t size, bool is_sound)
{
	mr_properties none = {0};
	char *buffer = malloc(size ? size : 1);
	if (!buffer) return;
	int n = mr_properties_splice((const char *)data, size, &none, 0, NULL, buffer, size);
	CHECK(n == (is_sound ? (int)size : -MR_FRAME_ERROR));
	CHECK(n < 0 || memcmp(buffer, data, size) == 0);
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mr_delivery delivery = {.properties = (const char *)data,
		.properties_size = (uint32_t)size};
	mr_properties p = {0};
	int st = mr_delivery_properties(&delivery, &p);
	struct mr_parts parts;
	CHECK((st == MR_OK) == mr_parts_split(mr_slice_of((const char *)data, size), &parts));
	splice(data, size, st == MR_OK);
	if (st != MR_OK) return 0;
	encode_and_back(&p);
	mr_table_free(p.headers);
	return 0;
}
