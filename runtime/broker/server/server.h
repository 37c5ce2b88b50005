/* server: the embedded broker as others see it: a thread that serves connections.
 * SPDX-License-Identifier: MIT
 * Any thread but its own, unless said otherwise. The only header of broker/ that others include. */
#ifndef MR_BROKER_SERVER_SERVER_H
#define MR_BROKER_SERVER_SERVER_H

#include "base/clock.h"
#include "base/status.h"
#include "base/value.h"
#include "moonrabbit_testing.h"

/* The broker of that name in this process, which is started when there is none; "" is nobody else's.
 * Each acquire wants a release; the last one ends the thread and frees all. */
enum mr_status mr_server_acquire(mr_server **out, const char *name, mr_error *error);
/* Takes NULL. Waits for the thread, which waits for nobody. */
void mr_server_release(mr_server *server);
/* The same, but waits for nobody: the thread frees all by itself. For the I/O thread. */
void mr_server_release_later(mr_server *server);
const char *mr_server_url(const mr_server *server); /* "memory://name" */

/* Makes a connection: *fd is given, a non-blocking socket whose other end the broker serves. Never
 * blocks; for the I/O thread. */
enum mr_status mr_server_connect(mr_server *server, int *fd, mr_error *error);

/* What can be asked; each waits for the broker's thread, which is a matter of microseconds. */
enum mr_server_what {
	MR_SERVER_LISTEN,
	MR_SERVER_ADD_USER,
	MR_SERVER_ADD_VHOST,
	MR_SERVER_FAULT, /* number: enum mr_fault */
	MR_SERVER_REPORT,
	MR_SERVER_CLOCK, /* the clock was moved */
	MR_SERVER_ADOPT, /* inside */
	MR_SERVER_STOP,  /* inside */
	MR_SERVER_LEAVE  /* inside */
};

struct mr_server_call {
	enum mr_server_what what;
	int32_t fault;
	int64_t number;
	mr_slice text, more; /* address, name, reply text; password, key file */
	const char *certfile, *keyfile;
	uint16_t port;    /* of listen: wanted, then actual */
	mr_table *report; /* given */
	mr_error error;
	int done; /* eventfd, or -1: nobody waits for the answer; inside */
};
enum mr_status mr_server_do(mr_server *server, struct mr_server_call *call);

/* Tells every broker of this process that the clock was moved. */
void mr_servers_clock(void);

#endif
