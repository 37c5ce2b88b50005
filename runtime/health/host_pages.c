/* host_pages: pages of the host, which add to the built-in ones or replace them.
 * SPDX-License-Identifier: MIT */
#include "health/host_pages.h"

#include <string.h>

#include "base/alloc.h"
#include "base/value.h"
#include "io/event_queue.h"

#define WAITING_MAX 64 /* the maximum number of visitors; requests of former visitors count, too */

/* Returns its index, or `count` if there is none. */
static size_t find(const struct mr_host_pages *pages, mr_slice path)
{
	size_t i = 0;
	while (i < pages->count && !mr_slice_equal(mr_slice_str(pages->paths[i]), path)) i++;
	return i;
}

void mr_host_pages_fini(struct mr_host_pages *pages)
{
	while (pages->count) mr_free(pages->paths[--pages->count]);
}

void mr_host_pages_set(struct mr_host_pages *pages, char *path, bool on)
{
	size_t i = find(pages, mr_slice_str(path));
	bool is_there = i < pages->count;
	if (on && !is_there && pages->count < MR_HOST_PAGES_MAX) {
		pages->paths[pages->count++] = path;
		return;
	}
	if (!on && is_there) {
		mr_free(pages->paths[i]);
		pages->count--;
		memmove(pages->paths + i, pages->paths + i + 1,
			(pages->count - i) * sizeof *pages->paths);
	}
	mr_free(path);
}

bool mr_host_pages_have(const struct mr_host_pages *pages, mr_slice path)
{
	return find(pages, path) < pages->count;
}

bool mr_host_pages_are_behind(const struct mr_host_pages *pages,
	const struct mr_event_queue *events)
{
	return pages->last - atomic_load_explicit(&events->bridge->page, memory_order_relaxed) >=
	       WAITING_MAX;
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
	mr_event ev = {.type = MR_EV_PAGE, .as.page = {pages->last + 1, table}};
	uint64_t dropped = events->dropped;
	mr_event_queue_push(events, &ev);
	if (events->dropped != dropped) return 0; /* it would never stop counting as waiting */
	return ++pages->last;
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
	for (size_t i = 0; i < pages->count; i++)
		if (!has(array, pages->paths[i]))
			mr_table_add_string(array, "", mr_slice_str(pages->paths[i]));
}
