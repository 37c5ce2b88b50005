/* topic: patterns of words with * and #, as a tree of words.
 * SPDX-License-Identifier: MIT
 * Pure. Matching walks words, not bindings. */
#ifndef MR_BROKER_STORE_TOPIC_H
#define MR_BROKER_STORE_TOPIC_H

#include "base/list.h"
#include "base/slice.h"

/* The bindings of one routing pattern. */
struct mr_leaf {
	struct mr_node head; /* of mr_binding.at_leaf */
	size_t count;
	uint32_t size; /* of the key */
	char key[];
};

struct mr_topic_node;

/* The leaf of a pattern, or NULL. */
struct mr_leaf *mr_topic_find(struct mr_topic_node *root, mr_slice pattern);
/* The same, but makes it if it does not exist; *root may be NULL. NULL when out of memory. */
struct mr_leaf *mr_topic_add(struct mr_topic_node **root, mr_slice pattern);
/* Removes the empty leaf of a pattern and the words that nothing else needs; frees the leaf. */
void mr_topic_remove(struct mr_topic_node **root, mr_slice pattern);
void mr_topic_free(struct mr_topic_node *root); /* with its leaves; NULL is allowed */

/* Calls visit for each leaf whose pattern matches, each once. False when out of memory. */
bool mr_topic_match(struct mr_topic_node *root, mr_slice key,
	void (*visit)(void *owner, struct mr_leaf *leaf), void *owner);

#endif
