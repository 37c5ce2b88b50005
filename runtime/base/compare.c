/* compare: equality and hashes of field tables and their values.
 * SPDX-License-Identifier: MIT */
#include "base/compare.h"

#include "base/hash.h"

bool mr_value_integer(const mr_value *v, int64_t *out)
{
	switch (v->type) {
	case 'b':
	case 's':
	case 'I':
	case 'l': *out = v->as.integer; return true;
	case 'B':
	case 'u':
	case 'i':
	case 'T':
	case 'L':
		if (v->as.natural > INT64_MAX) return false;
		*out = (int64_t)v->as.natural;
		return true;
	default: return false;
	}
}

static bool same_array(const mr_table *a, const mr_table *b)
{
	if (a->count != b->count) return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (!mr_value_same(&a->fields[i].value, &b->fields[i].value)) return false;
	return true;
}

static bool is_real(const mr_value *v) { return v->type == 'd' || v->type == 'f'; }

/* Any number except a decimal. */
static bool to_real(const mr_value *v, double *out)
{
	int64_t n;
	if (is_real(v)) {
		*out = v->as.real;
		return true;
	}
	if (!mr_value_integer(v, &n)) return false;
	*out = (double)n;
	return true;
}

static bool is_text(const mr_value *v) { return v->type == 'S' || v->type == 'x'; }

bool mr_value_same(const mr_value *a, const mr_value *b)
{
	int64_t x, y;
	if (mr_value_integer(a, &x) && mr_value_integer(b, &y)) return x == y;
	double u, w;
	bool any_real = is_real(a) || is_real(b);
	if (any_real && to_real(a, &u) && to_real(b, &w)) return memcmp(&u, &w, sizeof u) == 0;
	if (is_text(a) && is_text(b)) return mr_slice_equal(a->as.bytes, b->as.bytes);
	if (a->type != b->type) return false;
	switch (a->type) {
	case 't': return a->as.boolean == b->as.boolean;
	case 'F': return mr_table_same(a->as.nested, b->as.nested);
	case 'A': return same_array(a->as.nested, b->as.nested);
	case 'V': return true;
	case 'D': return a->decimals == b->decimals && a->as.natural == b->as.natural;
	default: return a->as.natural == b->as.natural;
	}
}

bool mr_table_same(const mr_table *a, const mr_table *b)
{
	uint32_t count_a = a ? a->count : 0, count_b = b ? b->count : 0;
	if (count_a != count_b) return false;
	for (uint32_t i = 0; i < count_a; i++) {
		const mr_value *other = mr_table_get(b, a->fields[i].key);
		if (!other || !mr_value_same(&a->fields[i].value, other)) return false;
	}
	return true;
}

static uint64_t hash_of(const mr_value *v)
{
	double real;
	if (to_real(v, &real)) return mr_hash('d', mr_slice_of((const char *)&real, sizeof real));
	if (is_text(v)) return mr_hash('S', v->as.bytes);
	if (v->type == 'F') return mr_table_hash(v->as.nested);
	if (v->type == 'A' || v->type == 'V') return v->type; /* they are compared field by field */
	if (v->type == 't') return v->as.boolean ? 't' : 'f';
	return mr_hash(v->type, mr_slice_of((const char *)&v->as.natural, sizeof v->as.natural));
}

uint64_t mr_table_hash(const mr_table *table)
{
	uint64_t sum = 0; /* independent of the order */
	for (uint32_t i = 0; table && i < table->count; i++)
		sum += mr_hash(hash_of(&table->fields[i].value), table->fields[i].key);
	return sum;
}
