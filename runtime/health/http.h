/* http: a few pages by HTTP, on the I/O thread's own loop.
 * SPDX-License-Identifier: MIT
 * I/O thread. GET and HEAD only; a connection is for one request and lives a few seconds at most.
 * Knows nothing of what the pages say. */
#ifndef MR_HEALTH_HTTP_H
#define MR_HEALTH_HTTP_H

#include "base/buffer.h"
#include "moonrabbit.h"

struct mr_httpd;
struct ev_loop;
struct MHD_Connection;

struct mr_httpd_request { /* valid until the answer function returns */
	mr_slice path;
	bool verbose; /* the query says so */
	struct MHD_Connection *connection;
};
struct mr_httpd_page {
	struct mr_buffer body; /* the server frees it */
	const char *type;      /* a literal */
	uint64_t number;       /* with MR_HTTPD_LATER: not 0, for mr_httpd_reply */
};
#define MR_HTTPD_LATER 0
/* Writes the page of a path and returns the status code; or returns MR_HTTPD_LATER: mr_httpd_reply answers. */
typedef int mr_httpd_answer(void *owner, const struct mr_httpd_request *request,
	struct mr_httpd_page *page);

/* Adds the query's arguments as strings. */
void mr_httpd_query(const struct mr_httpd_request *request, mr_table *into);
/* Answers a request that waits; after 5 s the server has answered it with 503. Copies. Does nothing when no
 * request has that number. `http` may be NULL. */
void mr_httpd_reply(struct mr_httpd *http, uint64_t number, unsigned code, const char *type,
	mr_slice body);

/* Listens on an address literal; port 0: any, *actual says which. *gives*. Fails as mr_listen_open. */
enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, mr_httpd_answer *answer, void *owner, mr_error *error);
void mr_httpd_close(struct mr_httpd *http); /* takes NULL */

#endif
