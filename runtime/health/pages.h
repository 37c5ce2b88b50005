/* pages: the HTTP servers of a runtime: the public one, and the console's, which serves more.
 * SPDX-License-Identifier: MIT
 * I/O thread. The pages are built-in ones, which are right while the host is stuck, and the host's. */
#ifndef MR_HEALTH_PAGES_H
#define MR_HEALTH_PAGES_H

#include "health/gate.h"
#include "health/host_pages.h"
#include "health/rates.h"

struct mr_httpd;
struct mr_local_socket;

struct mr_pages {
	struct mr_health_state *health;
	struct mr_httpd *http, *console;
	struct mr_local_socket *socket; /* of the console */
	struct mr_host_pages host_pages;
	struct mr_gate gate;   /* of the public server */
	struct mr_rates rates; /* since a server first showed the page for browsers */
};

void mr_pages_init(struct mr_pages *p, struct mr_health_state *health);
void mr_pages_close(struct mr_pages *p); /* closes the servers, before the thread ends */
void mr_pages_fini(struct mr_pages *p);  /* `p` may be zeroed */
/* Does a command of enum mr_health_command that is about pages; false: it is not. */
bool mr_pages_obey(struct mr_pages *p, const struct mr_command *command);

#endif
