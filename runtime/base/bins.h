/* bins: a hash table of nodes that lie in what they find; several may have the same hash.
 * SPDX-License-Identifier: MIT
 * Any thread; owns nothing. Taking a node out needs no memory and no search. */
#ifndef MR_BASE_BINS_H
#define MR_BASE_BINS_H

#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct mr_bin_node { /* zeroed is in no table */
	struct mr_node node;
	uint64_t hash;
};

struct mr_bins { /* zeroed is empty and valid */
	struct mr_node *heads;
	size_t capacity, count;
};

void mr_bins_fini(struct mr_bins *bins); /* what is in it stays where it is, and out of it */
/* MR_OK or MR_NO_MEMORY (then nothing changed). */
enum mr_status mr_bins_put(struct mr_bins *bins, struct mr_bin_node *node, uint64_t hash);
void mr_bins_take(struct mr_bins *bins, struct mr_bin_node *node); /* no-op when in none */
/* Walks what has this hash, in the order of putting; start with NULL; NULL at the end. */
struct mr_bin_node *mr_bins_next(const struct mr_bins *bins, uint64_t hash,
	const struct mr_bin_node *after);

#endif
