/* dict: a hash table from strings to pointers.
 * SPDX-License-Identifier: MIT
 * Any thread; open addressing. Owns neither keys nor values: a key lives as long as its value. */
#ifndef MR_BASE_DICT_H
#define MR_BASE_DICT_H

#include "base/slice.h"
#include "base/status.h"

struct mr_dict { /* zeroed is empty and valid */
	struct mr_dict_entry *entries;
	size_t count, used, capacity;
};

void mr_dict_fini(struct mr_dict *dict);
/* Replaces what was there, key and value. `value` is not NULL. MR_OK or MR_NO_MEMORY (then nothing
 * changed). */
enum mr_status mr_dict_put(struct mr_dict *dict, mr_slice key, void *value);
void *mr_dict_get(const struct mr_dict *dict, mr_slice key); /* NULL when absent */
void *mr_dict_take(struct mr_dict *dict, mr_slice key);      /* removes; NULL when absent */
/* Walks all: start with *at = 0; NULL at the end. Taking the current entry is allowed. */
void *mr_dict_next(const struct mr_dict *dict, size_t *at);

#endif
