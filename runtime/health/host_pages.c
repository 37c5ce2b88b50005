/* host_pages: pages of the host, which add to the built-in ones or replace them.
 * SPDX-License-Identifier: MIT */
#include "health/host_pages.h"

#include <string.h>

#include "base/alloc.h"
#include "health/fields.h"
#include "io/event_queue.h"

#define WAITING_MAX 64 /* the maximum number of visitors; requests of former visitors count, too */

/* Returns its index, or `count` if there is none. */
static size_t find(const struct mr_host_pages *pages, mr_slice path, int audience)
{
	size_t i = 0;
	while (i < pages->count &&
		(pages->pages[i].audience != audience ||
			!mr_slice_equal(mr_slice_str(pages->pages[i].path), path)))
		i++;
	return i;
}

void mr_host_pages_fini(struct mr_host_pages *pages)
{
	while (pages->count) mr_free(pages->pages[--pages->count].path);
}

void mr_host_pages_set(struct mr_host_pages *pages, char *path, int audience, bool on)
{
	size_t i = find(pages, mr_slice_str(path), audience);
	bool is_there = i < pages->count;
	if (on && !is_there && pages->count < MR_HOST_PAGES_MAX) {
		pages->pages[pages->count++] = (struct mr_host_page){path, audience};
		return;
	}
	if (!on && is_there) {
		mr_free(pages->pages[i].path);
		pages->count--;
		memmove(pages->pages + i, pages->pages + i + 1,
			(pages->count - i) * sizeof *pages->pages);
	}
	mr_free(path);
}

bool mr_host_pages_have(const struct mr_host_pages *pages, mr_slice path, unsigned audiences)
{
	for (int i = MR_PAGE_ALL; i <= MR_PAGE_ADMINS; i++)
		if (audiences >> i & 1 && find(pages, path, i) < pages->count) return true;
	return false;
}

bool mr_host_pages_are_behind(const struct mr_host_pages *pages,
	const struct mr_event_queue *events)
{
	return pages->last - atomic_load_explicit(&events->bridge->page, memory_order_relaxed) >=
	       WAITING_MAX;
}

static void tell_client(mr_table *table, const struct mr_httpd_request *request)
{
	if (request->is_post) mr_table_add_string(table, "body", request->body);
	mr_fields_count(table, "uid", request->uid);
	mr_fields_count(table, "pid", request->pid);
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
	if (request->is_private) tell_client(table, request);
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

void mr_host_pages_list(const struct mr_host_pages *pages, mr_table *array, unsigned audiences)
{
	for (size_t i = 0; i < pages->count; i++) {
		const struct mr_host_page *page = &pages->pages[i];
		if (audiences >> page->audience & 1 && !has(array, page->path))
			mr_table_add_string(array, "", mr_slice_str(page->path));
	}
}
