/* test_tls_session: which TLS session a client offers, to whom, how often and how long.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tcp.h"
#include "net/tls.h"
#include "net/tls_inside.h"

#define DAY 86400

/* ---- certificates that sign themselves, for localhost ---- */

static char folder[] = "/tmp/mr_tls_session_XXXXXX";

static void write_certificate(const char *name, long seconds)
{
	char path[100];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	assert_non_null(key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), seconds);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_EXTENSION *names =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
	X509_add_ext(x, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	PEM_write_X509(f, x);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
}

static const char *path_of(char out[100], const char *name)
{
	snprintf(out, 100, "%s/%s", folder, name);
	return out;
}

/* ---- a server, and a client that keeps its session ---- */

struct bench {
	char ca[100], file[100];
	struct mr_tls_options options;
	struct mr_tls_store store;
	struct mr_tls_context *server;
	struct mr_tls_session kept;
	const char *host;
	uint16_t port;
	mr_error error; /* of the last handshake */
};

static struct mr_tls_context *serve(struct bench *b, const char *certificate)
{
	struct mr_tls_context *out = NULL;
	struct mr_tls_options o = {.no_verify = true, .is_server = true};
	o.certfile = path_of(b->file, certificate);
	assert_int_equal(mr_tls_context_open(&out, &o, NULL), MR_OK);
	return out;
}

static void begin(struct bench *b)
{
	*b = (struct bench){.host = "localhost", .port = 5671};
	b->options.ca_certs = path_of(b->ca, "long");
	mr_tls_store_init(&b->store);
	b->server = serve(b, "long");
}

static void end(struct bench *b)
{
	mr_tls_session_forget(&b->kept);
	mr_tls_context_close(b->server);
	mr_tls_store_fini(&b->store);
	assert_true(mr_list_is_empty(&b->store.contexts)); /* no use is left */
}

static struct mr_stream *open_client(struct bench *b, int fd)
{
	struct mr_tls_context *context;
	struct mr_stream *lower, *out;
	const struct mr_tls_target to = {b->host, b->port, &b->kept};
	assert_int_equal(mr_tcp_adopt(&lower, fd), MR_OK);
	assert_int_equal(mr_tls_store_get(&b->store, &b->options, &context, NULL), MR_OK);
	assert_int_equal(mr_tls_open(&out, context, lower, &to, NULL), MR_OK);
	mr_tls_context_close(context);
	return out;
}

struct pair {
	struct mr_stream *client, *server;
	bool is_resumed;
};

