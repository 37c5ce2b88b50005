/* host_pages: pages of the host, which add to the built-in ones or replace them.
 * SPDX-License-Identifier: MIT
 * I/O thread. A request becomes an event; the host's answer arrives as a command. */
#ifndef MR_HEALTH_HOST_PAGES_H
#define MR_HEALTH_HOST_PAGES_H

#include "health/http.h"

struct mr_event_queue;

#define MR_HOST_PAGES_MAX 64

struct mr_host_pages { /* zeroed is empty and valid */
	struct mr_host_page {
		char *path;
		int audience; /* MR_PAGE_* */
	} pages[MR_HOST_PAGES_MAX];
	size_t count;
	uint64_t last; /* the number of the last request */
};

void mr_host_pages_fini(struct mr_host_pages *pages);
/* Adds a path, or removes it. Paths after the first 64 are not added. Takes the path. */
void mr_host_pages_set(struct mr_host_pages *pages, char *path, int audience, bool on);
/* True if there is such a page for one of these audiences: bits of 1 << MR_PAGE_*. */
bool mr_host_pages_have(const struct mr_host_pages *pages, mr_slice path, unsigned audiences);
/* True if so many requests wait for the host to poll that no other one may be sent. */
bool mr_host_pages_are_behind(const struct mr_host_pages *pages,
	const struct mr_event_queue *events);
/* Sends an MR_EV_PAGE to the host. Returns the request's number, 0 when out of memory. */
uint64_t mr_host_pages_ask(struct mr_host_pages *pages, struct mr_event_queue *events,
	const struct mr_httpd_request *request);
/* Appends the paths to an array, except those that it already has. */
void mr_host_pages_list(const struct mr_host_pages *pages, mr_table *array, unsigned audiences);

#endif
