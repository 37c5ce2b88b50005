/* map: a hash table from 64-bit numbers to pointers.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"

#include "base/alloc.h"

struct mr_map_entry {
	uint64_t key;
	void *value; /* NULL: never used; GONE: taken */
};

static char gone;
#define GONE ((void *)&gone)

void mr_map_fini(struct mr_map *map)
{
	mr_free(map->entries);
	*map = (struct mr_map){0};
}

/* Fibonacci hashing spreads consecutive numbers over the whole table. */
static size_t slot(const struct mr_map *map, uint64_t key)
{
	return (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & (map->capacity - 1);
}

/* The entry of `key`, or where it would go. Capacity is never 0 and there is always a NULL entry. */
static struct mr_map_entry *find(const struct mr_map *map, uint64_t key)
{
	struct mr_map_entry *grave = NULL;
	for (size_t i = slot(map, key);; i = (i + 1) & (map->capacity - 1)) {
		struct mr_map_entry *e = &map->entries[i];
		if (!e->value) return grave ? grave : e;
		if (e->value == GONE)
			grave = grave ? grave : e;
		else if (e->key == key)
			return e;
	}
}

static bool is_taken(const struct mr_map_entry *e) { return e->value && e->value != GONE; }

static enum mr_status rehash(struct mr_map *map)
{
	size_t capacity = 8;
	while (capacity < map->count * 4) capacity *= 2;
	struct mr_map bigger = {.capacity = capacity, .count = map->count, .used = map->count};
	bigger.entries = mr_calloc(capacity, sizeof *bigger.entries);
	if (!bigger.entries) return MR_NO_MEMORY;
	for (size_t i = 0; i < map->capacity; i++)
		if (is_taken(&map->entries[i]))
			*find(&bigger, map->entries[i].key) = map->entries[i];
	mr_free(map->entries);
	*map = bigger;
	return MR_OK;
}

enum mr_status mr_map_put(struct mr_map *map, uint64_t key, void *value)
{
	if (map->used + 1 > map->capacity / 2 && rehash(map) != MR_OK) return MR_NO_MEMORY;
	struct mr_map_entry *e = find(map, key);
	if (!e->value) map->used++;
	if (!is_taken(e)) map->count++;
	e->key = key;
	e->value = value;
	return MR_OK;
}

void *mr_map_get(const struct mr_map *map, uint64_t key)
{
	if (!map->count) return NULL;
	struct mr_map_entry *e = find(map, key);
	return is_taken(e) && e->key == key ? e->value : NULL;
}

bool mr_map_change(struct mr_map *map, uint64_t key, void *value)
{
	if (!mr_map_get(map, key)) return false;
	find(map, key)->value = value;
	return true;
}

void *mr_map_take(struct mr_map *map, uint64_t key)
{
	if (!map->count) return NULL;
	struct mr_map_entry *e = find(map, key);
	if (!is_taken(e) || e->key != key) return NULL;
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