static bool shake(struct bench *b, struct pair *p)
{
	struct mr_stream *lower;
	int fds[2];
	enum mr_status ours = MR_TIMEOUT, theirs = MR_TIMEOUT;
	b->error = (mr_error){0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p->client = open_client(b, fds[0]);
	assert_int_equal(mr_tcp_adopt(&lower, fds[1]), MR_OK);
	assert_int_equal(mr_tls_accept(&p->server, b->server, lower, NULL), MR_OK);
	for (int i = 0; i < 20 && (ours == MR_TIMEOUT || theirs == MR_TIMEOUT); i++) {
		if (ours == MR_TIMEOUT) ours = p->client->class->connect(p->client, &b->error);
		if (theirs == MR_TIMEOUT) theirs = p->server->class->connect(p->server, NULL);
	}
	if (ours != MR_OK) return false;
	mr_facts facts = {0};
	p->client->class->describe(p->client, &facts);
	p->is_resumed = facts.tls_resumed;
	return theirs == MR_OK;
}

/* Bytes both ways, so that the client has read the tickets that came after the handshake. */
static void chat(struct pair *p)
{
	char data[8];
	assert_int_equal(p->client->class->write(p->client, "ping", 4, NULL), 4);
	assert_int_equal(p->server->class->read(p->server, data, sizeof data, NULL), 4);
	assert_int_equal(p->server->class->write(p->server, "pong", 4, NULL), 4);
	assert_int_equal(p->client->class->read(p->client, data, sizeof data, NULL), 4);
	assert_memory_equal(data, "pong", 4);
}

static void hang_up(struct pair *p)
{
	p->client->class->close(p->client);
	p->server->class->close(p->server);
}

/* A connection, from the handshake to its end: was it resumed? */
static bool resumes(struct bench *b)
{
	struct pair p = {0};
	assert_true(shake(b, &p));
	chat(&p);
	hang_up(&p);
	return p.is_resumed;
}

static void limit_to_1_2(struct bench *b)
{
	SSL_CTX_set_max_proto_version(b->server->ctx, TLS1_2_VERSION);
}

/* ---- the tests ---- */

static void test_the_session_of_the_connection_before_is_resumed(void **state)
{
	struct bench b;
	(void)state;
	for (int version = 2; version <= 3; version++) {
		begin(&b);
		if (version == 2) limit_to_1_2(&b);
		assert_false(resumes(&b));
		for (int i = 0; i < 5; i++) assert_true(resumes(&b));
		end(&b);
	}
}

/* That is what reconnecting is about: the peer said no goodbye. */
static void test_a_session_outlives_a_stream_that_was_cut(void **state)
{
	struct bench b;
	struct pair p = {0};
	char data[8];
	(void)state;
	for (int version = 2; version <= 3; version++) {
		begin(&b);
		if (version == 2) limit_to_1_2(&b);
		assert_true(shake(&b, &p));
		chat(&p);
		shutdown(p.server->fd, SHUT_RDWR);
		assert_int_equal(p.client->class->read(p.client, data, sizeof data, NULL), -1);
		assert_int_equal(p.client->class->write(p.client, "x", 1, NULL), -1);
		hang_up(&p);
		assert_true(resumes(&b));
		end(&b);
	}
}

/* A record that was tampered with: the alert ends the session, too. */
static void test_a_session_does_not_outlive_a_broken_record(void **state)
{
	struct bench b;
	struct pair p = {0};
	char data[8];
	(void)state;
	begin(&b);
	assert_true(shake(&b, &p));
	chat(&p);
	assert_int_equal(send(p.server->fd, "\x17\3\3\0\x14 twenty bytes, no MAC", 25, 0), 25);
	assert_int_equal(p.client->class->read(p.client, data, sizeof data, NULL), -1);
	hang_up(&p);
	assert_null(b.kept.session);
	assert_false(resumes(&b));
	end(&b);
}

/* RFC 8446, C.4: who sees a ticket twice can link the connections. */
static void test_a_session_is_offered_once(void **state)
{
	struct bench b;
	struct pair p = {0};
	(void)state;
	begin(&b);
	SSL_CTX_set_num_tickets(b.server->ctx, 1);
	assert_false(resumes(&b));
	assert_non_null(b.kept.session);
	SSL_CTX_set_num_tickets(b.server->ctx, 0); /* no further ones, from now on */
	assert_true(shake(&b, &p));
	assert_true(p.is_resumed);
	assert_null(b.kept.session);
	chat(&p);
	hang_up(&p);
	assert_null(b.kept.session);
	assert_false(resumes(&b));
	end(&b);
}

static void test_a_server_that_gives_none_is_asked_for_none(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	SSL_CTX_set_num_tickets(b.server->ctx, 0);
	for (int i = 0; i < 3; i++) assert_false(resumes(&b));
	end(&b);
}

static void test_a_server_that_does_not_know_the_session_shakes_hands_in_full(void **state)
{
	struct bench b;
	(void)state;
	for (int version = 2; version <= 3; version++) {
		begin(&b);
		assert_false(resumes(&b));
		mr_tls_context_close(b.server);
		b.server = serve(&b, "long"); /* as after a restart */
		if (version == 2) limit_to_1_2(&b);
		assert_false(resumes(&b));
		assert_false(b.kept.is_suspect);
		assert_true(resumes(&b));
		end(&b);
	}
}

static void test_another_host_or_port_gets_a_full_handshake(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.options.server_name = "localhost"; /* the certificate is right for each host */
	assert_false(resumes(&b));
	b.port++;
	assert_false(resumes(&b));
	assert_true(resumes(&b));
	b.host = "localhost.example";
	assert_false(resumes(&b));
	assert_true(resumes(&b));
	end(&b);
}

static void test_another_host_is_still_refused_by_a_server_that_knows_the_session(void **state)
{
	struct bench b;
	struct pair p = {0};
	(void)state;
	begin(&b);
	assert_false(resumes(&b));
	b.host = "elsewhere.example";
	assert_false(shake(&b, &p));
	assert_int_equal(b.error.kind, MR_TLS_FAILED);
	assert_non_null(strstr(b.error.text, "another host name"));
	hang_up(&p);
	assert_null(b.kept.session);
	end(&b);
}

static void test_other_options_get_a_full_handshake(void **state)
{
	struct bench b;
	char more[100];
	(void)state;
	begin(&b);
	struct mr_tls_options usual = b.options;
	const struct mr_tls_options others[] = {{.no_verify = true},
		{.ca_certs = path_of(more, "both")}, {.ca_certs = b.ca, .min_version = "1.3"},
		{.ca_certs = b.ca, .server_name = "localhost"}};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		b.options = usual;
		resumes(&b);
		assert_true(resumes(&b));
		b.options = others[i];
		assert_false(resumes(&b));
		assert_true(resumes(&b));
		b.options = usual;
		assert_false(resumes(&b)); /* least of all one that verified nothing */
	}
	end(&b);
}

