/* tls_context: certificates, keys and trusted CAs for TLS streams.
 * SPDX-License-Identifier: MIT
 * Reading the system's CAs takes 37 ms and 850 KiB: they are read once per process, and one context serves all
 * streams with the same options until a file changes. */
#include "net/tls_context.h"

#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "net/tls_inside.h"

#define READ_AHEAD (64 * 1024) /* bytes of one read of a socket: three whole records */

/* ---- files ---- */

static void stamp_file(struct mr_tls_stamp *out, const char *path)
{
	struct stat s;
	memset(out, 0, sizeof *out);
	if (!path || stat(path, &s) != 0) return;
	out->modified = s.st_mtim;
	out->changed = s.st_ctim;
	out->size = s.st_size;
	out->inode = s.st_ino;
	out->device = s.st_dev;
}

static const char *system_path(const char *variable, const char *usual)
{
	const char *set = getenv(variable);
	return set ? set : usual;
}

/* A missing file has a stamp, too. Padding is zeroed on both sides. */
static void stamp_all(struct mr_tls_stamp out[MR_TLS_FILES], const struct mr_tls_options *o)
{
	const char *paths[MR_TLS_FILES] = {[MR_TLS_CERT] = o->certfile, [MR_TLS_KEY] = o->keyfile};
	if (!o->no_verify) paths[MR_TLS_CA] = o->ca_certs;
	if (!o->no_verify && !o->ca_certs) {
		paths[MR_TLS_CA] =
			system_path(X509_get_default_cert_file_env(), X509_get_default_cert_file());
		paths[MR_TLS_CA_FOLDER] =
			system_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
	}
	for (int i = 0; i < MR_TLS_FILES; i++) stamp_file(&out[i], paths[i]);
}

static bool same_stamp(const struct mr_tls_stamp *a, const struct mr_tls_stamp *b)
{
	return a->size == b->size && a->inode == b->inode && a->device == b->device &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool same_stamps(const struct mr_tls_stamp *a, const struct mr_tls_stamp *b)
{
	for (int i = 0; i < MR_TLS_FILES; i++)
		if (!same_stamp(&a[i], &b[i])) return false;
	return true;
}

/* ---- the system's CAs ---- */

static pthread_once_t system_once = PTHREAD_ONCE_INIT;
static X509_STORE *system_store; /* NULL: it cannot be read; kept until the process ends */
static struct mr_tls_stamp system_stamps[MR_TLS_FILES];

static void read_system(void)
{
	const struct mr_tls_options usual = {0};
	stamp_all(system_stamps, &usual);
	int system;
	system_store = X509_STORE_new();
	bool ok = system_store && X509_STORE_set_default_paths(system_store) == 1;
	if (ok && !mr_status_lacks_descriptors(&system)) return;
	X509_STORE_free(system_store);
	system_store = NULL;
}

void mr_tls_context_warm(void)
{
	pthread_once(&system_once, read_system);
	ERR_clear_error();
}

static bool trust_system(SSL_CTX *ctx, const struct mr_tls_stamp *now)
{
	mr_tls_context_warm();
	bool is_current = system_store && same_stamp(&now[MR_TLS_CA], &system_stamps[MR_TLS_CA]) &&
	                  same_stamp(&now[MR_TLS_CA_FOLDER], &system_stamps[MR_TLS_CA_FOLDER]);
	if (!is_current) return SSL_CTX_set_default_verify_paths(ctx) == 1;
	SSL_CTX_set1_cert_store(ctx, system_store);
	return true;
}

/* ---- loading ---- */

struct asked { /* OpenSSL asks for a password if a file is encrypted */
	const char *password;
	bool is_asked;
};

/* Never asks on the terminal, as OpenSSL would by default. */
static int give_password(char *out, int capacity, int writing, void *data)
{
	struct asked *asked = data;
	(void)writing;
	asked->is_asked = true;
	size_t size = asked->password ? strlen(asked->password) : 0;
	if (!size || size > (size_t)capacity) return -1;
	memcpy(out, asked->password, size);
	return (int)size;
}

const char *mr_tls_context_reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	if (code && ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code)); /* for example a missing file */
	return reason ? reason : "no reason given";
}

static enum mr_status bad_file(const struct mr_tls_options *o, const struct asked *asked,
	const char *file, mr_error *error)
{
	char what[400];
	int system;
	const char *of = o->is_server ? "TLS" : "ssl_options";
	mr_error_escape(what, sizeof what, file, strlen(file));
	if (mr_status_lacks_descriptors(&system))
		return mr_error_system(error, MR_NO_DESCRIPTORS, MR_SCOPE_CONFIG, system,
			"%s: cannot read %s", of, what);
	if (asked->is_asked && asked->password)
		mr_error_set(error, MR_TLS_FAILED, MR_SCOPE_CONFIG, 0,
			"%s: the password does not decrypt the key file %s", of, what);
	else if (asked->is_asked)
		mr_error_set(error, MR_TLS_FAILED, MR_SCOPE_CONFIG, 0,
			"%s: the key file %s is encrypted: %s", of, what,
			o->is_server ? "give one that is not (openssl pkey -in FILE)"
				     : "set ssl_options.password");
	else
		mr_error_set(error, MR_TLS_FAILED, MR_SCOPE_CONFIG, 0,
			"%s: cannot use the file %s: %s", of, what, mr_tls_context_reason());
	if (error) error->recoverable = false;
	return MR_TLS_FAILED;
}

