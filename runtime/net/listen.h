/* listen: a listening TCP port or Unix socket.
 * SPDX-License-Identifier: MIT
 * Any thread; never blocks. */
#ifndef MR_NET_LISTEN_H
#define MR_NET_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "net/stream.h"

/* Binds an address literal, "localhost", or a path (of a socket that only this user can use), and
 * listens. Port 0: the kernel chooses one, *actual receives it. *fd is *given*.
 * MR_CONNECTION_REFUSED with errno: the port is in use, or the address is not local;
 * MR_BAD_ARGUMENT: not an address. */
enum mr_status mr_listen_open(int *fd, const char *address, uint16_t port, uint16_t *actual,
	mr_error *error);
bool mr_listen_is_loopback(const char *address); /* also true for text that is not an address */
/* *Gives* the next connection as a stream; NULL: none waits (or it broke). `exhausted` is set if
 * one waits but there is no free descriptor; the port then stays readable. */
struct mr_stream *mr_listen_accept(int fd, bool *exhausted);
/* *Gives* the next connection as a descriptor, with the peer's address; -1: none. */
int mr_listen_accept_fd(int fd, struct sockaddr *from, socklen_t *size, bool *exhausted);

#endif
