/* http: a few pages by HTTP, on the I/O thread's own loop.
 * SPDX-License-Identifier: MIT
 * I/O thread. GET and HEAD only; a connection is for one request and lives a few seconds at most.
 * Knows nothing of what the pages say. */
#ifndef MR_HEALTH_HTTP_H
#define MR_HEALTH_HTTP_H

#include "base/buffer.h"

struct mr_httpd;
struct ev_loop;

struct mr_httpd_page {
	struct mr_buffer body; /* the server frees it */
	const char *type;      /* a literal */
};
/* Writes the page of a path; returns the status code. `verbose`: the query says so. */
typedef int mr_httpd_answer(void *owner, mr_slice path, bool verbose, struct mr_httpd_page *page);

/* Listens on an address literal; port 0: any, *actual says which. *gives*. Fails as mr_listen_open. */
enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, mr_httpd_answer *answer, void *owner, mr_error *error);
void mr_httpd_close(struct mr_httpd *http); /* takes NULL */

#endif
