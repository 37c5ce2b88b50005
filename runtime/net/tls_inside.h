/* tls_inside: what tls.c and tls_context.c share of OpenSSL.
 * SPDX-License-Identifier: MIT
 * Within net/tls only. */
#ifndef MR_NET_TLS_INSIDE_H
#define MR_NET_TLS_INSIDE_H

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "base/list.h"
#include "net/tls_options.h"

/* How a file looked when it was read; zeroed: there was none. */
struct mr_tls_stamp {
	struct timespec modified, changed;
	off_t size;
	ino_t inode;
	dev_t device;
};

enum { MR_TLS_CA, MR_TLS_CA_FOLDER, MR_TLS_CERT, MR_TLS_KEY, MR_TLS_FILES };

struct mr_tls_context {
	struct mr_node node; /* in its store, or by itself */
	unsigned users;
	struct mr_tls_options options; /* strings of its own */
	struct mr_tls_stamp stamps[MR_TLS_FILES];
	SSL_CTX *ctx;
};

/* The reason that OpenSSL gives for what just failed. */
const char *mr_tls_context_reason(void);

#endif
