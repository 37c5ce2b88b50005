/* wake: wakes a sleeping thread, once per sleep.
 * SPDX-License-Identifier: MIT
 * One side sleeps on `fd` and calls prepare, cancel, clear; any thread calls signal.
 * Only `fd` itself says whether it was written: a signal may write after the cancel that it raced
 * with, so the sleeper clears `fd` whenever it is readable, whatever its own state says. */
#ifndef MR_BRIDGE_WAKE_H
#define MR_BRIDGE_WAKE_H

#include <stdatomic.h>

#include "base/status.h"

struct mr_wake {
	int fd;           /* an eventfd: readable when the sleeper was signalled */
	char apart_1[64]; /* both sides write `asleep`: it has its own cache line */
	atomic_bool asleep;
	char apart_2[64];
	atomic_int mirror; /* a socket that gets a byte whenever `fd` becomes readable; -1: none */
};

enum mr_status mr_wake_open(struct mr_wake *wake, mr_error *error);
void mr_wake_close(struct mr_wake *wake);
/* Sleeper: announces a sleep. It must check its queues once more after this, before it sleeps. */
void mr_wake_prepare(struct mr_wake *wake);
/* Sleeper: it is awake, for any reason. True: another thread signalled it (whose write may still be
 * pending); false: it woke by itself, and no other thread knows. */
bool mr_wake_cancel(struct mr_wake *wake);
/* Sleeper: makes `fd` unreadable again. */
void mr_wake_clear(struct mr_wake *wake);
/* Any thread, after it added work: a system call only if the sleeper sleeps and was not woken
 * yet. */
void mr_wake_signal(struct mr_wake *wake);
/* Any thread: writes a byte to a socket, if it has room: else its peer has bytes to read. */
void mr_wake_tell(int socket);
/* Any thread: true if the sleeper sleeps or is about to. */
bool mr_wake_is_asleep(const struct mr_wake *wake);

#endif
