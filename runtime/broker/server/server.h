/* server: the interface of the embedded broker: a thread that serves connections.
 * SPDX-License-Identifier: MIT
 * Any thread except its own, unless a comment says otherwise. The only header of broker/ that
 * others include. */
#ifndef MR_BROKER_SERVER_SERVER_H
#define MR_BROKER_SERVER_SERVER_H

#include "base/clock.h"
#include "base/status.h"
#include "base/value.h"
#include "moonrabbit_testing.h"

/* The broker of this name in this process, started if there is none; "": a new one that is not
 * shared. Each acquire needs a release; the last release ends the thread and frees the broker. */
enum mr_status mr_registry_acquire(mr_server **out, const char *name, mr_error *error);
/* NULL is allowed. Waits for the thread, which never blocks. */
void mr_registry_release(mr_server *server);
/* The same, but does not wait: the thread frees the broker. For the I/O thread. */
void mr_registry_release_later(mr_server *server);
const char *mr_server_url(const mr_server *server); /* "memory://name" */
struct mr_notices;
/* What is known of the Redis that keeps its messages, for who holds the server; NULL: they are kept here. */
struct mr_notices *mr_server_notices(const mr_server *server);

/* Makes a connection: *gives* *fd, a non-blocking socket whose other end the broker serves. Never
 * blocks; for the I/O thread. */
enum mr_status mr_server_connect(mr_server *server, int *fd, mr_error *error);

/* The calls; each waits a few microseconds for the broker's thread. */
enum mr_server_what {
	MR_SERVER_LISTEN,
	MR_SERVER_ADD_USER,
	MR_SERVER_ADD_VHOST,
	MR_SERVER_FAULT, /* number: enum mr_fault */
	MR_SERVER_REPORT,
	MR_SERVER_CLOCK, /* the clock was advanced; answers `traffic` */
	MR_SERVER_ADOPT, /* internal */
	MR_SERVER_STOP,  /* internal */
	MR_SERVER_LEAVE  /* internal */
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
		uint64_t traffic; /* the answer: reads, writes and connections so far */
		int adopted;      /* a connected socket: taken, and the call with it */
	};
};
enum mr_status mr_server_do(mr_server *server, struct mr_server_call *call);

/* Informs every broker of this process that the clock was advanced; the sum of their traffic. */
uint64_t mr_registry_clock(void);

#endif
