/* server_properties: what brokers say of themselves, once for all connections that were told the same.
 * SPDX-License-Identifier: MIT */
#include "api/server_properties.h"

#include "base/alloc.h"
#include "base/compare.h"

/* To the last detail, as C code sees them: mr_table_same takes 1 for 1.0, and any order. */
static bool is_same(const mr_table *a, const mr_table *b)
{
	if (a->count != b->count) return false;
	for (uint32_t i = 0; i < a->count; i++) {
		const mr_field *x = &a->fields[i], *y = &b->fields[i];
		bool is_nest = x->value.type == 'F' || x->value.type == 'A';
		if (x->value.type != y->value.type || !mr_slice_equal(x->key, y->key)) return false;
		if (is_nest ? !is_same(x->value.as.nested, y->value.as.nested)
			    : !mr_value_same(&x->value, &y->value))
			return false;
	}
	return true;
}

static struct mr_server_properties *find(const struct mr_node *list, const mr_table *table)
{
	for (struct mr_node *n = list->next; n != list; n = n->next) {
		struct mr_server_properties *p = mr_container(n, struct mr_server_properties, node);
		if (is_same(p->table, table)) return p;
	}
	return NULL;
}

/* Takes the table. */
static struct mr_server_properties *add(struct mr_node *list, mr_table *table)
{
	struct mr_server_properties *p = mr_calloc(1, sizeof *p);
	/* A copy takes a third of what the decoder left. */
	mr_table *small = p ? mr_table_copy(table) : NULL;
	if (small || !p) mr_table_free(table);
	if (!p) return NULL;
	p->table = small ? small : table;
	mr_list_append(list, &p->node);
	return p;
}

struct mr_server_properties *mr_server_properties_share(struct mr_node *list, mr_table *table)
{
	struct mr_server_properties *p = table ? find(list, table) : NULL;
	if (p)
		mr_table_free(table);
	else if (table)
		p = add(list, table);
	if (p) p->users++;
	return p;
}

void mr_server_properties_release(struct mr_server_properties *p)
{
	if (!p || --p->users) return;
	mr_list_remove(&p->node);
	mr_table_free(p->table);
	mr_free(p);
}
