/* topic: patterns of words with * and #, as a tree of words.
 * SPDX-License-Identifier: MIT */
#include "broker/store/topic.h"

#include "base/alloc.h"
#include "base/map.h"

#define WORDS_MAX 129 /* a key has up to 255 bytes: 128 words of one letter, or empty ones */

struct mr_topic_node {
	struct mr_topic_node *parent;
	struct mr_map children; /* for words without wildcards */
	struct mr_topic_node *star, *hash;
	struct mr_leaf *leaf;
	uint64_t mark; /* the last step of a match that reached it */
	uint32_t size;
	char word[];
};

static mr_slice word_of(const void *node)
{
	const struct mr_topic_node *n = node;
	return mr_slice_of(n->word, n->size);
}

static struct mr_topic_node *new_node(struct mr_topic_node *parent, mr_slice word)
{
	struct mr_topic_node *n = mr_calloc(1, sizeof *n + word.size);
	if (!n) return NULL;
	n->parent = parent;
	n->children.name_of = word_of;
	n->size = (uint32_t)word.size;
	if (word.size) memcpy(n->word, word.data, word.size);
	return n;
}

static bool is_star(mr_slice w) { return w.size == 1 && *w.data == '*'; }
static bool is_hash(mr_slice w) { return w.size == 1 && *w.data == '#'; }

/* An empty key has no words; "a." has two. */
static size_t split(mr_slice key, mr_slice words[WORDS_MAX * 2])
{
	size_t count = 0, start = 0;
	if (!key.size) return 0;
	for (size_t i = 0; i <= key.size; i++) {
		if (i < key.size && key.data[i] != '.') continue;
		words[count++] = mr_slice_of(key.data + start, i - start);
		start = i + 1;
	}
	return count;
}

static struct mr_topic_node *child(const struct mr_topic_node *n, mr_slice word)
{
	if (is_star(word)) return n->star;
	if (is_hash(word)) return n->hash;
	return mr_map_get_named(&n->children, word);
}

static struct mr_topic_node *add_child(struct mr_topic_node *n, mr_slice word)
{
	struct mr_topic_node *c = child(n, word);
	if (c) return c;
	c = new_node(n, word);
	if (!c) return NULL;
	if (is_star(word)) {
		n->star = c;
	} else if (is_hash(word)) {
		n->hash = c;
	} else if (mr_map_put_named(&n->children, c) != MR_OK) {
		mr_free(c);
		return NULL;
	}
	return c;
}

static struct mr_topic_node *find(struct mr_topic_node *root, mr_slice pattern)
{
	mr_slice words[WORDS_MAX * 2];
	size_t count = split(pattern, words);
	for (size_t i = 0; root && i < count; i++) root = child(root, words[i]);
	return root;
}

/* Frees nodes without a leaf and without children, up to the root. */
static void prune(struct mr_topic_node **root, struct mr_topic_node *n)
{
	while (n && !n->leaf && !n->star && !n->hash && !n->children.count) {
		struct mr_topic_node *parent = n->parent;
		if (!parent)
			*root = NULL;
		else if (parent->star == n)
			parent->star = NULL;
		else if (parent->hash == n)
			parent->hash = NULL;
		else
			mr_map_take_named(&parent->children, word_of(n));
		mr_map_fini(&n->children);
		mr_free(n);
		n = parent;
	}
}

struct mr_leaf *mr_topic_find(struct mr_topic_node *root, mr_slice pattern)
{
	struct mr_topic_node *n = find(root, pattern);
	return n ? n->leaf : NULL;
}

struct mr_leaf *mr_topic_add(struct mr_topic_node **root, mr_slice pattern)
{
	mr_slice words[WORDS_MAX * 2];
	size_t count = split(pattern, words);
	if (!*root && !(*root = new_node(NULL, mr_slice_of("", 0)))) return NULL;
	struct mr_topic_node *n = *root;
	for (size_t i = 0; i < count; i++) {
		struct mr_topic_node *c = add_child(n, words[i]);
		if (!c) {
			prune(root, n);
			return NULL;
		}
		n = c;
	}
	if (n->leaf) return n->leaf;
	n->leaf = mr_calloc(1, sizeof *n->leaf + pattern.size);
	if (!n->leaf) {
		prune(root, n);
		return NULL;
	}
	mr_list_init(&n->leaf->head);
	n->leaf->size = (uint32_t)pattern.size;
	if (pattern.size) memcpy(n->leaf->key, pattern.data, pattern.size);
	return n->leaf;
}

void mr_topic_remove(struct mr_topic_node **root, mr_slice pattern)
{
	struct mr_topic_node *n = find(*root, pattern);
	if (!n) return;
	struct mr_leaf *leaf = n->leaf; /* it may hold the pattern itself */
	n->leaf = NULL;
	prune(root, n);
	mr_free(leaf);
}

void mr_topic_free(struct mr_topic_node *root)
{
	struct mr_topic_node *c;
	size_t at = 0;
	if (!root) return;
	while ((c = mr_map_next(&root->children, &at, NULL)))
		mr_topic_free(c); /* its depth is the number of words in a key */
	mr_topic_free(root->star);
	mr_topic_free(root->hash);
	mr_map_fini(&root->children);
	mr_free(root->leaf);
	mr_free(root);
}

/* ---- matching: all places in the tree that the words so far may have led to ---- */

struct places {
	struct mr_topic_node **nodes;
	size_t count, capacity;
	bool failed;
};

/* Adds a place, and the places that a following # reaches without a word. */
static void add_place(struct places *p, struct mr_topic_node *n, uint64_t step)
{
	for (; n && n->mark != step; n = n->hash) {
		if (p->count == p->capacity) {
			size_t capacity = p->capacity ? p->capacity * 2 : 32;
			struct mr_topic_node **nodes =
				mr_realloc(p->nodes, capacity * sizeof *nodes);
			if (!nodes) {
				p->failed = true;
				return;
			}
			p->nodes = nodes;
			p->capacity = capacity;
		}
		n->mark = step;
		p->nodes[p->count++] = n;
	}
}

static bool is_hash_node(const struct mr_topic_node *n)
{
	return n->parent && n->parent->hash == n;
}

static void advance(const struct places *from, struct places *to, mr_slice word, uint64_t step)
{
	to->count = 0;
	for (size_t i = 0; i < from->count; i++) {
		struct mr_topic_node *n = from->nodes[i];
		if (is_hash_node(n)) add_place(to, n, step); /* # matches the word, too */
		add_place(to, mr_map_get_named(&n->children, word), step);
		add_place(to, n->star, step);
	}
}

bool mr_topic_match(struct mr_topic_node *root, mr_slice key,
	void (*visit)(void *owner, struct mr_leaf *leaf), void *owner)
{
	static _Thread_local uint64_t steps; /* marks are compared for equality only */
	struct places here = {0}, next = {0};
	size_t at = 0, end;
	add_place(&here, root, ++steps);
	for (; key.size && at <= key.size && here.count;
		at = end + 1) { /* keys of CC may have any length */
		for (end = at; end < key.size && key.data[end] != '.'; end++) {}
		advance(&here, &next, mr_slice_of(key.data + at, end - at), ++steps);
		struct places swap = here;
		here = next;
		next = swap;
	}
	for (size_t i = 0; i < here.count; i++)
		if (here.nodes[i]->leaf) visit(owner, here.nodes[i]->leaf);
	bool ok = !here.failed && !next.failed;
	mr_free(here.nodes);
	mr_free(next.nodes);
	return ok;
}
