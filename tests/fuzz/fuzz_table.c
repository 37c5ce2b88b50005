/* fuzz_table: what decodes as a field table encodes again, to the same table.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "codec/guard.h"
#include "codec/table.h"

#define CHECK(claim) ((claim) ? (void)0 : __builtin_trap())

/* Encodes; the bytes must decode, and encode to themselves. */
static void encode_and_back(const mr_table *table)
{
	struct mr_buffer first = {0}, second = {0};
	mr_table *again = NULL;
	size_t used = 0;
	mr_error error = {0};
	enum mr_status st = mr_table_encode(&first, table, &error);
	if (st != MR_OK) { /* a long key, or 'L' beyond 'l' */
		CHECK(st == MR_BAD_ARGUMENT && error.text[0] && !mr_buffer_size(&first));
		mr_buffer_fini(&first);
		return;
	}
	CHECK(mr_guard_table(mr_buffer_data(&first), mr_buffer_size(&first)) ==
		mr_buffer_size(&first));
	CHECK(mr_table_decode(mr_buffer_data(&first), mr_buffer_size(&first), &again, &used) ==
		MR_OK);
	CHECK(used == mr_buffer_size(&first) && again->count == table->count);
	CHECK(mr_table_encode(&second, again, NULL) == MR_OK);
	CHECK(mr_buffer_size(&second) == used);
	CHECK(memcmp(mr_buffer_data(&first), mr_buffer_data(&second), used) == 0);
	mr_table_free(again);
	mr_buffer_fini(&first);
	mr_buffer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mr_table *table = NULL;
	size_t used = 0, sound = mr_guard_table(data, size);
	enum mr_status st = mr_table_decode(data, size, &table, &used);
	CHECK((st == MR_OK) == (sound > 0)); /* the codec refuses nothing that the guard passes */
	if (st != MR_OK) return 0;
	CHECK(used == sound && used <= size);
	encode_and_back(table);
	mr_table *copy = mr_table_copy(table);
	CHECK(copy && copy->count == table->count);
	mr_table_free(copy);
	mr_table_free(table);
	return 0;
}
