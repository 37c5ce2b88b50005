/* listen: a TCP port to be connected to.
 * SPDX-License-Identifier: MIT
 * Any thread; never blocks. */
#ifndef MR_NET_LISTEN_H
#define MR_NET_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "net/stream.h"

/* Binds an address literal, "localhost", or a path (of a socket that is this user's alone), and
 * listens. Port 0: the kernel picks one; *actual tells. *fd is given. MR_CONNECTION_REFUSED with errno: the port is in use, the address is not ours;
 * MR_BAD_ARGUMENT: not an address. */
enum mr_status mr_listen_open(int *fd, const char *address, uint16_t port, uint16_t *actual,
	mr_error *error);
bool mr_listen_is_loopback(const char *address); /* also for what is no address at all */
/* The next connection, as a stream that is given; NULL: none waits (or it broke). `exhausted` is set when
 * one waits and there is no descriptor for it: the port stays readable meanwhile. */
struct mr_stream *mr_listen_accept(int fd, bool *exhausted);
/* The same, as a descriptor that is given, and whose it is; -1: none. */
int mr_listen_accept_fd(int fd, struct sockaddr *from, socklen_t *size, bool *exhausted);

#endif
