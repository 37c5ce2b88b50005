/* entry: a message's place in a queue.
 * SPDX-License-Identifier: MIT */
#include "broker/store/entry.h"

#include "base/alloc.h"
#include "broker/store/backing.h"

static void free_entry(struct mr_store *s, struct mr_entry *e)
{
	if (e->taken) s->backing->class->done(s->backing, e->taken);
	s->work++;
	mr_store_shrank(s, sizeof *e);
	mr_store_drop(s, e->message);
	mr_free(e);
}

void mr_entry_discard(struct mr_store *s, struct mr_entry *e)
{
	if (e->taken) s->backing->class->done(s->backing, e->taken);
	e->taken = NULL;
	if (mr_store_is_spent(s))
		mr_list_append(&s->garbage, &e->node);
	else
		free_entry(s, e);
}

void mr_entry_sweep(struct mr_store *s)
{
	while (!mr_list_is_empty(&s->garbage) && !mr_store_is_spent(s))
		free_entry(s, mr_container(mr_list_shift(&s->garbage), struct mr_entry, node));
}
