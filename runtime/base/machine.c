/* machine: checks the transitions of a state machine, in every build.
 * SPDX-License-Identifier: MIT */
#include "base/machine.h"

static const char *name_of(const struct mr_machine *machine, unsigned state)
{
	return state < machine->count ? machine->names[state] : "no state at all";
}

bool mr_machine_moves(const struct mr_machine *machine, unsigned from, unsigned to, mr_error *fault)
{
	bool is_known = from < machine->count && to < machine->count;
	if (is_known && machine->may_follow[from] & MR_BIT(to)) return true;
	if (!fault->kind)
		mr_error_set(fault, MR_INTERNAL_ERROR, MR_SCOPE_CONNECTION, 541,
			"a fault of ours, please report it: a %s would move from %s to %s",
			machine->what, name_of(machine, from), name_of(machine, to));
	return false;
}
