/* machine: checks the transitions of a state machine, in every build.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_MACHINE_H
#define MR_BASE_MACHINE_H

#include "base/status.h"

struct mr_machine {
	const char *what; /* "channel" */
	const char *const *names;
	const unsigned *may_follow; /* for each state, the allowed next states as bits */
	unsigned count;
};

/* For the tables: a state as a bit, and its name for a list X(state). */
#define MR_BIT(state) (1u << (state))
#define MR_NAME(state) #state,

/* True if the transition is allowed. If not, it is a bug of the library: `fault` becomes an
 * MR_INTERNAL_ERROR with both names, unless it is set already; the machine must stay in its state,
 * and the object that it controls must end. */
bool mr_machine_moves(const struct mr_machine *machine, unsigned from, unsigned to,
	mr_error *fault);

#endif
