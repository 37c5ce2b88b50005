/* thread: starts a thread of the library within a host.
 * SPDX-License-Identifier: MIT */
#ifndef MR_BASE_THREAD_H
#define MR_BASE_THREAD_H

#include <pthread.h>

/* The thread gets no signal, which are the host's, and this name of at most 15 bytes, by which top -H
 * and gdb show it. Returns 0 or an errno. */
int mr_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *owner);

#endif
