/* descriptor: the descriptors that the library owns: never 0 to 2, and none in a forked child.
 * SPDX-License-Identifier: MIT
 * Any thread. Code that makes a descriptor claims it at once. Claimed descriptors are closed only
 * by mr_descriptor_close, or disowned before other code closes them. A process may have been
 * started without standard input, output or error: output that the host or a library writes there
 * must not end in a socket of ours. */
#ifndef MR_BASE_DESCRIPTOR_H
#define MR_BASE_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>

/* Takes the result of a system call that makes a descriptor; -1 stays -1 and keeps errno. Returns
 * the descriptor, moved above 2 if necessary; if it cannot be moved, it is closed, and the result
 * is -1. *gives*. */
int mr_descriptor_claim(int fd);
/* Claims both; false: one cannot be moved, and both are closed and -1. */
bool mr_descriptor_claim_pair(int pair[2]);
void mr_descriptor_close(int fd); /* -1 is allowed; does not change errno */
/* For a descriptor that another library makes and closes: a forked child's copy is closed, the
 * number does not change. */
void mr_descriptor_note(int fd);
void mr_descriptor_disown(int fd);

/* Occupies the free numbers among 0 to 2 while another library makes descriptors. */
struct mr_descriptor_hold {
	int fds[3];
	size_t count;
};
void mr_descriptor_hold(struct mr_descriptor_hold *hold);
void mr_descriptor_let_go(struct mr_descriptor_hold *hold);

#endif
