/* machine: a state machine's moves, checked in every build.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_MACHINE_H
#define MR_BASE_MACHINE_H

#include "base/status.h"

struct mr_machine {
	const char *what; /* "channel" */
	const char *const *names;
	const unsigned *may_follow; /* for each state the set of those that may follow, as bits */
	unsigned count;
};

/* For its tables: a state in a set of them, and the name of each of a list X(state). */
#define MR_BIT(state) (1u << (state))
#define MR_NAME(state) #state,

/* May it move from here to there? When not, `fault` (kept when it says something already) says so with both names:
 * a fault of ours, MR_INTERNAL_ERROR. Then the machine stays where it is, and what it drives must end. */
bool mr_machine_moves(const struct mr_machine *machine, unsigned from, unsigned to,
	mr_error *fault);

#endif
