/* moonrabbit_testing.h: the embedded broker and its faults, the clock, the allocator; for tests.
 * SPDX-License-Identifier: MIT
 *
 * Installed beside moonrabbit.h, whose conventions hold here: threads, statuses, owners, units.
 * `moonrabbit broker` and Lua's mr.testing are made of these functions. */
#ifndef MOONRABBIT_TESTING_H
#define MOONRABBIT_TESTING_H

#include "moonrabbit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The text between the two `ffi` marks is also what Lua's FFI declares, after that of moonrabbit.h. */
/* ffi: begin */

/* ---- the embedded broker ------------------------------------------------------------------ */

/* A RabbitMQ-compatible broker on a thread of this process, for development and tests. A connection
 * with a memory:// URL starts one by itself. A handle makes it listen on TCP, looks into it, and makes
 * things go wrong. Each call waits for the broker's thread: some microseconds. */
typedef struct mr_server mr_server;

/* *Gives* a handle to the broker that "memory://NAME" means in this process, started when there is
 * none. The name may not be empty (MR_BAD_ARGUMENT). The broker lives as long as a handle of it or a
 * connection to its URL. */
MR_API int mr_server_open(mr_server **out, const char *name, mr_error *error);
MR_API void mr_server_close(mr_server *server); /* takes NULL */
/* Serves TCP on an address literal; port 0: any free one, *actual receives it. With `certfile` (PEM)
 * and `keyfile` (NULL: the key is in certfile) it serves TLS. Beyond loopback a user must have been
 * added first, and guest may not log in. */
MR_API int mr_server_listen(mr_server *server, const char *address, uint16_t port,
	const char *certfile, const char *keyfile, uint16_t *actual, mr_error *error);
MR_API int mr_server_add_user(mr_server *server, const char *name, const char *password);
MR_API int mr_server_add_vhost(mr_server *server, const char *name);
/* *Gives* a table of its connections, queues, exchanges and memory, or NULL: out of memory. */
MR_API mr_table *mr_server_report(mr_server *server);

/* ---- faults ------------------------------------------------------------------------------- */

enum mr_fault {                    /* what `number` and `text` mean */
	MR_FAULT_DELAY,            /* ms that bytes to clients are held back; 0: none */
	MR_FAULT_DROP,             /* every connection is cut, without a close handshake */
	MR_FAULT_CUT_AFTER,        /* bytes to each client after which it is cut off; -1: never */
	MR_FAULT_SILENT,           /* 1: nothing is read or written; 0: it goes on */
	MR_FAULT_REFUSE_LOGINS,    /* 1: every login fails */
	MR_FAULT_BLOCK,            /* 1: publishers are blocked (connection.blocked) */
	MR_FAULT_CLOSE,            /* connection.close with this code and text, to all */
	MR_FAULT_FAIL_DECLARE,     /* the next declare fails with this code and text */
	MR_FAULT_PAUSE_DELIVERIES, /* 1: consumers get nothing */
	MR_FAULT_WATERMARK, /* bytes of messages above which publishers are blocked; 0: never */
	MR_FAULT_UNLISTEN   /* its ports are closed; existing connections stay */
};
/* Makes one thing go wrong. `text` may be NULL. MR_BAD_ARGUMENT: no such fault. */
MR_API int mr_server_fault(mr_server *server, int fault, int64_t number, const char *text);

/* ---- clock -------------------------------------------------------------------------------- */

/* Moves the clock of the whole process `seconds` ahead: mr_now, deadlines, heartbeats and times to
 * live, of clients and embedded brokers alike. The runtime's I/O thread and every embedded broker do
 * what is due by then; MR_EV_DONE with `token` (0: none) tells that they have. */
MR_API int mr_clock_advance(mr_runtime *rt, uint64_t token, double seconds);

/* ---- allocator ---------------------------------------------------------------------------- */

/* Sets the allocator of the whole process; call it before anything else of the library. `resize` is
 * called as realloc, on every thread, never with size 0; `release` as free. Both NULL: the C
 * library's. MR_BAD_ARGUMENT: only one is NULL. */
MR_API int mr_set_allocator(void *(*resize)(void *, size_t), void (*release)(void *));

/* ffi: end */
#ifdef __cplusplus
}
#endif
#endif
