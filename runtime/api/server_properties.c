/* server_properties: what brokers say of themselves, once for all connections that were told the same.
 * SPDX-License-Identifier: MIT */
#include "api/server_properties.h"

#include "base/alloc.h"
#include "base/compare.h"

static struct mr_server_properties *find(const struct mr_node *list, const mr_table *table)
{
	for (struct mr_node *n = list->next; n != list; n = n->next) {
		struct mr_server_properties *p = mr_container(n, struct mr_server_properties, node);
		if (mr_table_same(p->table, table)) return p;
	}
	return NULL;
}

static struct mr_server_properties *add(struct mr_node *list, const mr_table *table)
{
	struct mr_server_properties *p = mr_calloc(1, sizeof *p);
	/* A copy takes a third of what the decoder left. */
	if (p) p->table = mr_table_copy(table);
	if (p && p->table) {
		mr_list_append(list, &p->node);
		return p;
	}
	mr_free(p);
	return NULL;
}

struct mr_server_properties *mr_server_properties_share(struct mr_node *list, mr_table *table)
{
	struct mr_server_properties *p = table ? find(list, table) : NULL;
	if (table && !p) p = add(list, table);
	if (p) p->users++;
	mr_table_free(table);
	return p;
}

void mr_server_properties_release(struct mr_server_properties *p)
{
	if (!p || --p->users) return;
	mr_list_remove(&p->node);
	mr_table_free(p->table);
	mr_free(p);
}
