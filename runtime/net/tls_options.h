/* tls_options: the host's TLS options.
 * SPDX-License-Identifier: MIT */
#ifndef MR_NET_TLS_OPTIONS_H
#define MR_NET_TLS_OPTIONS_H

#include <stdbool.h>

struct mr_tls_options {                 /* strings are NUL-terminated; NULL: not given */
	const char *ca_certs;           /* PEM file; NULL: the system's store */
	const char *certfile, *keyfile; /* PEM; keyfile NULL: in certfile */
	const char *password;           /* of an encrypted keyfile */
	const char *server_name; /* for SNI and verification; NULL: the host name connected to */
	const char *min_version; /* "1.2" (default) or "1.3" */
	bool no_verify;          /* then the CAs are not read */
	bool is_server;
};

#endif
