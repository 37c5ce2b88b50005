/* bins: an intrusive hash table: its nodes are embedded in objects; several may have the same hash.
 * SPDX-License-Identifier: MIT
 * Any thread; owns nothing. Removing a node needs no memory and no search. */
#ifndef MR_BASE_BINS_H
#define MR_BASE_BINS_H

#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct mr_bin_node { /* a zeroed node is in no table */
	struct mr_node node;
	uint64_t hash;
};

struct mr_bins { /* zeroed is empty and valid */
	struct mr_node *heads;
	size_t capacity, count;
};

void mr_bins_fini(struct mr_bins *bins); /* removes all nodes; does not free their objects */
/* MR_OK or MR_NO_MEMORY (then nothing changed). */
enum mr_status mr_bins_put(struct mr_bins *bins, struct mr_bin_node *node, uint64_t hash);
void mr_bins_take(struct mr_bins *bins, struct mr_bin_node *node); /* no-op if in no table */
/* Iterates over the nodes with this hash, in the order of their puts; start with NULL; NULL at the
 * end. */
struct mr_bin_node *mr_bins_next(const struct mr_bins *bins, uint64_t hash,
	const struct mr_bin_node *after);

#endif
