/* request: what an HTTP server allows, gets from a client, and answers.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_REQUEST_H
#define MR_HEALTH_REQUEST_H

#include "base/buffer.h"
#include "moonrabbit.h"

struct MHD_Connection;

/* What a server allows. */
struct mr_httpd_rules {
	unsigned clients; /* at the same time, at most 64 */
	size_t body_max;  /* of a POST request; 0: GET and HEAD only */
	double patience;  /* s until a later answer must be there; 0: as long as the client waits */
	bool is_private;  /* a Unix socket for this user and root only */
};

struct mr_httpd_request { /* valid until the answer function returns */
	mr_slice path;
	mr_slice host, authorization; /* these headers; empty: it has none */
	mr_slice body;                /* of a POST request */
	bool is_post;
	bool is_forwarded; /* a proxy has passed it on */
	bool verbose;      /* the query has "verbose" */
	bool is_private;   /* by a private server; then: */
	uint32_t uid, pid; /* of the client */
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
/* A private server's client has left before its later answer: nobody waits for it. */
typedef void mr_httpd_left(void *owner, uint64_t number);

struct mr_httpd_owner {
	void *self;
	mr_httpd_answer *answer;
	mr_httpd_left *left; /* for a private server */
};

#endif
