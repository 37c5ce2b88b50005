/* tls: a stream that encrypts another one, by OpenSSL.
 * SPDX-License-Identifier: MIT */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buffer.h"
#include "net/tls_inside.h"

#define WRITE_MOST (64 * 1024) /* bytes of plain text for one write of the socket: four records */

struct tls {
	struct mr_stream stream; /* first: a stream is its tls */
	struct mr_stream *lower;
	SSL *ssl;
	struct mr_tls_offer offer; /* a client's */
	struct mr_buffer records;  /* encrypted, and not yet written */
	size_t claimed; /* bytes of plain text in them, which the next write will report */
	bool gathers;   /* a write: what OpenSSL writes goes to the records first */
	bool lower_up;
	bool has_more;          /* the last read ended for want of room, not of bytes */
	mr_error lower_error;   /* of the lower stream, kept until OpenSSL returns */
	unsigned char first[8]; /* the peer's first bytes, to name another protocol in an error */
	size_t first_size;
};

void mr_tls_prepare(void) { OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); }

void mr_tls_thread_end(void) { OPENSSL_thread_stop(); }

static enum mr_status fail(mr_error *error, enum mr_status kind, const char *what,
	const char *detail)
{
	return mr_error_set(error, kind, MR_SCOPE_CONNECTION, 0, "%s%s%s", what, detail ? ": " : "",
		detail ? detail : "");
}

/* ---- OpenSSL's way to the lower stream: a BIO, so that a write never raises SIGPIPE ---- */

static int bio_read(BIO *bio, char *data, int size)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (size <= 0) return 0;
	ssize_t n = tls->lower->class->read(tls->lower, data, (size_t)size, &tls->lower_error);
	if (n == 0) BIO_set_retry_read(bio);
	if (n <= 0) return -1;
	for (ssize_t i = 0; i < n && tls->first_size < sizeof tls->first; i++)
		tls->first[tls->first_size++] = (unsigned char)data[i];
	return (int)n;
}

/* Writes the records. False: some are left, as the lower stream takes no more now, or has failed. */
static bool write_records(struct tls *tls)
{
	while (mr_buffer_size(&tls->records)) {
		ssize_t n = tls->lower->class->write(tls->lower, mr_buffer_data(&tls->records),
			mr_buffer_size(&tls->records), &tls->lower_error);
		if (n <= 0) return false;
		mr_buffer_consume(&tls->records, (size_t)n);
	}
	return true;
}

static int bio_write(BIO *bio, const char *data, int size)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (size <= 0) return 0;
	if (tls->gathers && mr_buffer_append(&tls->records, data, (size_t)size) == MR_OK)
		return size;
	if (!write_records(tls)) { /* they come first */
		if (!tls->lower_error.kind) BIO_set_retry_write(bio);
		return -1;
	}
	ssize_t n = tls->lower->class->write(tls->lower, data, (size_t)size, &tls->lower_error);
	if (n == 0) BIO_set_retry_write(bio);
	return n > 0 ? (int)n : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/* One per process: OpenSSL has few numbers for types of BIO, and never frees one. */
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *bio_method; /* NULL: no memory */

static void make_bio(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mr_stream");
	if (!bio_method) return;
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

/* ---- errors ---- */

static enum mr_status not_tls(const struct tls *tls, mr_error *error)
{
	if (tls->first_size >= 4 && memcmp(tls->first, "AMQP", 4) == 0)
		return fail(error, MR_PROTOCOL_MISMATCH,
			"the peer speaks AMQP without TLS: this is a plain port", NULL);
	if (tls->first_size >= 4 && memcmp(tls->first, "HTTP", 4) == 0)
		return fail(error, MR_PROTOCOL_MISMATCH, "the peer speaks HTTP, not TLS", NULL);
	return fail(error, MR_PROTOCOL_MISMATCH, "the peer does not speak TLS", NULL);
}

static enum mr_status verify_failed(const struct tls *tls, mr_error *error)
{
	long result = SSL_get_verify_result(tls->ssl);
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return fail(error, MR_TLS_FAILED, "the certificate of the peer has expired", NULL);
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return fail(error, MR_TLS_FAILED,
			"the certificate of the peer is for another host name", NULL);
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return fail(error, MR_TLS_FAILED,
			"the certificate of the peer is signed by an unknown CA",
			X509_verify_cert_error_string(result));
	default:
		return fail(error, MR_TLS_FAILED, "the certificate of the peer was refused",
			X509_verify_cert_error_string(result));
	}
}

static bool is_alert_about_us(int reason)
{
	return reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
	       reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
	       reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
	       reason == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED ||
	       reason == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN ||
	       reason == SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED ||
	       reason == SSL_R_TLSV1_ALERT_ACCESS_DENIED;
}

