/* tls: a stream that encrypts another one, by OpenSSL.
 * SPDX-License-Identifier: MIT
 * I/O thread only. Verifies the peer's chain and name unless the options disable it. */
#ifndef MR_NET_TLS_H
#define MR_NET_TLS_H

#include "net/stream.h"
#include "net/tls_context.h"
#include "net/tls_session.h"

/* Any thread, before the first I/O thread starts: prevents OpenSSL's cleanup at exit(), which would
 * run while an I/O thread uses OpenSSL. */
void mr_tls_prepare(void);
/* The last call of a thread that used TLS: frees OpenSSL's data of the thread. */
void mr_tls_thread_end(void);

/* Wraps `lower`, which it takes (a failure closes it). Resumes the session that is kept, if it may
 * and the peer agrees; keeps the newest one when it is closed. The handshake runs in connect(): MR_TLS_FAILED names the reason (expired, wrong host, unknown CA,
 * self-signed, refused client certificate); MR_PROTOCOL_MISMATCH: the peer does not speak TLS. */
enum mr_status mr_tls_open(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, const struct mr_tls_target *to, mr_error *error);

/* The server's side; the context needs a certificate and, without ca_certs, no_verify. */
enum mr_status mr_tls_accept(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, mr_error *error);

#endif
