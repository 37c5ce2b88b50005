/* map: a hash table from 64-bit numbers, or from names, to pointers.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"

#include "base/alloc.h"

struct mr_map_entry {
	uint64_t key; /* for a name: its hash */
	void *value;  /* NULL: never used; GONE: taken */
};

static char gone;
#define GONE ((void *)&gone)
#define LARGE 1024 /* entries: a map of this capacity frees its memory when it becomes empty */

void mr_map_fini(struct mr_map *map)
{
	mr_free(map->entries);
	*map = (struct mr_map){.name_of = map->name_of};
}

/* Fibonacci hashing spreads consecutive numbers over the whole table. */
static size_t slot(const struct mr_map *map, uint64_t key)
{
	return (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & (map->capacity - 1);
}

static bool is_taken(const struct mr_map_entry *e) { return e->value && e->value != GONE; }

static bool is_named(const struct mr_map *map, const struct mr_map_entry *e, const mr_slice *name)
{
	return !name || mr_slice_equal(map->name_of(e->value), *name);
}

/* Returns the entry of `key`, and of `name` if it is not NULL, or the entry to use for it. The
 * capacity is never 0, and there is always a NULL entry. */
static struct mr_map_entry *find(const struct mr_map *map, uint64_t key, const mr_slice *name)
{
	struct mr_map_entry *grave = NULL;
	for (size_t i = slot(map, key);; i = (i + 1) & (map->capacity - 1)) {
		struct mr_map_entry *e = &map->entries[i];
		if (!e->value) return grave ? grave : e;
		if (e->value == GONE)
			grave = grave ? grave : e;
		else if (e->key == key && is_named(map, e, name))
			return e;
	}
}

/* Adds an entry to a map without graves, and without this key or name. */
static void place(struct mr_map *map, const struct mr_map_entry *e)
{
	size_t i = slot(map, e->key);
	while (map->entries[i].value) i = (i + 1) & (map->capacity - 1);
	map->entries[i] = *e;
}

static enum mr_status rehash(struct mr_map *map)
{
	size_t capacity = 8;
	while (capacity < map->count * 4) capacity *= 2;
	struct mr_map bigger = *map;
	bigger.capacity = capacity;
	bigger.used = map->count;
	bigger.entries = mr_calloc(capacity, sizeof *bigger.entries);
	if (!bigger.entries) return MR_NO_MEMORY;
	for (size_t i = 0; i < map->capacity; i++)
		if (is_taken(&map->entries[i])) place(&bigger, &map->entries[i]);
	mr_free(map->entries);
	*map = bigger;
	return MR_OK;
}

static enum mr_status put(struct mr_map *map, uint64_t key, const mr_slice *name, void *value)
{
	if (map->used + 1 > map->capacity / 2 && rehash(map) != MR_OK) return MR_NO_MEMORY;
	struct mr_map_entry *e = find(map, key, name);
	if (!e->value) map->used++;
	if (!is_taken(e)) map->count++;
	*e = (struct mr_map_entry){key, value};
	return MR_OK;
}

static struct mr_map_entry *get(const struct mr_map *map, uint64_t key, const mr_slice *name)
{
	if (!map->count) return NULL;
	struct mr_map_entry *e = find(map, key, name);
	return is_taken(e) ? e : NULL;
}

static void *take(struct mr_map *map, uint64_t key, const mr_slice *name)
{
	struct mr_map_entry *e = get(map, key, name);
	if (!e) return NULL;
	void *value = e->value;
	e->value = GONE;
	map->count--;
	return value;
}

void *mr_map_next(const struct mr_map *map, size_t *at, uint64_t *key)
{
	while (*at < map->capacity) {
		const struct mr_map_entry *e = &map->entries[(*at)++];
		if (!is_taken(e)) continue;
		if (key) *key = e->key;
		return e->value;
	}
	return NULL;
}

/* ---- of numbers ---- */

enum mr_status mr_map_put(struct mr_map *map, uint64_t key, void *value)
{
	return put(map, key, NULL, value);
}

void *mr_map_get(const struct mr_map *map, uint64_t key)
{
	const struct mr_map_entry *e = get(map, key, NULL);
	return e ? e->value : NULL;
}

bool mr_map_change(struct mr_map *map, uint64_t key, void *value)
{
	struct mr_map_entry *e = get(map, key, NULL);
	if (e) e->value = value;
	return e != NULL;
}

void *mr_map_take(struct mr_map *map, uint64_t key) { return take(map, key, NULL); }

/* ---- of names ---- */

/* FNV-1a, started with an address that the loader chooses, so that a client cannot prepare
 * collisions. */
static uint64_t hash_of(mr_slice name)
{
	uint64_t h = 14695981039346656037u ^ (uint64_t)(uintptr_t)&gone;
	for (size_t i = 0; i < name.size; i++) h = (h ^ (uint8_t)name.data[i]) * 1099511628211u;
	return h;
}

enum mr_status mr_map_put_named(struct mr_map *map, void *value)
{
	mr_slice name = map->name_of(value);
	return put(map, hash_of(name), &name, value);
}

void *mr_map_get_named(const struct mr_map *map, mr_slice name)
{
	const struct mr_map_entry *e = map->count ? get(map, hash_of(name), &name) : NULL;
	return e ? e->value : NULL;
}

void *mr_map_take_named(struct mr_map *map, mr_slice name)
{
	void *value = take(map, hash_of(name), &name);
	if (value && !map->count && map->capacity > LARGE) mr_map_fini(map);
	return value;
}
