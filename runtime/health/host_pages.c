/* host_pages: the pages that the host serves, beside the built-in ones or in their place.
 * SPDX-License-Identifier: MIT */
#include "health/host_pages.h"

#include <string.h>

#include "base/alloc.h"
#include "base/value.h"
#include "io/event_queue.h"

#define PAGES_MAX 64

struct page {
	struct mr_node node;
	char path[];
};

static struct page *find(const struct mr_host_pages *pages, mr_slice path)
{
	for (struct mr_node *n = pages->list.next; n != &pages->list; n = n->next) {
		struct page *p = mr_container(n, struct page, node);
		if (mr_slice_equal(mr_slice_str(p->path), path)) return p;
	}
	return NULL;
}

void mr_host_pages_init(struct mr_host_pages *pages)
{
	*pages = (struct mr_host_pages){0};
	mr_list_init(&pages->list);
}

void mr_host_pages_fini(struct mr_host_pages *pages)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&pages->list))) mr_free(mr_container(node, struct page, node));
	pages->count = 0;
}

void mr_host_pages_set(struct mr_host_pages *pages, const char *path, bool on)
{
	struct page *p = find(pages, mr_slice_str(path));
	if (p && !on) {
		mr_list_remove(&p->node);
		mr_free(p);
		pages->count--;
	}
	if (p || !on || pages->count >= PAGES_MAX) return;
	size_t size = strlen(path) + 1;
	p = mr_calloc(1, sizeof *p + size);
	if (!p) return;
	memcpy(p->path, path, size);
	mr_list_append(&pages->list, &p->node);
	pages->count++;
}

bool mr_host_pages_have(const struct mr_host_pages *pages, mr_slice path)
{
	return find(pages, path) != NULL;
}

uint64_t mr_host_pages_ask(struct mr_host_pages *pages, struct mr_event_queue *events,
	const struct mr_httpd_request *request)
{
	mr_table *table = mr_table_new(), *query = NULL;
	if (table && mr_table_add_string(table, "path", request->path) == MR_OK)
		query = mr_table_nest(table, "query", strlen("query"), 'F');
	if (!query) {
		mr_table_free(table);
		return 0;
	}
	mr_httpd_query(request, query);
	mr_event ev = {.type = MR_EV_PAGE, .token = ++pages->last, .data.table = table};
	mr_event_queue_push(events, &ev);
	return pages->last;
}

static bool has(const mr_table *array, const char *path)
{
	for (uint32_t i = 0; i < array->count; i++) {
		mr_bytes b = array->fields[i].value.as.bytes;
		if (mr_slice_equal(mr_slice_of(b.data, b.size), mr_slice_str(path))) return true;
	}
	return false;
}

void mr_host_pages_list(const struct mr_host_pages *pages, mr_table *array)
{
	for (struct mr_node *n = pages->list.next; n != &pages->list; n = n->next) {
		struct page *p = mr_container(n, struct page, node);
		if (!has(array, p->path)) mr_table_add_string(array, "", mr_slice_str(p->path));
	}
}
