/* streams: consumers of streams are restored where they were, not where they began.
 * SPDX-License-Identifier: MIT */
#include "link/streams.h"

#define KEY "x-stream-offset"
#define SETTLED                                                                                    \
	5000 /* ms after which a consumer of "last" has got the last chunk, if there is one */

static void begin_at(struct mr_record *record, uint8_t type, int64_t number)
{
	mr_table *one = mr_table_new(), **all = &record->request.arguments;
	mr_value value = {.type = type, .as.integer = number};
	if (!*all) *all = mr_table_new();
	/* Without memory it begins where it did before. */
	if (one && *all && mr_table_add(one, KEY, sizeof KEY - 1, &value) == MR_OK)
		mr_table_merge(*all, one);
	mr_table_free(one);
}

static bool is_word(const mr_value *value, const char *word)
{
	return value && value->type == 'S' && mr_slice_equal(value->as.bytes, mr_slice_str(word));
}

/* A consumer of "next" that got nothing yet would skip what comes before it is restored: so it
 * begins at the time of its first start. So does one of "last", if the stream was empty. */
void mr_streams_resume(struct mr_record *record, const struct mr_resume *at, int64_t wall,
	mr_msec age)
{
	const mr_value *began = mr_table_find(record->request.arguments, KEY);
	if (at->is_known)
		begin_at(record, 'l', (int64_t)at->offset);
	else if (is_word(began, "next") || (is_word(began, "last") && age > SETTLED))
		begin_at(record, 'T', wall);
}

void mr_streams_restart(struct mr_record *record)
{
	if (mr_table_find(record->request.arguments, KEY)) begin_at(record, 'l', 0);
}
