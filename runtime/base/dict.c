/* dict: a hash table from strings to pointers.
 * SPDX-License-Identifier: MIT */
#include "base/dict.h"

#include "base/alloc.h"

struct mr_dict_entry {
	const char *data;
	uint32_t size, hash;
	void *value; /* NULL: never used; GONE: removed */
};

static char gone;
#define GONE ((void *)&gone)
#define LARGE 1024 /* places: what once held so much gives its memory back when it is empty */

static bool is_taken(const struct mr_dict_entry *e) { return e->value && e->value != GONE; }

/* FNV-1a, begun at an address that the loader picks, so that a client cannot prepare collisions. */
static uint32_t hash_of(mr_slice key)
{
	uint64_t h = 14695981039346656037u ^ (uint64_t)(uintptr_t)&gone;
	for (size_t i = 0; i < key.size; i++) h = (h ^ (uint8_t)key.data[i]) * 1099511628211u;
	return (uint32_t)(h ^ h >> 32);
}

/* The entry of the key, or the free one where it would go. */
static struct mr_dict_entry *find(const struct mr_dict *dict, mr_slice key, uint32_t hash)
{
	struct mr_dict_entry *hole = NULL;
	size_t mask = dict->capacity - 1;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct mr_dict_entry *e = &dict->entries[i];
		if (!e->value) return hole ? hole : e;
		if (e->value == GONE) {
			if (!hole) hole = e;
		} else if (e->hash == hash && mr_slice_equal(mr_slice_of(e->data, e->size), key)) {
			return e;
		}
	}
}

static enum mr_status rehash(struct mr_dict *dict)
{
	struct mr_dict old = *dict;
	size_t capacity = 8;
	while (capacity < dict->count * 4) capacity *= 2;
	struct mr_dict_entry *entries = mr_calloc(capacity, sizeof *entries);
	if (!entries) return MR_NO_MEMORY;
	*dict = (struct mr_dict){entries, old.count, old.count, capacity};
	for (size_t i = 0; i < old.capacity; i++) {
		const struct mr_dict_entry *e = &old.entries[i];
		if (is_taken(e)) *find(dict, mr_slice_of(e->data, e->size), e->hash) = *e;
	}
	mr_free(old.entries);
	return MR_OK;
}

void mr_dict_fini(struct mr_dict *dict)
{
	mr_free(dict->entries);
	*dict = (struct mr_dict){0};
}

enum mr_status mr_dict_put(struct mr_dict *dict, mr_slice key, void *value)
{
	uint32_t hash = hash_of(key);
	if (dict->used >= dict->capacity / 2 && rehash(dict) != MR_OK) return MR_NO_MEMORY;
	struct mr_dict_entry *e = find(dict, key, hash);
	if (!e->value) dict->used++;
	if (!is_taken(e)) dict->count++;
	*e = (struct mr_dict_entry){key.data, (uint32_t)key.size, hash, value};
	return MR_OK;
}

void *mr_dict_get(const struct mr_dict *dict, mr_slice key)
{
	if (!dict->count) return NULL;
	struct mr_dict_entry *e = find(dict, key, hash_of(key));
	return is_taken(e) ? e->value : NULL;
}

void *mr_dict_take(struct mr_dict *dict, mr_slice key)
{
	if (!dict->count) return NULL;
	struct mr_dict_entry *e = find(dict, key, hash_of(key));
	if (!is_taken(e)) return NULL;
	void *value = e->value;
	e->value = GONE;
	dict->count--;
	if (!dict->count && dict->capacity > LARGE) mr_dict_fini(dict);
	return value;
}

void *mr_dict_next(const struct mr_dict *dict, size_t *at)
{
	while (*at < dict->capacity) {
		const struct mr_dict_entry *e = &dict->entries[(*at)++];
		if (is_taken(e)) return e->value;
	}
	return NULL;
}