/* The same session is no way around a CA that is trusted no more. */
static void test_a_session_is_forgotten_with_the_files_it_was_verified_by(void **state)
{
	struct bench b;
	struct pair p = {0};
	char own[100];
	(void)state;
	begin(&b);
	write_certificate("changing", DAY);
	mr_tls_context_close(b.server);
	b.server = serve(&b, "changing");
	b.options.ca_certs = path_of(own, "changing");
	assert_false(resumes(&b));
	assert_true(resumes(&b));
	unlink(own);
	write_certificate("changing", DAY); /* another one, while the server keeps the old one */
	assert_false(shake(&b, &p));
	assert_int_equal(b.error.kind, MR_TLS_FAILED);
	hang_up(&p);
	end(&b);
}

/* RabbitMQ has no certificate of a client whose TLS 1.3 session was resumed, for EXTERNAL. */
static void test_a_client_certificate_is_shown_in_each_handshake(void **state)
{
	struct bench b;
	char own[100];
	(void)state;
	begin(&b);
	b.options.certfile = path_of(own, "short");
	for (int i = 0; i < 3; i++) {
		assert_false(resumes(&b));
		assert_null(b.kept.session);
	}
	end(&b);
}

static void test_a_session_is_offered_for_a_day(void **state)
{
	struct bench b;
	int64_t now = time(NULL);
	(void)state;
	begin(&b);
	assert_false(resumes(&b));
	int64_t until = b.kept.until;
	assert_in_range(until, now + DAY, now + DAY + 600);
	b.kept.until -= 1000;
	assert_true(resumes(&b));
	assert_true(b.kept.until == until - 1000); /* resuming does not renew it */
	b.kept.until = now;
	assert_false(resumes(&b));
	assert_true(b.kept.until >= until);
	end(&b);
}

static void test_a_session_is_not_offered_after_the_end_of_the_certificate(void **state)
{
	struct bench b;
	char own[100];
	int64_t now = time(NULL);
	(void)state;
	begin(&b);
	mr_tls_context_close(b.server);
	b.server = serve(&b, "short");
	b.options.ca_certs = path_of(own, "short");
	assert_false(resumes(&b));
	assert_true(resumes(&b));
	assert_in_range(b.kept.until, now + 3000, now + 3600);
	end(&b);
}

static SSL *of_server; /* of its last stream */

static void note(const SSL *ssl, int where, int result)
{
	(void)where;
	(void)result;
	of_server = (SSL *)(uintptr_t)ssl;
}

