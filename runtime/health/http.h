/* http: serves a few pages by HTTP, in the I/O thread's loop.
 * SPDX-License-Identifier: MIT
 * I/O thread. A connection serves one request. Does not know the content of the pages. */
#ifndef MR_HEALTH_HTTP_H
#define MR_HEALTH_HTTP_H

#include "health/request.h"

struct mr_httpd;
struct mr_pipe;
struct ev_loop;

extern const struct mr_httpd_rules mr_httpd_public, mr_httpd_admin, mr_httpd_console;

/* Adds the query's arguments as strings. */
void mr_httpd_query(const struct mr_httpd_request *request, mr_table *into);
/* True if the query has this argument; *value receives its number, or 0. */
bool mr_httpd_asks(const struct mr_httpd_request *request, const char *name, uint64_t *value);
/* Answers a waiting request; the server itself answers it with 503 when its patience ends. Copies
 * the body. Does nothing if no request with this number waits. `http` may be NULL. */
void mr_httpd_reply(struct mr_httpd *http, uint64_t number, unsigned code, const char *type,
	mr_slice body);
/* The same with a body that comes through a pipe, which it takes, until its end. */
void mr_httpd_stream(struct mr_httpd *http, uint64_t number, const char *type,
	struct mr_pipe *pipe);
/* The pipe of its answer has bytes, or has ended. */
void mr_httpd_flow(struct mr_httpd *http, uint64_t number);

/* Listens on an address literal or at a path; port 0: any, *actual receives it. `rules` must stay.
 * *gives*. Fails like mr_listen_open. */
enum mr_status mr_httpd_open(struct mr_httpd **out, struct ev_loop *loop, const char *address,
	uint16_t port, uint16_t *actual, const struct mr_httpd_rules *rules,
	const struct mr_httpd_owner *owner, mr_error *error);
/* The same with a socket that listens already; takes its descriptor, also if it fails. */
enum mr_status mr_httpd_serve(struct mr_httpd **out, struct ev_loop *loop, int listener,
	const struct mr_httpd_rules *rules, const struct mr_httpd_owner *owner, mr_error *error);
/* From the next request on; both are public. */
void mr_httpd_rule(struct mr_httpd *http, const struct mr_httpd_rules *rules);
void mr_httpd_close(struct mr_httpd *http); /* NULL is allowed */

#endif
