/* local_socket: a Unix socket that only this user can reach, and its file.
 * SPDX-License-Identifier: MIT
 * Any thread; never blocks. The file of a process that died is replaced; any other file is kept. */
#ifndef MR_BASE_LOCAL_SOCKET_H
#define MR_BASE_LOCAL_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct mr_local_socket {
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
	dev_t device; /* of the file at `path` */
	ino_t inode;  /* 0: there is none */
	int listener; /* -1: none */
};

/* Listens at `path`, which the caller has filled in; the file's mode is 0600. False, with the reason in
 * errno: EADDRINUSE if a process listens there, or another file is there. Call mr_local_socket_close in
 * either case. */
bool mr_local_socket_listen(struct mr_local_socket *s, int backlog);
/* Closes the listener and removes its file, unless another one has taken its place. */
void mr_local_socket_close(struct mr_local_socket *s);

#endif
