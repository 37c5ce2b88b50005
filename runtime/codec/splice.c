/* splice: encodes received properties again with changes, without decoding them.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. The public form is in moonrabbit.h. */
#include "codec/properties.h"
#include "codec/walk.h"

/* True if `table` has a field with this key. */
static bool names(mr_slice table, mr_slice key)
{
	struct mr_walk w = mr_walk_table(table);
	struct mr_walk_field f;
	while (mr_walk_next(&w, &f))
		if (mr_slice_equal(f.key, key)) return true;
	return false;
}

/* Appends the fields of `table`, except those with keys in `changed` or `without`. */
static enum mr_status put_fields(struct mr_buffer *out, mr_slice table, mr_slice changed,
	const mr_table *without)
{
	struct mr_walk w = mr_walk_table(table);
	struct mr_walk_field f;
	enum mr_status st = MR_OK;
	while (st == MR_OK && mr_walk_next(&w, &f)) {
		if (names(changed, f.key) || mr_table_get(without, f.key)) continue;
		st = mr_buffer_append(out, f.whole.data, f.whole.size);
	}
	return st;
}

static enum mr_status merge_headers(struct mr_buffer *out, mr_slice received, mr_slice changed,
	const mr_table *without)
{
	size_t at = 0;
	enum mr_status st = mr_walk_begin(out, &at);
	if (st == MR_OK) st = put_fields(out, received, changed, without);
	if (st == MR_OK) st = put_fields(out, changed, (mr_slice){0}, NULL);
	if (st == MR_OK) mr_walk_end(out, at);
	return st;
}

/* Changes `parts`, the received ones, into the result; `headers` is the buffer of the merged
 * headers. */
static enum mr_status change(struct mr_parts *parts, const struct mr_parts *changed,
	uint32_t without, const mr_table *headers_without, struct mr_buffer *headers)
{
	for (int i = 0; i < MR_PART_COUNT; i++) {
		if (i == MR_PART_HEADERS) continue;
		if (changed->part[i].data)
			parts->part[i] = changed->part[i];
		else if (without & (0x8000u >> i))
			parts->part[i] = (mr_slice){0};
	}
	mr_slice *received = &parts->part[MR_PART_HEADERS];
	mr_slice ours = changed->part[MR_PART_HEADERS];
	if (!received->data && !ours.data) return MR_OK;
	enum mr_status st = merge_headers(headers, *received, ours, headers_without);
	*received = mr_slice_of((const char *)mr_buffer_data(headers), mr_buffer_size(headers));
	return st;
}

int mr_properties_splice(const char *properties, size_t properties_size,
	const mr_properties *changes, uint32_t without, const mr_table *headers_without,
	char *buffer, size_t size)
{
	struct mr_buffer changed = {0}, headers = {0}, out = {0};
	struct mr_parts parts, ours;
	if (!mr_parts_split(mr_slice_of(properties, properties_size), &parts))
		return -(int)MR_FRAME_ERROR;
	enum mr_status st = mr_properties_put(&changed, changes, NULL);
	if (st == MR_OK && !mr_parts_split(mr_slice_of((const char *)mr_buffer_data(&changed),
						   mr_buffer_size(&changed)),
				   &ours))
		st = MR_NO_MEMORY; /* a fresh encoding is always well-formed */
	if (st == MR_OK) st = change(&parts, &ours, without, headers_without, &headers);
	if (st == MR_OK) st = mr_parts_join(&out, &parts);
	size_t n = mr_buffer_size(&out);
	if (st == MR_OK && n <= size) memcpy(buffer, mr_buffer_data(&out), n);
	mr_buffer_fini(&changed);
	mr_buffer_fini(&headers);
	mr_buffer_fini(&out);
	return st == MR_OK ? (int)n : -(int)st;
}
