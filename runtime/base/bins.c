/* bins: an intrusive hash table: its nodes are embedded in objects; several may have the same hash.
 * SPDX-License-Identifier: MIT */
#include "base/bins.h"

#include "base/alloc.h"

/* Fibonacci hashing spreads consecutive numbers over the whole table. */
static struct mr_node *head_of(const struct mr_bins *bins, uint64_t hash)
{
	return &bins->heads[(size_t)((hash * 0x9E3779B97F4A7C15u) >> 32) & (bins->capacity - 1)];
}

static struct mr_bin_node *of(struct mr_node *node)
{
	return mr_container(node, struct mr_bin_node, node);
}

/* Without memory a full table stays in use, only slower; but the first heads are required. */
static enum mr_status grow(struct mr_bins *bins)
{
	struct mr_bins bigger = {.capacity = bins->capacity ? bins->capacity * 2 : 8,
		.count = bins->count};
	struct mr_node *node;
	bigger.heads = mr_malloc(bigger.capacity * sizeof *bigger.heads);
	if (!bigger.heads) return bins->heads ? MR_OK : MR_NO_MEMORY;
	for (size_t i = 0; i < bigger.capacity; i++) mr_list_init(&bigger.heads[i]);
	for (size_t i = 0; i < bins->capacity; i++)
		while ((node = mr_list_shift(&bins->heads[i])))
			mr_list_append(head_of(&bigger, of(node)->hash), node);
	mr_free(bins->heads);
	*bins = bigger;
	return MR_OK;
}

void mr_bins_fini(struct mr_bins *bins)
{
	for (size_t i = 0; i < bins->capacity; i++)
		while (mr_list_shift(&bins->heads[i])) {}
	mr_free(bins->heads);
	*bins = (struct mr_bins){0};
}

enum mr_status mr_bins_put(struct mr_bins *bins, struct mr_bin_node *node, uint64_t hash)
{
	if (bins->count >= bins->capacity && grow(bins) != MR_OK) return MR_NO_MEMORY;
	node->hash = hash;
	mr_list_append(head_of(bins, hash), &node->node);
	bins->count++;
	return MR_OK;
}

void mr_bins_take(struct mr_bins *bins, struct mr_bin_node *node)
{
	if (!node->node.next) return;
	mr_list_remove(&node->node);
	bins->count--;
}

struct mr_bin_node *mr_bins_next(const struct mr_bins *bins, uint64_t hash,
	const struct mr_bin_node *after)
{
	if (!bins->capacity) return NULL;
	struct mr_node *head = head_of(bins, hash);
	for (struct mr_node *at = after ? after->node.next : head->next; at != head; at = at->next)
		if (of(at)->hash == hash) return of(at);
	return NULL;
}
