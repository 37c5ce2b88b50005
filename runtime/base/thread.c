/* thread: starts a thread of the library within a host.
 * SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>

int mr_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *owner)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
	int error = pthread_create(thread, NULL, run, owner);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error) pthread_setname_np(*thread, name);
	return error;
}
