/* offsets: where a stream's consumer goes on after a loss: its deliveries that are not acked.
 * SPDX-License-Identifier: MIT */
#include "amqp/offsets.h"

#include "codec/frame.h"
#include "codec/walk.h"

static void *as_pointer(uint64_t offset) { return (void *)(uintptr_t)(offset + 1); }
static uint64_t as_offset(const void *pointer) { return (uint64_t)(uintptr_t)pointer - 1; }

void mr_offsets_fini(struct mr_offsets *o)
{
	mr_map_fini(&o->out);
	*o = (struct mr_offsets){0};
}

enum mr_status mr_offsets_delivered(struct mr_offsets *o, uint64_t tag, uint64_t offset)
{
	if (mr_map_put(&o->out, tag, as_pointer(offset)) != MR_OK) return MR_NO_MEMORY;
	if (offset + 1 > o->next) o->next = offset + 1;
	return MR_OK;
}

void mr_offsets_acked(struct mr_offsets *o, uint64_t tag, bool multiple)
{
	size_t at = 0;
	uint64_t key;
	if (!multiple) {
		mr_map_take(&o->out, tag);
		return;
	}
	while (mr_map_next(&o->out, &at, &key))
		if (key <= tag) mr_map_take(&o->out, key);
}

bool mr_offsets_resume(const struct mr_offsets *o, uint64_t *offset)
{
	size_t at = 0;
	const void *value;
	*offset = o->next;
	while ((value = mr_map_next(&o->out, &at, NULL)))
		if (as_offset(value) < *offset) *offset = as_offset(value);
	return o->next != 0;
}

bool mr_offsets_read(mr_slice properties, uint64_t *offset)
{
	struct mr_parts parts;
	struct mr_walk_field field;
	if (!mr_parts_split(properties, &parts)) return false;
	if (!mr_walk_find(parts.part[MR_PART_HEADERS], "x-stream-offset", &field)) return false;
	if (field.type != 'l' || field.value.size != 8) return false;
	*offset = mr_get64((const uint8_t *)field.value.data);
	return *offset < INT64_MAX;
}
