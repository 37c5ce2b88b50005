/* tls: a stream that encrypts another, by OpenSSL.
 * SPDX-License-Identifier: MIT
 * I/O thread only. Verifies the peer's chain and name unless told not to. */
#ifndef MR_NET_TLS_H
#define MR_NET_TLS_H

#include "net/stream.h"
#include "net/tls_context.h"

/* Any thread, before the first I/O thread starts: OpenSSL must not be taken apart at exit() while one uses it. */
void mr_tls_prepare(void);
/* The last act of a thread that used TLS: what OpenSSL keeps for it goes. */
void mr_tls_thread_end(void);

/* Wraps `lower`, which it takes (on failure too: it is closed). `host` is the name or IP literal that
 * was asked for. The handshake runs in connect(): MR_TLS_FAILED names expired, wrong host, unknown
 * CA, self-signed, refused client certificate; MR_PROTOCOL_MISMATCH when the peer does not speak TLS. */
enum mr_status mr_tls_open(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, const char *host, mr_error *error);

/* The server's side of the same; the context needs a certificate and, without ca_certs, no_verify. */
enum mr_status mr_tls_accept(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, mr_error *error);

#endif
