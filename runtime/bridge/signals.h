/* signals: keeps the host's signals waiting while its thread runs the I/O loop.
 * SPDX-License-Identifier: MIT
 * Nobody knows what a handler does: it may call exit(), or jump out of the loop. So it runs before or
 * after, and the descriptor tells the loop that one waits. Faults are not kept waiting.
 * Host's thread, and whoever has the helm. */
#ifndef MR_BRIDGE_SIGNALS_H
#define MR_BRIDGE_SIGNALS_H

#include <signal.h>

#include "base/status.h"

struct mr_signals {
	int fd;       /* a signalfd: readable while one waits that the host does not block itself */
	sigset_t all; /* what is held */
	sigset_t before; /* the mask of the host */
	sigset_t told;   /* the mask that `fd` was made for */
	bool are_held;
};

enum mr_status mr_signals_open(struct mr_signals *s, mr_error *error);
void mr_signals_close(struct mr_signals *s);
/* Both by the same thread; of no effect if it is so already. */
void mr_signals_hold(struct mr_signals *s);
void mr_signals_let(struct mr_signals *s);
/* `fd` is readable. True: a handler will run when they are let. False: there is none for it, so the
 * signal has had its effect now. */
bool mr_signals_are_caught(struct mr_signals *s);
/* The mask for a sleep that a signal ends (ppoll); NULL: the thread's own. */
const sigset_t *mr_signals_mask(const struct mr_signals *s);

#endif
