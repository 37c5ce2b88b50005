/* tls_context: what a TLS stream is made from: certificates, keys, whom to trust.
 * SPDX-License-Identifier: MIT
 * One thread at a time, unless said otherwise. */
#ifndef MR_NET_TLS_CONTEXT_H
#define MR_NET_TLS_CONTEXT_H

#include "base/list.h"
#include "base/status.h"
#include "net/tls_options.h"

/* Any thread, before the I/O thread needs them: reads the system's CAs, which takes 37 ms, once in a process. */
void mr_tls_context_warm(void);

struct mr_tls_context; /* files read and checked; may be used for many streams of one thread */
/* MR_TLS_FAILED: a file that is missing, unreadable or not PEM, a key that does not fit, or that is encrypted
 * with another password or without one; named in `error`. Never asks on the terminal. */
enum mr_status mr_tls_context_open(struct mr_tls_context **out,
	const struct mr_tls_options *options, mr_error *error);
void mr_tls_context_close(struct mr_tls_context *context); /* one use less; takes NULL */

struct mr_tls_store { /* the contexts of a thread */
	struct mr_node contexts;
};
void mr_tls_store_init(struct mr_tls_store *store);
void mr_tls_store_fini(
	struct mr_tls_store *store); /* takes a zeroed one; nothing is in use any more */
/* The context of these options, to be closed; made when there is none, or when its files have changed since. */
enum mr_status mr_tls_store_get(struct mr_tls_store *store, const struct mr_tls_options *options,
	struct mr_tls_context **out, mr_error *error);

#endif
