/* map: a hash table from 64-bit numbers, or from names, to pointers.
 * SPDX-License-Identifier: MIT
 * Any thread; open addressing; owns neither keys nor values. */
#ifndef MR_BASE_MAP_H
#define MR_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct mr_map { /* zeroed is empty and valid */
	struct mr_map_entry *entries;
	size_t count, used, capacity;
	/* For a map of names, set before the first use: returns the name stored in a value, which
	 * must not change while the value is in the map. */
	mr_slice (*name_of)(const void *value);
};

void mr_map_fini(struct mr_map *map); /* the map may be used again */
/* Iterates over all entries: start with *at = 0; returns NULL at the end. Taking the current entry
 * is allowed. `key` (for maps of numbers) may be NULL. */
void *mr_map_next(const struct mr_map *map, size_t *at, uint64_t *key);

/* For maps of numbers. Put replaces an existing value. `value` must not be NULL. MR_OK or
 * MR_NO_MEMORY (then nothing changed). */
enum mr_status mr_map_put(struct mr_map *map, uint64_t key, void *value);
void *mr_map_get(const struct mr_map *map, uint64_t key);          /* NULL when absent */
bool mr_map_change(struct mr_map *map, uint64_t key, void *value); /* false when absent */
void *mr_map_take(struct mr_map *map, uint64_t key); /* removes and returns; NULL when absent */

/* The same for maps of names. Clients choose names, so the hash is safe from prepared
 * collisions. */
enum mr_status mr_map_put_named(struct mr_map *map, void *value);
void *mr_map_get_named(const struct mr_map *map, mr_slice name);
void *mr_map_take_named(struct mr_map *map, mr_slice name);

#endif