static enum mr_status explain(const struct tls *tls, bool shaking, mr_error *error)
{
	int reason = ERR_GET_REASON(ERR_peek_error());
	if (is_alert_about_us(reason))
		return fail(error, MR_TLS_FAILED, "the peer refused our client certificate",
			mr_tls_context_reason());
	if (tls->first_size && tls->first[0] != 0x15 && tls->first[0] != 0x16 && shaking)
		return not_tls(tls, error);
	if (shaking && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) return verify_failed(tls, error);
	if (tls->lower_error.kind && shaking)
		return fail(error, MR_TLS_FAILED, "the peer hung up in the TLS handshake",
			tls->lower_error.text);
	if (tls->lower_error.kind) {
		if (error) *error = tls->lower_error;
		return (enum mr_status)tls->lower_error.kind;
	}
	return fail(error, shaking ? MR_TLS_FAILED : MR_STREAM_LOST, "TLS failed",
		mr_tls_context_reason());
}

/* ---- the stream ---- */

/* Records what OpenSSL waits for. Returns false if it failed. */
static bool must_wait(struct tls *tls, int rc)
{
	int code = SSL_get_error(tls->ssl, rc);
	if (code == SSL_ERROR_WANT_READ)
		tls->stream.want = MR_WANT_READ;
	else if (code == SSL_ERROR_WANT_WRITE)
		tls->stream.want = MR_WANT_READ | MR_WANT_WRITE;
	else
		return false;
	return true;
}

/* OpenSSL sends nothing to a client that does not speak TLS; our client understands an alert. */
static void turn_away(struct tls *tls)
{
	static const unsigned char alert[] = {0x15, 3, 1, 0, 2, 2, SSL_AD_PROTOCOL_VERSION};
	if (!tls->first_size || tls->first[0] == 0x16 || tls->lower_error.kind) return;
	tls->lower->class->write(tls->lower, alert, sizeof alert, &tls->lower_error);
}

static enum mr_status tls_connect(struct mr_stream *s, mr_error *error)
{
	struct tls *tls = (struct tls *)s;
	if (!tls->lower_up) {
		enum mr_status st = tls->lower->class->connect(tls->lower, error);
		s->want = tls->lower->want;
		if (st != MR_OK) return st;
		tls->lower_up = true;
	}
	ERR_clear_error();
	int rc = SSL_do_handshake(tls->ssl);
	if (rc == 1) {
		mr_tls_session_shaken(&tls->offer, tls->ssl, true);
		s->want = MR_WANT_READ;
		tls->has_more =
			true; /* the peer's first words may have come with its last record */
		return MR_OK;
	}
	if (must_wait(tls, rc)) return MR_TIMEOUT;
	mr_tls_session_shaken(&tls->offer, tls->ssl, false);
	if (SSL_is_server(tls->ssl)) turn_away(tls);
	return explain(tls, true, error);
}

static ssize_t tls_read(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	struct tls *tls = (struct tls *)s;
	size_t n = 0, total = 0;
	/* A record has at most 16 KiB: reads all that have arrived. */
	while (total < size) {
		ERR_clear_error();
		int rc = SSL_read_ex(tls->ssl, (char *)data + total, size - total, &n);
		if (rc == 1) {
			total += n;
			continue;
		}
		if (must_wait(tls, rc)) break;
		if (total) break; /* return the data; the next read reports the end */
		if (SSL_get_error(tls->ssl, rc) == SSL_ERROR_ZERO_RETURN)
			fail(error, MR_STREAM_LOST, "the peer closed the connection", NULL);
		else
			explain(tls, false, error);
		return -1;
	}
	if (total) s->want = MR_WANT_READ;
	tls->has_more = total == size;
	return (ssize_t)total;
}

/* Encrypts a record after the other; returns the result of the last. */
static int encrypt(struct tls *tls, const char *data, size_t size)
{
	size_t n = 0;
	int rc = 1;
	tls->gathers = true;
	for (size_t done = 0; rc == 1 && done < size; done += n) {
		ERR_clear_error();
		n = 0;
		rc = SSL_write_ex(tls->ssl, data + done, size - done, &n);
		tls->claimed += n;
	}
	tls->gathers = false;
	return rc;
}

static size_t share_of(const struct iovec *part)
{
	return part->iov_len < WRITE_MOST ? part->iov_len : WRITE_MOST;
}

/* Encrypts as many parts as one write takes; returns the result of the last. */
static int encrypt_parts(struct tls *tls, const struct iovec *from, int count)
{
	size_t size = 0;
	int parts = 0, rc = 1;
	while (parts < count && size < WRITE_MOST) size += share_of(&from[parts++]);
	/* Memory at once; if there is none, bit by bit. */
	mr_buffer_reserve(&tls->records, size + size / 64 + 256 + 32 * (size_t)parts);
	for (int i = 0; i < parts && rc == 1; i++)
		rc = encrypt(tls, from[i].iov_base, share_of(&from[i]));
	return rc;
}

/* The records' memory is kept only for a write that comes at once: idle connections need none. */
static void trim_records(struct tls *tls, const struct iovec *from, int count)
{
	size_t offered = 0;
	for (int i = 0; i < count; i++) offered += from[i].iov_len;
	if (offered <= tls->claimed) mr_buffer_trim(&tls->records, 0);
}

