/* wake: gets a sleeping thread up, once per sleep.
 * SPDX-License-Identifier: MIT
 * One side sleeps on `fd` and calls prepare, cancel, clear; any thread calls signal.
 * Whether `fd` is readable is the only truth about it: a signal's write may come after the cancel that
 * it raced with, so a sleeper clears what is readable, never what it believes to have been written. */
#ifndef MR_BRIDGE_WAKE_H
#define MR_BRIDGE_WAKE_H

#include <stdatomic.h>

#include "base/status.h"

struct mr_wake {
	int fd;           /* an eventfd: readable when the sleeper was signalled */
	char apart_1[64]; /* written by both sides: away from its neighbours */
	atomic_bool asleep;
	char apart_2[64];
};

enum mr_status mr_wake_open(struct mr_wake *wake, mr_error *error);
void mr_wake_close(struct mr_wake *wake);
/* Sleeper: announces a sleep. It must look at its queues once more after this, before it sleeps. */
void mr_wake_prepare(struct mr_wake *wake);
/* Sleeper: it is up, for whatever reason. True: somebody signalled it (his write may still be on its way);
 * false: it got up by itself, and nobody knows. */
bool mr_wake_cancel(struct mr_wake *wake);
/* Sleeper: makes `fd` unreadable again. */
void mr_wake_clear(struct mr_wake *wake);
/* Any thread, after it made work: a system call only if the sleeper sleeps and nobody woke it yet. */
void mr_wake_signal(struct mr_wake *wake);
/* Any thread: is the sleeper in, or about to go to, its sleep? */
bool mr_wake_is_asleep(const struct mr_wake *wake);

#endif
