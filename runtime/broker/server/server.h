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
enum mr_status mr_registry_acquire(mr_server **out, const char *name, mr_error *error);
/* Takes NULL. Waits for the thread, which waits for nobody. */
void mr_registry_release(mr_server *server);
/* The same, but waits for nobody: the thread frees all by itself. For the I/O thread. */
void mr_registry_release_later(mr_server *server);
const char *mr_server_url(const mr_server *server); /* "memory://name" */

/* Makes a connection: *fd is given, a non-blocking socket whose other end the broker serves. Never
 * blocks; for the I/O thread. */
enum mr_status mr_server_connect(mr_server *server, int *fd, mr_error *error);

/* What can be asked, and which arm of the call it fills. Each but the last three waits for the broker's
 * thread, which is a matter of microseconds. */
enum mr_server_what {
	MR_SERVER_LISTEN,    /* listen */
	MR_SERVER_ADD_USER,  /* user */
	MR_SERVER_ADD_VHOST, /* vhost */
	MR_SERVER_FAULT,     /* fault */
	MR_SERVER_REPORT,    /* report */
	MR_SERVER_CLOCK,     /* the clock was moved */
	MR_SERVER_ADOPT,     /* adopted; inside */
	MR_SERVER_STOP,      /* inside */
	MR_SERVER_LEAVE      /* inside */
};

/* `what` says which arm of the union is filled. What it points to is borrowed, except `adopted`. */
struct mr_server_call {
	enum mr_server_what what;
	int done;       /* eventfd, or -1: nobody waits for the answer; inside */
	mr_error error; /* the answer, of all that wait */
	union {
		struct {
			const char *address;
			const char *certfile; /* NULL: plain */
			const char *keyfile;  /* NULL: the key is in certfile */
			uint16_t port;        /* 0: any free one */
			uint16_t actual;      /* the answer */
		} listen;
		struct {
			mr_slice name, password;
		} user;
		mr_slice vhost; /* its name */
		struct {
			int kind; /* MR_FAULT_*: what the others mean */
			int64_t number;
			mr_slice text;
		} fault;
		mr_table *report; /* the answer: given */
		int adopted;      /* a connected socket: taken, and the call with it */
	};
};
enum mr_status mr_server_do(mr_server *server, struct mr_server_call *call);

/* Tells every broker of this process that the clock was moved. */
void mr_registry_clock(void);

#endif
