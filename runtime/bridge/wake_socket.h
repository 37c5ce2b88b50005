/* wake_socket: a Unix socket that tells a host of work, for scripts that cannot watch a descriptor.
 * SPDX-License-Identifier: MIT
 * The host thread makes it, the I/O thread accepts its peer, and whoever makes the host's wake
 * readable also writes a byte (bridge/wake). `out` is one number for all peers: the I/O thread
 * replaces what it refers to by dup3, so that a simultaneous write goes to the old peer or the new
 * one. */
#ifndef MR_BRIDGE_WAKE_SOCKET_H
#define MR_BRIDGE_WAKE_SOCKET_H

#include "base/local_socket.h"
#include "base/own_folder.h"
#include "bridge/wake.h"

struct mr_wake_socket {
	struct mr_local_socket local; /* its listener: I/O: closed by it */
	struct mr_own_folder folder;
	int out; /* the peer, or a socket without one; lives as long as the bridge */
};

/* Host: listens at an absolute path, or, if NULL, in a new private folder. A file that a dead
 * process left there is replaced; any other file is an error. *gives*. */
enum mr_status mr_wake_socket_open(struct mr_wake_socket **out, const char *path, mr_error *error);
/* I/O: the next connection of this process, -1: none. Others are closed. `exhausted` is set if one
 * waits but there is no free descriptor. *gives*. */
int mr_wake_socket_accept(const struct mr_wake_socket *s, bool *exhausted);
/* I/O: from now on bytes are written to this peer; one is written now if `wake` is readable. False:
 * there is no descriptor for it. */
bool mr_wake_socket_connect(const struct mr_wake_socket *s, int peer, const struct mr_wake *wake);
/* I/O: reads what the peer has written, which nobody needs. False: it has closed. */
bool mr_wake_socket_discard(int peer);
/* I/O, or host after it: closes the listener, and removes its file and folder. */
void mr_wake_socket_remove(struct mr_wake_socket *s);
/* Host, after the I/O thread has ended. NULL is allowed. */
void mr_wake_socket_free(struct mr_wake_socket *s);

#endif
