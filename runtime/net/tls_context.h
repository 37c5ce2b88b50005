/* tls_context: certificates, keys and trusted CAs for TLS streams.
 * SPDX-License-Identifier: MIT
 * One thread at a time, unless said otherwise. */
#ifndef MR_NET_TLS_CONTEXT_H
#define MR_NET_TLS_CONTEXT_H

#include "base/list.h"
#include "base/status.h"
#include "net/tls_options.h"

/* Any thread, before the I/O thread needs them: reads the system's CAs, which takes 37 ms, once per
 * process. */
void mr_tls_context_warm(void);

struct mr_tls_context; /* the files, read and checked; for any number of streams of one thread */
/* MR_TLS_FAILED, with the reason in `error`: a file that is missing, unreadable or not PEM; a key
 * that does not fit, or is encrypted and the password is wrong or missing. Never asks on the
 * terminal. */
enum mr_status mr_tls_context_open(struct mr_tls_context **out,
	const struct mr_tls_options *options, mr_error *error);
void mr_tls_context_close(struct mr_tls_context *context); /* drops one use; NULL is allowed */

struct mr_tls_store { /* the contexts of a thread */
	struct mr_node contexts;
};
void mr_tls_store_init(struct mr_tls_store *store);
void mr_tls_store_fini(struct mr_tls_store *store); /* may be zeroed; no context may be in use */
/* The context for these options, which the caller must close; makes one if there is none, or if its
 * files have changed. */
enum mr_status mr_tls_store_get(struct mr_tls_store *store, const struct mr_tls_options *options,
	struct mr_tls_context **out, mr_error *error);

#endif
