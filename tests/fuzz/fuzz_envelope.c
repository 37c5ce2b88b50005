/* fuzz_envelope: what is read as an envelope is written, and reads as the same message.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "redis/envelope.h"

#define CHECK(claim) ((claim) ? (void)0 : __builtin_trap())

static mr_slice slice_of(const struct mr_buffer *b)
{
	return mr_slice_of((const char *)mr_buffer_data(b), mr_buffer_size(b));
}

static void write(struct mr_buffer *out, const struct mr_message *m, const struct mr_envelope *seen)
{
	mr_error error = {0};
	CHECK(mr_envelope_write(out, m, seen, &error) == MR_OK);
}

/* What was written reads back, and is then written as the same bytes. */
static void write_and_back(const struct mr_message *m, const struct mr_envelope *seen)
{
	struct mr_buffer first = {0}, second = {0};
	struct mr_message *again = NULL;
	struct mr_envelope seen_again;
	write(&first, m, seen);
	CHECK(mr_envelope_read(&again, &seen_again, slice_of(&first), NULL) == MR_OK);
	CHECK(mr_slice_equal(mr_message_body(m), mr_message_body(again)));
	write(&second, again, &seen_again);
	CHECK(mr_slice_equal(slice_of(&first), slice_of(&second)));
	mr_message_drop(again);
	mr_buffer_fini(&first);
	mr_buffer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mr_slice json = mr_slice_of((const char *)data, size);
	struct mr_message *m = NULL;
	struct mr_envelope seen;
	mr_error error = {0};
	if (mr_envelope_read(&m, &seen, json, &error) == MR_OK) {
		write_and_back(m, &seen);
		mr_message_drop(m);
	} else
		CHECK(error.text[0] && !m);
	return 0;
}
