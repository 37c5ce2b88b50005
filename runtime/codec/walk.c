/* walk: checks, iterates over and builds encoded field tables and properties; decodes nothing.
 * SPDX-License-Identifier: MIT */
#include "codec/walk.h"

#include "base/alloc.h"
#include "codec/field_size.h"

/* ---- one value ---- */

static bool has_length(uint8_t type)
{
	return type == 'S' || type == 'x' || type == 'F' || type == 'A';
}

/* Reads key, type and value, without reading nested fields. Returns false if they do not fit. */
static bool read_field(struct mr_walk *w, struct mr_walk_field *out)
{
	const uint8_t *at = w->at;
	size_t left = (size_t)(w->end - at), size = 0, key = 0;
	if (!w->is_array) {
		key = 1u + at[0];
		if (key >= left) return false;
		out->key = mr_slice_of((const char *)at + 1, key - 1);
	} else {
		out->key = mr_slice_of("", 0);
	}
	out->type = at[key];
	at += key + 1;
	left -= key + 1;
	if (!has_length(out->type))
		size = mr_field_size(out->type);
	else if (left >= 4)
		size = (size_t)mr_get32(at) + 4;
	else
		return false;
	if (size > left) return false;
	out->value = mr_slice_of((const char *)at, size);
	out->whole = mr_slice_of((const char *)w->at, key + 1 + size);
	w->at = at + size;
	return true;
}

/* ---- checking: a stack of its own, because a peer chooses the depth ---- */

#define LEVELS_AT_HAND 64

struct levels {
	struct mr_walk here[LEVELS_AT_HAND];
	struct mr_walk *all; /* `here` or `given` */
	size_t count, capacity;
};

static bool push(struct levels *l, const struct mr_walk_field *f)
{
	if (l->count == l->capacity) {
		struct mr_walk *more = mr_malloc(2 * l->capacity * sizeof *more);
		if (!more) return false;
		memcpy(more, l->all, l->count * sizeof *more);
		if (l->all != l->here) mr_free(l->all);
		l->all = more;
		l->capacity *= 2;
	}
	l->all[l->count++] = f->type == 'A' ? mr_walk_array(f->value) : mr_walk_table(f->value);
	return true;
}

static bool check_levels(struct levels *l)
{
	struct mr_walk_field f;
	while (l->count) {
		struct mr_walk *top = &l->all[l->count - 1];
		if (top->at == top->end) {
			l->count--;
			continue;
		}
		if (!read_field(top, &f)) return false;
		if ((f.type == 'F' || f.type == 'A') && !push(l, &f)) return false;
	}
	return true;
}

size_t mr_walk_check(const uint8_t *data, size_t size)
{
	struct levels l;
	if (size < 4 || mr_get32(data) > size - 4) return 0;
	size = (size_t)mr_get32(data) + 4;
	l.all = l.here;
	l.capacity = LEVELS_AT_HAND;
	l.count = 1;
	l.here[0] = mr_walk_table(mr_slice_of((const char *)data, size));
	bool ok = check_levels(&l);
	if (l.all != l.here) mr_free(l.all);
	return ok ? size : 0;
}

/* ---- stepping ---- */

static struct mr_walk start(mr_slice bytes, bool is_array)
{
	struct mr_walk w = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data, is_array};
	if (bytes.size < 4) return w;
	w.end = w.at + bytes.size;
	w.at += 4;
	return w;
}

struct mr_walk mr_walk_table(mr_slice table) { return start(table, false); }
struct mr_walk mr_walk_array(mr_slice array) { return start(array, true); }

bool mr_walk_next(struct mr_walk *walk, struct mr_walk_field *out)
{
	return walk->at != walk->end && read_field(walk, out);
}

bool mr_walk_find(mr_slice table, const char *key, struct mr_walk_field *out)
{
	struct mr_walk w = mr_walk_table(table);
	mr_slice wanted = mr_slice_str(key);
	while (mr_walk_next(&w, out))
		if (mr_slice_equal(out->key, wanted)) return true;
	return false;
}

mr_slice mr_walk_text(const struct mr_walk_field *field)
{
	if (field->type != 'S' && field->type != 'x') return mr_slice_of("", 0);
	return mr_slice_of(field->value.data + 4, field->value.size - 4);
}

