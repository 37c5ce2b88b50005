/* list: an intrusive doubly linked list; a node is in at most one list.
 * SPDX-License-Identifier: MIT
 * Any thread; owns nothing. A zeroed node is in no list; a head must be initialised. */
#ifndef MR_BASE_LIST_H
#define MR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct mr_node {
	struct mr_node *next, *prev;
};

#define mr_container(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void mr_list_init(struct mr_node *head) { head->next = head->prev = head; }
static inline bool mr_list_is_empty(const struct mr_node *head) { return head->next == head; }
static inline void mr_list_append(struct mr_node *head, struct mr_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}
static inline void mr_list_remove(struct mr_node *node) /* no-op if in no list */
{
	if (!node->next) return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = node->prev = NULL;
}
/* Moves all nodes of `from` to the end of `into`; if `into` is a node of a list, before that
 * node. */
static inline void mr_list_splice(struct mr_node *into, struct mr_node *from)
{
	if (mr_list_is_empty(from)) return;
	from->next->prev = into->prev;
	into->prev->next = from->next;
	from->prev->next = into;
	into->prev = from->prev;
	mr_list_init(from);
}
static inline struct mr_node *mr_list_shift(struct mr_node *head) /* NULL when empty */
{
	struct mr_node *node = head->next;
	if (node == head) return NULL;
	mr_list_remove(node);
	return node;
}

#endif
