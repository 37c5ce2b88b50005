/* tcp: a stream over a TCP socket or an already connected descriptor.
 * SPDX-License-Identifier: MIT
 * I/O thread only. TCP_NODELAY and SO_KEEPALIVE are set, CLOEXEC too. */
#ifndef MR_NET_TCP_H
#define MR_NET_TCP_H

#include <sys/socket.h>

#include "net/stream.h"

/* Starts to connect; *gives*. Kinds of failure: MR_CONNECTION_REFUSED (ECONNREFUSED and the
 * unreachable ones, which differ in text and errno), MR_CONNECT_TIMEOUT (ETIMEDOUT). */
enum mr_status mr_tcp_open(struct mr_stream **out, const struct sockaddr *address, socklen_t size,
	mr_error *error);
/* Takes a connected, non-blocking, claimed descriptor (socketpair, accept). */
enum mr_status mr_tcp_adopt(struct mr_stream **out, int fd);
/* Closes with RST instead of FIN, for a peer that is known to be dead. */
void mr_tcp_abort(struct mr_stream *s);

#endif