/* What is encrypted cannot be taken back: until it is written, the caller comes again with the same
 * bytes, as it must for OpenSSL. */
static ssize_t tls_writev(struct mr_stream *s, const struct iovec *from, int count, mr_error *error)
{
	struct tls *tls = (struct tls *)s;
	int rc = 1;
	if (!tls->claimed) rc = encrypt_parts(tls, from, count);
	bool is_written = write_records(tls);
	size_t claimed = is_written ? tls->claimed : 0;
	if (claimed) {
		s->want = MR_WANT_READ;
		trim_records(tls, from, count);
		tls->claimed = 0;
		return (ssize_t)claimed;
	}
	if (!is_written && !tls->lower_error.kind) {
		s->want = MR_WANT_READ | MR_WANT_WRITE;
		return 0;
	}
	if (is_written && must_wait(tls, rc)) return 0;
	explain(tls, false, error);
	return -1;
}

static ssize_t tls_write(struct mr_stream *s, const void *data, size_t size, mr_error *error)
{
	return tls_writev(s, &(struct iovec){(void *)(uintptr_t)data, size}, 1, error);
}

static bool tls_pending(const struct mr_stream *s)
{
	const struct tls *tls = (const struct tls *)s;
	/* Bytes that OpenSSL has read ahead are pending; part of a record alone is not. */
	return (tls->has_more && SSL_has_pending(tls->ssl)) ||
	       tls->lower->class->pending(tls->lower);
}

/* Sends close_notify, once. */
static void say_goodbye(struct tls *tls)
{
	ERR_clear_error();
	if (tls->ssl && SSL_is_init_finished(tls->ssl) && !tls->lower_error.kind &&
		!(SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN))
		SSL_shutdown(tls->ssl);
}

static void tls_end(struct mr_stream *s)
{
	struct tls *tls = (struct tls *)s;
	say_goodbye(tls);
	tls->lower->class->end(tls->lower);
}

static void tls_close(struct mr_stream *s)
{
	struct tls *tls = (struct tls *)s;
	say_goodbye(tls);
	if (tls->ssl) mr_tls_session_keep(&tls->offer, tls->ssl);
	SSL_free(tls->ssl);
	mr_buffer_fini(&tls->records);
	ERR_clear_error();
	tls->lower->class->close(tls->lower);
	mr_free(tls);
}

static void tls_describe(const struct mr_stream *s, mr_facts *out)
{
	const struct tls *tls = (const struct tls *)s;
	const X509 *peer = SSL_get0_peer_certificate(tls->ssl);
	int days = 0, seconds = 0;
	snprintf(out->tls, sizeof out->tls, "%s", SSL_get_version(tls->ssl));
	out->tls_resumed = SSL_session_reused(tls->ssl) == 1;
	if (peer && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(peer)))
		out->certificate_end = (double)time(NULL) + days * 86400.0 + seconds;
}

static const struct mr_stream_class tls_class = {tls_connect, tls_read, NULL, tls_write, tls_writev,
	tls_pending, tls_end, tls_close, tls_describe};

static bool is_ip(const char *host)
{
	unsigned char address[16];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Sets the expected peer: SNI allows only names (RFC 6066), verification also addresses. */
static bool expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	if (is_ip(host)) return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, host) == 1 &&
	       X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

static bool attach_bio(struct tls *tls)
{
	pthread_once(&bio_once, make_bio);
	BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
	if (!bio) return false;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	return true;
}

/* Sets up the client's side; `to` NULL: the server's. */
static bool set_side(struct tls *tls, struct mr_tls_context *context,
	const struct mr_tls_target *to)
{
	const char *name = context->options.server_name;
	if (!to) {
		SSL_set_accept_state(tls->ssl);
		return true;
	}
	if (!expect_host(tls->ssl, name ? name : to->host)) return false;
	SSL_set_connect_state(tls->ssl);
	mr_tls_session_offer(&tls->offer, tls->ssl, context, to);
	return true;
}

static enum mr_status open_stream(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, const struct mr_tls_target *to, mr_error *error)
{
	struct tls *tls = mr_calloc(1, sizeof *tls);
	ERR_clear_error();
	if (!tls) {
		lower->class->close(lower);
		return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	}
	tls->stream = (struct mr_stream){&tls_class, lower->fd, lower->want};
	tls->lower = lower;
	tls->ssl = SSL_new(context->ctx);
	if (tls->ssl && attach_bio(tls) && set_side(tls, context, to)) {
		*out = &tls->stream;
		return MR_OK;
	}
	fail(error, MR_TLS_FAILED, "cannot set up TLS", mr_tls_context_reason());
	tls_close(&tls->stream);
	return MR_TLS_FAILED;
}

enum mr_status mr_tls_open(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, const struct mr_tls_target *to, mr_error *error)
{
	return open_stream(out, context, lower, to, error);
}

enum mr_status mr_tls_accept(struct mr_stream **out, struct mr_tls_context *context,
	struct mr_stream *lower, mr_error *error)
{
	return open_stream(out, context, lower, NULL, error);
}
