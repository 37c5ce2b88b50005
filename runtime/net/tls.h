/* tls: a stream that encrypts another, by OpenSSL.
 * SPDX-License-Identifier: MIT
 * I/O thread only. Verifies the peer's chain and name unless told not to. */
#ifndef MR_NET_TLS_H
#define MR_NET_TLS_H

#include "base/list.h"
#include "net/stream.h"

/* Any thread, before the first I/O thread starts: OpenSSL must not be taken apart at exit() while one uses it. */
void mr_tls_prepare(void);
/* The last act of a thread that used TLS: what OpenSSL keeps for it goes. */
void mr_tls_thread_end(void);

struct mr_tls_options {                 /* strings are NUL-terminated; NULL: not given */
	const char *ca_certs;           /* PEM file; NULL: the system's store */
	const char *certfile, *keyfile; /* PEM; keyfile NULL: in certfile */
	const char *password;           /* of an encrypted keyfile */
	const char *server_name; /* for SNI and verification; NULL: the host name connected to */
	const char *min_version; /* "1.2" (default) or "1.3" */
	bool no_verify;          /* the CAs are not read, then */
	bool is_server;
};

/* Any thread, before the I/O thread needs them: reads the system's CAs, which takes 37 ms, once in a process. */
void mr_tls_warm(void);

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

/* Wraps `lower`, which it takes (on failure too: it is closed). `host` is the name or IP literal that
 * was asked for. The handshake runs in connect(): MR_TLS_FAILED names expired, wrong host, unknown
 * CA, self-signed, refused client certificate; MR_PROTOCOL_MISMATCH when the peer does not speak TLS. */
enum mr_status mr_tls_open(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, const char *host, mr_error *error);

/* The server's side of the same; the context needs a certificate and, without ca_certs, no_verify. */
enum mr_status mr_tls_accept(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, mr_error *error);

#endif