bool mr_walk_is_text(const struct mr_walk_field *field, const char *text)
{
	return field->type == 'S' && mr_slice_equal(mr_walk_text(field), mr_slice_str(text));
}

/* ---- properties ---- */

/* Returns the size of the part that begins here; 0 if it does not fit. */
static size_t part_size(int part, const uint8_t *at, size_t left)
{
	if (part == MR_PART_HEADERS) return mr_walk_check(at, left);
	if (part == MR_PART_TIMESTAMP) return 8;
	if (part == MR_PART_DELIVERY_MODE || part == MR_PART_PRIORITY) return 1;
	return left ? 1u + at[0] : 0;
}

bool mr_parts_split(mr_slice properties, struct mr_parts *out)
{
	const uint8_t *data = (const uint8_t *)properties.data;
	size_t at = 2;
	*out = (struct mr_parts){0};
	if (properties.size < 2) return false;
	unsigned flags = mr_get16(data);
	if (flags & 3) return false; /* basic has no second flag word and no 15th property */
	while (flags) {              /* from the highest bit down */
		int i = __builtin_clz(flags << 16);
		flags &= 0x7fffu >> i;
		size_t left = properties.size - at, size = part_size(i, data + at, left);
		if (!size || size > left) return false;
		out->part[i] = mr_slice_of(properties.data + at, size);
		at += size;
	}
	return at == properties.size;
}

enum mr_status mr_parts_join(struct mr_buffer *out, const struct mr_parts *parts)
{
	uint8_t head[2];
	unsigned flags = 0;
	for (int i = 0; i < MR_PART_COUNT; i++)
		if (parts->part[i].data) flags |= 0x8000u >> i;
	mr_put16(head, (uint16_t)flags);
	enum mr_status st = mr_buffer_append(out, head, sizeof head);
	for (int i = 0; i < MR_PART_COUNT && st == MR_OK; i++)
		if (parts->part[i].data)
			st = mr_buffer_append(out, parts->part[i].data, parts->part[i].size);
	return st;
}

mr_slice mr_part_text(const struct mr_parts *parts, enum mr_part part)
{
	mr_slice p = parts->part[part];
	return p.data ? mr_slice_of(p.data + 1, p.size - 1) : mr_slice_of("", 0);
}

/* ---- writing ---- */

enum mr_status mr_walk_put_key(struct mr_buffer *out, const char *key, uint8_t type)
{
	uint8_t size = (uint8_t)strlen(key);
	enum mr_status st = mr_buffer_append(out, &size, 1);
	if (st == MR_OK) st = mr_buffer_append(out, key, size);
	return st == MR_OK ? mr_buffer_append(out, &type, 1) : st;
}

static enum mr_status put_long(struct mr_buffer *out, mr_slice text)
{
	uint8_t length[4];
	mr_put32(length, (uint32_t)text.size);
	enum mr_status st = mr_buffer_append(out, length, sizeof length);
	return st == MR_OK && text.size ? mr_buffer_append(out, text.data, text.size) : st;
}

enum mr_status mr_walk_put_text(struct mr_buffer *out, const char *key, mr_slice text)
{
	enum mr_status st = mr_walk_put_key(out, key, 'S');
	return st == MR_OK ? put_long(out, text) : st;
}

enum mr_status mr_walk_put_item(struct mr_buffer *out, mr_slice text)
{
	enum mr_status st = mr_buffer_append(out, "S", 1);
	return st == MR_OK ? put_long(out, text) : st;
}

enum mr_status mr_walk_put_64(struct mr_buffer *out, const char *key, uint8_t type, uint64_t n)
{
	uint8_t bytes[8];
	mr_put64(bytes, n);
	enum mr_status st = mr_walk_put_key(out, key, type);
	return st == MR_OK ? mr_buffer_append(out, bytes, sizeof bytes) : st;
}

enum mr_status mr_walk_begin(struct mr_buffer *out, size_t *at)
{
	static const uint8_t none[4];
	*at = mr_buffer_size(out);
	return mr_buffer_append(out, none, sizeof none);
}

void mr_walk_end(struct mr_buffer *out, size_t at)
{
	mr_put32(mr_buffer_data(out) + at, (uint32_t)(mr_buffer_size(out) - at - 4));
}