static enum mr_status load_files(struct mr_tls_context *c, mr_error *error)
{
	int system;
	SSL_CTX *ctx = c->ctx;
	const struct mr_tls_options *o = &c->options;
	struct asked asked = {.password = o->password};
	const char *key = o->keyfile ? o->keyfile : o->certfile;
	const char *file = o->no_verify ? NULL : o->ca_certs;
	if (file && SSL_CTX_load_verify_locations(ctx, file, NULL) != 1) goto bad;
	if (!file && !o->no_verify) {
		trust_system(ctx, c->stamps);
		/* OpenSSL reports no error for unreadable files here: then every peer would be
		 * untrusted. */
		file = "the system's certificates";
		if (mr_status_lacks_descriptors(&system)) goto bad;
	}
	SSL_CTX_set_default_passwd_cb(ctx, give_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	file = o->certfile;
	if (file && SSL_CTX_use_certificate_chain_file(ctx, file) != 1) goto bad;
	file = key;
	if (file && SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM) != 1) goto bad;
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (o->certfile && SSL_CTX_check_private_key(ctx) != 1)
		return mr_error_set(error, MR_TLS_FAILED, MR_SCOPE_CONNECTION, 0,
			"ssl_options: the key does not belong to the certificate");
	return MR_OK;
bad:
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	return bad_file(o, &asked, file, error);
}

/* ---- contexts ---- */

static bool copy_string(const char **at)
{
	if (!*at) return true;
	*at = mr_strdup_n(*at, strlen(*at));
	return *at != NULL;
}

static bool copy_options(struct mr_tls_options *out, const struct mr_tls_options *o)
{
	*out = *o;
	const char **strings[] = {&out->ca_certs, &out->certfile, &out->keyfile, &out->password,
		&out->server_name, &out->min_version};
	bool ok = true;
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
		if (!ok) *strings[i] = NULL;
		ok = ok && copy_string(strings[i]);
	}
	return ok;
}

static void free_options(struct mr_tls_options *o)
{
	const char *strings[] = {o->ca_certs, o->certfile, o->keyfile, o->password, o->server_name,
		o->min_version};
	if (o->password) OPENSSL_cleanse((char *)(uintptr_t)o->password, strlen(o->password));
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
		mr_free((char *)(uintptr_t)strings[i]);
}

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same_options(const struct mr_tls_options *a, const struct mr_tls_options *b)
{
	return same(a->ca_certs, b->ca_certs) && same(a->certfile, b->certfile) &&
	       same(a->keyfile, b->keyfile) && same(a->password, b->password) &&
	       same(a->server_name, b->server_name) && same(a->min_version, b->min_version) &&
	       a->no_verify == b->no_verify && a->is_server == b->is_server;
}

static bool set_version(SSL_CTX *ctx, const char *version)
{
	int least = version && strcmp(version, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
	return SSL_CTX_set_min_proto_version(ctx, least) == 1;
}

static void free_context(struct mr_tls_context *c)
{
	mr_list_remove(&c->node);
	SSL_CTX_free(c->ctx);
	ERR_clear_error(); /* the thread may be the host's, which uses OpenSSL itself */
	free_options(&c->options);
	mr_free(c);
}

enum mr_status mr_tls_context_open(struct mr_tls_context **out, const struct mr_tls_options *o,
	mr_error *error)
{
	struct mr_tls_context *c = mr_calloc(1, sizeof *c);
	enum mr_status st = MR_NO_MEMORY;
	ERR_clear_error();
	if (!c) return mr_error_set(error, st, MR_SCOPE_CONNECTION, 0, "out of memory");
	c->users = 1;
	bool ok = copy_options(&c->options, o) && (c->ctx = SSL_CTX_new(TLS_method())) &&
	          set_version(c->ctx, o->min_version);
	if (!ok) {
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 0, "cannot set up TLS: %s",
			mr_tls_context_reason());
		free_context(c);
		return st;
	}
	SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	/* Otherwise each record takes two reads of the socket: its head, and the rest. */
	SSL_CTX_set_read_ahead(c->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(c->ctx, READ_AHEAD);
	SSL_CTX_set_verify(c->ctx, o->no_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	stamp_all(c->stamps, o); /* before reading: later changes cause another read */
	st = load_files(c, error);
	if (st == MR_OK)
		*out = c;
	else
		free_context(c);
	return st;
}

void mr_tls_context_close(struct mr_tls_context *c)
{
	if (!c || --c->users) return;
	if (!c->node.next) free_context(c); /* else its store frees it */
}

/* ---- one for each set of options ---- */

void mr_tls_store_init(struct mr_tls_store *store) { mr_list_init(&store->contexts); }

static void drop_unused(struct mr_tls_store *store)
{
	struct mr_node *next;
	for (struct mr_node *n = store->contexts.next; n != &store->contexts; n = next) {
		struct mr_tls_context *c = mr_container(n, struct mr_tls_context, node);
		next = n->next;
		if (!c->users) free_context(c);
	}
}

void mr_tls_store_fini(struct mr_tls_store *store)
{
	if (store->contexts.next) drop_unused(store);
}

enum mr_status mr_tls_store_get(struct mr_tls_store *store, const struct mr_tls_options *o,
	struct mr_tls_context **out, mr_error *error)
{
	struct mr_tls_stamp now[MR_TLS_FILES];
	stamp_all(now, o);
	for (struct mr_node *n = store->contexts.next; n != &store->contexts; n = n->next) {
		struct mr_tls_context *c = mr_container(n, struct mr_tls_context, node);
		if (!same_options(&c->options, o) || !same_stamps(c->stamps, now)) continue;
		c->users++;
		*out = c;
		return MR_OK;
	}
	drop_unused(store);
	enum mr_status st = mr_tls_context_open(out, o, error);
	if (st == MR_OK) mr_list_append(&store->contexts, &(*out)->node);
	return st;
}
