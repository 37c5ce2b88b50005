/* tls_session: what a client keeps of its last TLS stream, to resume it in its next handshake.
 * SPDX-License-Identifier: MIT
 * I/O thread only. A resumed handshake verifies no certificate: it trusts what the first one
 * verified. So a session is offered only for the same host, port and context (which are the same
 * options and files), once, and for a day at most; and never with a client certificate. */
#ifndef MR_NET_TLS_SESSION_H
#define MR_NET_TLS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct mr_tls_context;
struct ssl_st; /* OpenSSL's */

/* Invariants. `context`, `host` and `port` are those of the last stream that was opened; only this
 * stream may keep its session here, when it is closed. `session` is of that stream, or NULL. */
struct mr_tls_session { /* zeroed: nothing is kept */
	struct mr_tls_context *context;
	char *host;
	uint16_t port;
	uint64_t turn;                  /* counts the streams */
	struct ssl_session_st *session; /* owned */
	int64_t until;                  /* seconds since 1970: it is not offered afterwards */
	/* The last handshake failed with a session on offer, before the peer had said whether it
	 * takes it: one without might succeed. */
	bool is_suspect;
};

void mr_tls_session_forget(struct mr_tls_session *kept); /* zeroes it, but for `turn` */

/* ---- for net/tls ---- */

struct mr_tls_target {
	const char *host; /* the requested name or IP literal */
	uint16_t port;
	struct mr_tls_session *session; /* must outlive the stream; NULL: none is kept */
};

struct mr_tls_offer { /* what a stream has to do with `kept`; zeroed: nothing */
	struct mr_tls_session *kept;
	uint64_t turn;
	int64_t until; /* of the session that is on offer, then of the stream's */
	bool is_made;  /* a session was offered; its id: */
	unsigned char id[32];
};

/* Before the handshake: offers what is kept, if it may be. */
void mr_tls_session_offer(struct mr_tls_offer *offer, struct ssl_st *ssl,
	struct mr_tls_context *context, const struct mr_tls_target *to);
/* The handshake is done, or has failed. */
void mr_tls_session_shaken(struct mr_tls_offer *offer, const struct ssl_st *ssl, bool is_done);
/* Before the stream is freed: keeps its newest session. */
void mr_tls_session_keep(const struct mr_tls_offer *offer, struct ssl_st *ssl);

#endif
