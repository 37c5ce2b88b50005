/* tls_inside: shared by tls.c and tls_context.c.
 * SPDX-License-Identifier: MIT
 * Within net/tls only. */
#ifndef MR_NET_TLS_INSIDE_H
#define MR_NET_TLS_INSIDE_H

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "base/list.h"
#include "net/tls_options.h"

/* Identifies the version of a file that was read; zeroed: no file. */
struct mr_tls_stamp {
	struct timespec modified, changed;
	off_t size;
	ino_t inode;
	dev_t device;
};

enum { MR_TLS_CA, MR_TLS_CA_FOLDER, MR_TLS_CERT, MR_TLS_KEY, MR_TLS_FILES };

struct mr_tls_context {
	struct mr_node node; /* in its store, or in no list */
	unsigned users;
	struct mr_tls_options options; /* owns its strings */
	struct mr_tls_stamp stamps[MR_TLS_FILES];
	SSL_CTX *ctx;
};

/* OpenSSL's reason for the last failure. */
const char *mr_tls_context_reason(void);

#endif
