/* http: serves a few pages by HTTP, in the I/O thread's loop.
 * SPDX-License-Identifier: MIT
 * I/O thread. GET and HEAD only; a connection serves one request and lives for a few seconds at
 * most. Does not know the content of the pages. */
#ifndef MR_HEALTH_HTTP_H
#define MR_HEALTH_HTTP_H

#include "base/buffer.h"
#include "moonrabbit.h"

struct mr_httpd;
struct ev_loop;
struct MHD_Connection;

struct mr_httpd_request { /* valid until the answer function returns */
	mr_slice path;
	bool verbose; /* the query has "verbose" */
	struct MHD_Connection *connection;
};
struct mr_httpd_page {
	struct mr_buffer body; /* the server frees it */
	const char *type;      /* a literal */
	uint64_t number;       /* with MR_HTTPD_LATER: for mr_httpd_reply, not 0 */
};
#define MR_HTTPD_LATER 0
/* Writes the page of a path and returns the status code, or returns MR_HTTPD_LATER: then
 * mr_httpd_reply must answer. */
typedef int mr_httpd_answer(void *owner, const struct mr_httpd_request *request,
	struct mr_httpd_page *page);

/* Adds the query's arguments as strings. */
void mr_httpd_query(const struct mr_httpd_request *request, mr_table *into);
/* Answers a waiting request; the server answers it with 503 after 5 s. Copies the body. Does
 * nothing if no request with this number waits. `http` may be NULL. */
void mr_httpd_reply(struct mr_httpd *http, uint64_t number, unsigned code, const char *type,
	mr_slice body);

/* Listens on an address literal; port 0: any, *actual receives it. *gives*. Fails like
 * mr_listen_open. */
enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, mr_httpd_answer *answer, void *owner, mr_error *error);
void mr_httpd_close(struct mr_httpd *http); /* NULL is allowed */

#endif
