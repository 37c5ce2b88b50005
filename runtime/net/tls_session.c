/* tls_session: what a client keeps of its last TLS stream, to resume it in its next handshake.
 * SPDX-License-Identifier: MIT */
#include "net/tls_session.h"

#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "net/tls_context.h"
#include "net/tls_inside.h"

/* Resumed sessions beget sessions: without a limit the certificate would not be looked at again. */
#define LIFE ((int64_t)24 * 60 * 60)

static void drop(struct mr_tls_session *kept)
{
	SSL_SESSION_free(kept->session);
	kept->session = NULL;
}

void mr_tls_session_forget(struct mr_tls_session *kept)
{
	drop(kept);
	mr_tls_context_close(kept->context);
	mr_free(kept->host);
	*kept = (struct mr_tls_session){.turn = kept->turn};
}

static bool is_for(const struct mr_tls_session *kept, const struct mr_tls_context *context,
	const struct mr_tls_target *to)
{
	return kept->context == context && kept->host && strcmp(kept->host, to->host) == 0 &&
	       kept->port == to->port;
}

/* Without memory for the host nothing will be kept, as it would fit no target. */
static void aim(struct mr_tls_session *kept, struct mr_tls_context *context,
	const struct mr_tls_target *to)
{
	if (is_for(kept, context, to)) return;
	mr_tls_session_forget(kept);
	context->users++;
	kept->context = context;
	kept->host = mr_strdup_n(to->host, strlen(to->host));
	kept->port = to->port;
}

_Static_assert(SSL_MAX_SSL_SESSION_ID_LENGTH == sizeof((struct mr_tls_offer *)0)->id, "of OpenSSL");

static void copy_id(unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH], const SSL_SESSION *session)
{
	unsigned size = 0;
	const unsigned char *from = SSL_SESSION_get_id(session, &size);
	memset(id, 0, SSL_MAX_SSL_SESSION_ID_LENGTH);
	memcpy(id, from, size);
}

static bool is_on_offer(const struct mr_tls_offer *offer, const SSL *ssl)
{
	unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH];
	const SSL_SESSION *session = SSL_get0_session(ssl);
	if (!offer->is_made || !session) return false;
	copy_id(id, session);
	return memcmp(id, offer->id, sizeof id) == 0;
}

void mr_tls_session_offer(struct mr_tls_offer *offer, SSL *ssl, struct mr_tls_context *context,
	const struct mr_tls_target *to)
{
	/* A peer may have no certificate of a client whose session was resumed: RabbitMQ with
	 * session_tickets then refuses EXTERNAL. */
	struct mr_tls_session *kept = context->options.certfile ? NULL : to->session;
	*offer = (struct mr_tls_offer){.kept = kept};
	if (!kept) return;
	aim(kept, context, to);
	offer->turn = ++kept->turn;
	kept->is_suspect = false;
	if (kept->session && time(NULL) < kept->until && SSL_set_session(ssl, kept->session) == 1) {
		offer->is_made = true;
		offer->until = kept->until;
		copy_id(offer->id, kept->session);
	}
	drop(kept); /* once: observers could link connections, and the session may be the culprit */
}

/* When the first of the certificates ends that were verified. */
static int64_t end_of(const SSL *ssl, int64_t now)
{
	int64_t end = now + LIFE;
	const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const ASN1_TIME *until = X509_get0_notAfter(sk_X509_value(chain, i));
		int days, seconds;
		if (ASN1_TIME_diff(&days, &seconds, NULL, until) != 1) return 0;
		int64_t at = now + days * INT64_C(86400) + seconds;
		if (at < end) end = at;
	}
	return end;
}

void mr_tls_session_shaken(struct mr_tls_offer *offer, const SSL *ssl, bool is_done)
{
	if (!offer->kept || offer->kept->turn != offer->turn) return;
	if (!is_done)
		offer->kept->is_suspect = is_on_offer(offer, ssl);
	else if (!SSL_session_reused(ssl))
		offer->until = end_of(ssl, time(NULL));
}

void mr_tls_session_keep(const struct mr_tls_offer *offer, SSL *ssl)
{
	struct mr_tls_session *kept = offer->kept;
	if (!kept || kept->turn != offer->turn || !kept->host) return;
	const SSL_SESSION *session = SSL_get0_session(ssl);
	if (!session || !SSL_is_init_finished(ssl) || !SSL_SESSION_is_resumable(session)) return;
	/* TLS 1.3: its one ticket is used up, and the peer has sent no other. */
	if (SSL_version(ssl) >= TLS1_3_VERSION && is_on_offer(offer, ssl)) return;
	/* Else OpenSSL would spoil the session of a stream that was cut. */
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	drop(kept);
	kept->session = SSL_get1_session(ssl);
	/* TLS 1.2: a new handshake on the stream may have shown another certificate. */
	int64_t end = end_of(ssl, time(NULL));
	kept->until = end < offer->until ? end : offer->until;
}
