/* ev: libev, without its names being visible to the host or the host's to it.
 * SPDX-License-Identifier: MIT */
#include "base/ev.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#define LIBRARY "libev.so.4" /* libev 4.x; the name is libev's promise of binary compatibility */

struct mr_ev_calls mr_ev;

/* Sanitizers do not allow RTLD_DEEPBIND, and no host with a libev of its own is run with them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BINDING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BINDING 0
#endif
#endif
#ifndef BINDING
#define BINDING RTLD_DEEPBIND
#endif

#define TAKE(result, name, arguments)                                                              \
	*(void **)&mr_ev.name = dlsym(library, "ev_" #name);                                       \
	is_whole = is_whole && mr_ev.name;

static bool is_whole;

__attribute__((constructor)) static void load(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | BINDING);
	if (library) {
		is_whole = true;
		MR_EV_CALLS(TAKE)
	}
	if (!is_whole) fprintf(stderr, "moonrabbit: %s cannot be used: %s\n", LIBRARY, dlerror());
}

struct ev_loop *mr_ev_open(void)
{
	return is_whole ? ev_loop_new(EVFLAG_NOENV | EVFLAG_NOSIGMASK) : NULL;
}
