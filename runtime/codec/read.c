/* read: decodes received field tables into trees: any depth, keys of 255 bytes, every type.
 * SPDX-License-Identifier: MIT
 * rabbitmq-c's decoder recurses as deeply as the peer's tables; here the levels are a list. */
#include "codec/read.h"

#include "base/alloc.h"
#include "codec/walk.h"

struct level {
	struct mr_walk walk;
	mr_table *into;
};

struct levels {
	struct level *all;
	size_t count, capacity;
};

static enum mr_status push(struct levels *l, struct mr_walk walk, mr_table *into)
{
	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 8;
		struct level *more = mr_realloc(l->all, capacity * sizeof *more);
		if (!more) return MR_NO_MEMORY;
		l->all = more;
		l->capacity = capacity;
	}
	l->all[l->count++] = (struct level){walk, into};
	return MR_OK;
}

static double real_of(const char *at, uint8_t type)
{
	union {
		uint32_t bits;
		float real;
	} narrow;
	union {
		uint64_t bits;
		double real;
	} wide;
	if (type == 'f') {
		narrow.bits = mr_get32(at);
		return (double)narrow.real;
	}
	wide.bits = mr_get64(at);
	return wide.real;
}

/* Reads a value that contains no others. */
static mr_value value_of(const struct mr_walk_field *f)
{
	const char *at = f->value.data;
	mr_value v = {.type = f->type};
	switch (f->type) {
	case 't': v.as.boolean = at[0] != 0; break;
	case 'b': v.as.integer = (int8_t)at[0]; break;
	case 'B': v.as.natural = (uint8_t)at[0]; break;
	case 's': v.as.integer = (int16_t)mr_get16(at); break;
	case 'u': v.as.natural = mr_get16(at); break;
	case 'I': v.as.integer = (int32_t)mr_get32(at); break;
	case 'i': v.as.natural = mr_get32(at); break;
	case 'l': v.as.integer = (int64_t)mr_get64(at); break;
	case 'L':
	case 'T': v.as.natural = mr_get64(at); break;
	case 'f':
	case 'd': v.as.real = real_of(at, f->type); break;
	case 'D':
		v.decimals = (uint8_t)at[0];
		v.as.natural = mr_get32(at + 1);
		break;
	case 'S':
	case 'x': v.as.bytes = mr_walk_text(f); break;
	default: break;
	}
	return v;
}

static enum mr_status take_field(struct levels *l, mr_table *into, const struct mr_walk_field *f)
{
	if (f->type != 'F' && f->type != 'A') {
		mr_value v = value_of(f);
		return (enum mr_status)mr_table_add_received(into, f->key, &v);
	}
	mr_table *nested = mr_table_nest(into, f->key.data, f->key.size, f->type);
	if (!nested) return MR_NO_MEMORY;
	return push(l, f->type == 'A' ? mr_walk_array(f->value) : mr_walk_table(f->value), nested);
}

static enum mr_status take_all(struct levels *l)
{
	struct mr_walk_field f;
	enum mr_status st = MR_OK;
	while (st == MR_OK && l->count) {
		struct level *top = &l->all[l->count - 1];
		if (mr_walk_next(&top->walk, &f))
			st = take_field(l, top->into, &f);
		else
			l->count--;
	}
	return st;
}

enum mr_status mr_read_table(mr_slice table, mr_table **out)
{
	struct levels l = {0};
	mr_table *root = mr_table_new();
	enum mr_status st = root ? push(&l, mr_walk_table(table), root) : MR_NO_MEMORY;
	if (st == MR_OK) st = take_all(&l);
	mr_free(l.all);
	if (st == MR_OK)
		*out = root;
	else
		mr_table_free(root);
	return st;
}
