/* descriptor: the descriptors that the library owns: never 0 to 2, and none in a forked child.
 * SPDX-License-Identifier: MIT
 * Any thread. Whoever makes a descriptor claims it at once; claimed ones are closed by mr_descriptor_close
 * alone, or disowned before somebody else closes them. A process may have been started without standard
 * input, output or error: what the host, or a library, writes there must not end in a socket of ours. */
#ifndef MR_BASE_DESCRIPTOR_H
#define MR_BASE_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>

/* Takes a new descriptor, or what a system call gave instead: -1 stays -1, errno included. Returns it, moved
 * above 2; closed and -1 when it cannot be moved. *gives*. */
int mr_descriptor_claim(int fd);
/* Both; false: one cannot be moved, both are closed and -1. */
bool mr_descriptor_claim_pair(int pair[2]);
void mr_descriptor_close(int fd); /* takes -1; errno stays */
/* For what libraries make, and close, themselves: a child's copy is closed, the number is theirs. */
void mr_descriptor_note(int fd);
void mr_descriptor_disown(int fd);

/* Holds what is free of 0 to 2 while a library makes descriptors of its own. */
struct mr_descriptor_hold {
	int fds[3];
	size_t count;
};
void mr_descriptor_hold(struct mr_descriptor_hold *hold);
void mr_descriptor_let_go(struct mr_descriptor_hold *hold);

#endif
