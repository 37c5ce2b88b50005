/* moonrabbit_testing.h: the embedded broker and its faults, the clock, the allocator; for tests.
 * SPDX-License-Identifier: MIT
 *
 * Installed beside moonrabbit.h; the conventions of that file apply here, too (threads, statuses,
 * ownership, units). `moonrabbit broker` and Lua's mr.testing use these functions. */
#ifndef MOONRABBIT_TESTING_H
#define MOONRABBIT_TESTING_H

#include "moonrabbit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lua's FFI declares the text between the two `ffi` marks, after the one of moonrabbit.h. */
/* ffi: begin */

/* ---- the embedded broker ------------------------------------------------------------------ */

/* A RabbitMQ-compatible broker on a thread of this process, for development and tests. A connection
 * with a memory:// URL starts one by itself. With a handle, a program makes the broker listen on
 * TCP, inspects it and injects faults. Each call waits for the broker's thread: a few microseconds.
 */
typedef struct mr_server mr_server;

/* *Gives* a handle to the broker of "memory://NAME" in this process; starts the broker if it does
 * not run. The name must not be empty (MR_BAD_ARGUMENT). The broker runs while it has a handle or a
 * connection. A redis:// URL as its name: the messages are kept there (docs/redis.md). */
MR_API int mr_server_open(mr_server **out, const char *name, mr_error *error);
MR_API void mr_server_close(mr_server *server); /* NULL is allowed */
/* Serves TCP on an address literal; port 0: any free port, *actual receives it. With `certfile`
 * (PEM) and `keyfile` (NULL: the key is in certfile) it serves TLS. Before it serves on an address
 * that is not loopback, a user must be added; from then on the user guest cannot log in. */
MR_API int mr_server_listen(mr_server *server, const char *address, uint16_t port,
	const char *certfile, const char *keyfile, uint16_t *actual, mr_error *error);
MR_API int mr_server_add_user(mr_server *server, const char *name, const char *password);
MR_API int mr_server_add_vhost(mr_server *server, const char *name);
/* *Gives* a table of its connections, queues, exchanges and memory, or NULL: out of memory. */
MR_API mr_table *mr_server_report(mr_server *server);
/* Writes the lines that wait about the Redis that keeps its messages to the runtime's log. A runtime with a connection to the
 * broker does so by itself. */
MR_API void mr_server_log(mr_server *server, mr_runtime *rt);

/* ---- faults ------------------------------------------------------------------------------- */

enum mr_fault {                    /* the effect, and the meaning of `number` and `text` */
	MR_FAULT_DELAY,            /* bytes to clients are delayed by this many ms; 0: none */
	MR_FAULT_DROP,             /* every connection is cut, without a close handshake */
	MR_FAULT_CUT_AFTER,        /* a client is cut off after this many bytes to it; -1: never */
	MR_FAULT_SILENT,           /* 1: nothing is read or written; 0: the broker goes on */
	MR_FAULT_REFUSE_LOGINS,    /* 1: every login fails */
	MR_FAULT_BLOCK,            /* 1: publishers are blocked (connection.blocked) */
	MR_FAULT_CLOSE,            /* connection.close with this code and text, to all */
	MR_FAULT_FAIL_DECLARE,     /* the next declare fails with this code and text */
	MR_FAULT_PAUSE_DELIVERIES, /* 1: consumers get nothing */
	MR_FAULT_WATERMARK, /* publishers are blocked above this many bytes of messages; 0: never */
	MR_FAULT_UNLISTEN   /* its ports are closed; existing connections stay */
};
/* Injects a fault. `text` may be NULL. MR_BAD_ARGUMENT: unknown fault. */
MR_API int mr_server_fault(mr_server *server, int fault, int64_t number, const char *text);

/* ---- clock -------------------------------------------------------------------------------- */

/* Advances the clock of the whole process by `seconds`: mr_now, deadlines, heartbeats and TTLs of
 * clients and embedded brokers. The runtime's I/O thread and every embedded broker then do what has
 * become due; MR_EV_DONE with `token` (0: none) reports that they have done it. */
MR_API int mr_clock_advance(mr_runtime *rt, uint64_t token, double seconds);

/* The reads, writes and connections of all embedded brokers of the process until the last
 * mr_clock_advance. If an advance of 0 leaves it the same, brokers and clients have said all that
 * they had to say: only then a test advances further, or a busy machine decides what is late. */
MR_API uint64_t mr_clock_traffic(const mr_runtime *rt);

/* ---- leading ------------------------------------------------------------------------------ */

/* A host that has quick answers runs the I/O loop in its polls (docs/decisions/0030). What is quick
 * takes `factor` times as long from now on, from 1 to 10000: for a tool or a machine with slow
 * system calls. MR_BAD_ARGUMENT: another factor. */
MR_API int mr_lead_patience(mr_runtime *rt, unsigned factor);

/* ---- allocator ---------------------------------------------------------------------------- */

/* Sets the allocator of the whole process; call it before any other function of the library. The
 * library calls `resize` like realloc, from any thread, never with size 0, and `release` like free.
 * Both NULL: the C library's allocator. MR_BAD_ARGUMENT: only one is NULL. */
MR_API int mr_set_allocator(void *(*resize)(void *, size_t), void (*release)(void *));

/* ffi: end */
#ifdef __cplusplus
}
#endif
#endif
