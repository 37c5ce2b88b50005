/* test_idle: what an open connection holds while nothing happens on it, by the allocator's count.
 * Feature: memory of idle connections
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "moonrabbit_testing.h"

#define PATIENCE 60 /* s for what takes milliseconds */
#define SOME 32     /* connections before the count: tables have grown, and files were read */
#define MANY 96     /* that are counted: with those before them, the tables do not grow again */

/* ---- an allocator that counts what the library and OpenSSL hold, without the broker's threads ---- */

struct head {        /* before each block */
	size_t cost; /* 0: the broker's */
	size_t pad;
};

static atomic_long held;
static pid_t others[64]; /* threads that do not count */
static size_t other_count;
static _Thread_local int counts; /* 1: this thread's calls do, -1: they do not; 0: not known yet */

static void list_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	while ((entry = readdir(dir)) && other_count < sizeof others / sizeof *others) {
		int tid = atoi(entry->d_name);
		if (tid && tid != getpid()) others[other_count++] = tid;
	}
	closedir(dir);
}

static bool does_count(void)
{
	if (!other_count) return false; /* the broker is being made */
	if (!counts) {
		pid_t me = (pid_t)syscall(SYS_gettid);
		counts = 1;
		for (size_t i = 0; i < other_count; i++)
			if (others[i] == me) counts = -1;
	}
	return counts > 0;
}

/* What the C library takes for a block: a word more, in steps of 16, 32 at least. */
static size_t cost_of(size_t size)
{
	size_t chunk = (size + 8 + 15) / 16 * 16;
	return chunk < 32 ? 32 : chunk;
}

static void *resize(void *p, size_t size)
{
	struct head *old = p ? (struct head *)p - 1 : NULL;
	bool is_ours = old ? old->cost != 0 : does_count();
	long was = old ? (long)old->cost : 0;
	struct head *head = realloc(old, sizeof *head + size);
	if (!head) return NULL;
	head->cost = is_ours ? cost_of(size) : 0;
	atomic_fetch_add(&held, (long)head->cost - was);
	return head + 1;
}

static void release(void *p)
{
	if (!p) return;
	struct head *head = (struct head *)p - 1;
	atomic_fetch_sub(&held, (long)head->cost);
	free(head);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return size ? resize(NULL, size) : NULL;
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	if (size) return resize(p, size);
	release(p);
	return NULL;
}

static void crypto_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	release(p);
}

/* ---- a certificate for localhost, which trusts itself ---- */

static char folder[] = "/tmp/mr-idle-XXXXXX", certificate[64], key_file[64];

static void extend(X509 *x, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void write_certificate(void)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *x = X509_new();
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
		(const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	extend(x, NID_basic_constraints, "critical,CA:TRUE");
	extend(x, NID_subject_alt_name, "DNS:localhost");
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_non_null(mkdtemp(folder));
	snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
	snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
	FILE *file = fopen(certificate, "w");
	assert_true(file && PEM_write_X509(file, x) == 1 && fclose(file) == 0);
	file = fopen(key_file, "w");
	assert_true(file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		    fclose(file) == 0);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* ---- many connections, each with a channel ---- */

static mr_runtime *rt;
static uint64_t tokens;

static void settle(uint64_t token)
{
	double deadline = mr_now() + PATIENCE;
	mr_event ev;
	while (mr_now() < deadline) {
		if (mr_runtime_poll(rt, &ev, 1, deadline - mr_now()) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == token;
		int status = ev.status;
		mr_event_fini(&ev);
		if (!is_it) continue;
		assert_int_equal(status, MR_OK);
		return;
	}
	fail_msg("request %d never ended", (int)token);
}

static void open_one(const mr_options *o)
{
	mr_connection *c;
	mr_channel *ch;
	mr_error error;
	assert_int_equal(mr_connection_new(rt, o, &c, &error), MR_OK);
	assert_int_equal(mr_connection_open(c, ++tokens), MR_OK);
	settle(tokens);
	assert_int_equal(mr_channel_open(c, ++tokens, &ch), MR_OK);
	settle(tokens);
}

/* Bytes for each connection. */
static long measure(bool tls)
{
	mr_server *server;
	mr_error error;
	uint16_t port;
	char url[64];
	assert_int_equal(mr_server_open(&server, "idle", &error), MR_OK);
	assert_int_equal(mr_server_listen(server, "127.0.0.1", 0, tls ? certificate : NULL,
				 tls ? key_file : NULL, &port, &error),
		MR_OK);
	list_threads();
	assert_int_equal(mr_runtime_new(&rt), MR_OK);
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	mr_options *o = mr_options_new();
	int size = snprintf(url, sizeof url, "amqp%s://localhost:%u", tls ? "s" : "", port);
	assert_int_equal(mr_options_string(o, "url", url, (size_t)size, &error), MR_OK);
	if (tls)
		assert_int_equal(mr_options_string(o, "ssl_options.ca_certs", certificate,
					 strlen(certificate), &error),
			MR_OK);
	for (int i = 0; i < SOME; i++) open_one(o);
	long before = atomic_load(&held);
	for (int i = 0; i < MANY; i++) open_one(o);
	long each = (atomic_load(&held) - before) / MANY;
	mr_options_free(o);
	mr_runtime_free(rt, 1);
	mr_server_close(server);
	other_count = 0;
	counts = 0;
	print_message("an idle connection with a channel%s: %ld bytes\n", tls ? ", TLS" : "", each);
	return each;
}

static void test_a_plain_one_holds_at_most_6_KiB(void **state)
{
	(void)state;
	assert_in_range(measure(false), 1024, 6 * 1024);
}

static void test_one_by_tls_holds_at_most_28_KiB(void **state)
{
	(void)state;
	write_certificate();
	assert_in_range(measure(true), 6 * 1024, 28 * 1024);
	unlink(certificate);
	unlink(key_file);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plain_one_holds_at_most_6_KiB),
		cmocka_unit_test(test_one_by_tls_holds_at_most_28_KiB),
	};
	mr_set_allocator(resize, release);
	if (!CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free)) return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
