/* own_folder: a folder for the sockets of this process alone.
 * SPDX-License-Identifier: MIT
 * Any thread; files may block. The process holds a lock on its folder, which the kernel gives up however
 * the process ends. So whoever makes a folder finds those of killed processes beside it, and removes
 * them. */
#ifndef MR_BASE_OWN_FOLDER_H
#define MR_BASE_OWN_FOLDER_H

#include <stdbool.h>
#include <sys/un.h>

/* Bytes that a path in the folder may add to it, with its NUL. */
#define MR_OWN_FOLDER_ROOM 16

struct mr_own_folder {
	char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "": none */
	int fd;                                               /* has the lock; -1: none */
};

/* Makes one that only this user can enter in `parent`, which is absolute. False, with the reason in
 * errno: ENAMETOOLONG if a socket in it would have too long a path. *gives*. */
bool mr_own_folder_make(struct mr_own_folder *f, const char *parent);
/* Removes the folder, and the sockets in it. One that was not made is allowed. */
void mr_own_folder_remove(struct mr_own_folder *f);

#endif
