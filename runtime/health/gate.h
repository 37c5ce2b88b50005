/* gate: decides who may see which pages of the public HTTP server, and who may change anything.
 * SPDX-License-Identifier: MIT
 * I/O thread; pure. */
#ifndef MR_HEALTH_GATE_H
#define MR_HEALTH_GATE_H

#include "health/request.h"

struct mr_gate {        /* zeroed is valid */
	int next_where; /* MR_SHOW_*; and the token, of the next server, if has_next; else as before */
	char *next_token;
	bool has_next;
	int where;
	char *token;               /* of those who may change things; NULL: nobody may */
	bool is_path, is_loopback; /* where the present server listens */
};

void mr_gate_fini(struct mr_gate *gate);
/* What holds from the next mr_gate_open or mr_gate_apply on. Takes the token. */
void mr_gate_set(struct mr_gate *gate, int where, char *token);
const char *mr_gate_next_token(const struct mr_gate *gate);
/* A server is opened at this address. */
void mr_gate_open(struct mr_gate *gate, const char *address);
/* The present server takes what was set. */
void mr_gate_apply(struct mr_gate *gate);
/* The present server shows the page for browsers, to some requests or all. */
bool mr_gate_is_open(const struct mr_gate *gate);
/* It shows it to this one. */
bool mr_gate_shows(const struct mr_gate *gate, const struct mr_httpd_request *request);
/* The audiences that a request belongs to, bits of 1 << MR_PAGE_*; 0: a POST request without the
 * token, or where the page is not shown. */
unsigned mr_gate_audiences(const struct mr_gate *gate, const struct mr_httpd_request *request);

#endif
