/* tls_bench: what tests of TLS share: a certificate, a handshake, a stream over another one.
 * SPDX-License-Identifier: MIT */
#ifndef MR_TEST_TLS_BENCH_H
#define MR_TEST_TLS_BENCH_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/stream.h"

/* Gives a server a certificate of its own, for an hour. */
static inline void certify(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static inline void shake_hands(struct mr_stream *client, struct mr_stream *server)
{
	enum mr_status ours = MR_TIMEOUT, theirs = MR_TIMEOUT;
	while (ours == MR_TIMEOUT || theirs == MR_TIMEOUT) {
		if (ours == MR_TIMEOUT) ours = client->class->connect(client, NULL);
		if (theirs == MR_TIMEOUT) theirs = server->class->connect(server, NULL);
	}
	assert_int_equal(ours, MR_OK);
	assert_int_equal(theirs, MR_OK);
}

/* ---- a stream over another one; its test says how it writes ---- */

struct over {
	struct mr_stream stream;
	struct mr_stream *lower;
};

static inline enum mr_status over_connect(struct mr_stream *s, mr_error *error)
{
	(void)s;
	(void)error;
	return MR_OK;
}

static inline ssize_t over_read(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	struct mr_stream *lower = ((struct over *)s)->lower;
	return lower->class->read(lower, data, size, error);
}

static inline bool over_pending(const struct mr_stream *s)
{
	(void)s;
	return false;
}

static inline void over_end(struct mr_stream *s) { (void)s; }

static inline void over_close(struct mr_stream *s)
{
	struct mr_stream *lower = ((struct over *)s)->lower;
	lower->class->close(lower);
}

#endif