/* TLS 1.2: the handshake is done anew on the open stream. */
static void test_the_end_is_that_of_the_certificate_that_was_shown_last(void **state)
{
	struct bench b;
	struct pair p = {0};
	char path[100], data[8], keys[80] = "other keys";
	int64_t now = time(NULL);
	(void)state;
	begin(&b);
	b.options.ca_certs = path_of(b.ca, "both");
	limit_to_1_2(&b);
	SSL_CTX_set_info_callback(b.server->ctx, note);
	assert_true(shake(&b, &p));
	path_of(path, "short");
	assert_int_equal(SSL_use_certificate_file(of_server, path, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_use_PrivateKey_file(of_server, path, SSL_FILETYPE_PEM), 1);
	/* The session is known no more. */
	assert_int_equal(SSL_CTX_set_tlsext_ticket_keys(b.server->ctx, keys, sizeof keys), 1);
	assert_int_equal(SSL_renegotiate(of_server), 1);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(p.server->class->read(p.server, data, sizeof data, NULL), 0);
		assert_int_equal(p.client->class->read(p.client, data, sizeof data, NULL), 0);
	}
	chat(&p);
	mr_facts facts = {0};
	p.client->class->describe(p.client, &facts);
	assert_true(facts.certificate_end < (double)now + 4000); /* it is the short one */
	hang_up(&p);
	assert_non_null(b.kept.session);
	assert_in_range(b.kept.until, now + 3000, now + 3600);
	end(&b);
}

/* OpenSSL's server does so to who offers a session if it asks for certificates, and has no id. */
static void test_a_handshake_that_fails_for_its_session_is_suspect(void **state)
{
	struct bench b;
	struct pair p = {0};
	(void)state;
	begin(&b);
	limit_to_1_2(&b);
	assert_false(resumes(&b));
	SSL_CTX_set_verify(b.server->ctx, SSL_VERIFY_PEER, NULL);
	assert_false(shake(&b, &p));
	assert_true(b.kept.is_suspect);
	hang_up(&p);
	assert_false(resumes(&b)); /* without it: in full, and nothing is suspect any more */
	assert_false(b.kept.is_suspect);
	end(&b);
}

static void test_only_the_last_stream_keeps_its_session(void **state)
{
	struct bench b;
	struct pair first = {0}, second = {0};
	(void)state;
	begin(&b);
	assert_true(shake(&b, &first));
	chat(&first);
	b.port++;
	assert_true(shake(&b, &second));
	hang_up(&first);
	assert_null(b.kept.session); /* it is of another port */
	chat(&second);
	hang_up(&second);
	assert_non_null(b.kept.session);
	assert_true(resumes(&b));
	end(&b);
}

static int set_up(void **state)
{
	char own[100], command[400];
	(void)state;
	mr_tls_prepare();
	if (!mkdtemp(folder)) return -1;
	write_certificate("long", 10 * DAY);
	write_certificate("short", 3600);
	snprintf(command, sizeof command, "cat %s/short %s/long >%s", folder, folder,
		path_of(own, "both"));
	return system(command);
}

static int tear_down(void **state)
{
	char command[200];
	(void)state;
	mr_tls_thread_end();
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_session_of_the_connection_before_is_resumed),
		cmocka_unit_test(test_a_session_outlives_a_stream_that_was_cut),
		cmocka_unit_test(test_a_session_does_not_outlive_a_broken_record),
		cmocka_unit_test(test_a_session_is_offered_once),
		cmocka_unit_test(test_a_server_that_gives_none_is_asked_for_none),
		cmocka_unit_test(test_a_server_that_does_not_know_the_session_shakes_hands_in_full),
		cmocka_unit_test(test_another_host_or_port_gets_a_full_handshake),
		cmocka_unit_test(
			test_another_host_is_still_refused_by_a_server_that_knows_the_session),
		cmocka_unit_test(test_other_options_get_a_full_handshake),
		cmocka_unit_test(test_a_session_is_forgotten_with_the_files_it_was_verified_by),
		cmocka_unit_test(test_a_client_certificate_is_shown_in_each_handshake),
		cmocka_unit_test(test_a_session_is_offered_for_a_day),
		cmocka_unit_test(test_a_session_is_not_offered_after_the_end_of_the_certificate),
		cmocka_unit_test(test_the_end_is_that_of_the_certificate_that_was_shown_last),
		cmocka_unit_test(test_a_handshake_that_fails_for_its_session_is_suspect),
		cmocka_unit_test(test_only_the_last_stream_keeps_its_session),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
