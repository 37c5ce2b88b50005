/* step: requests one step of a plan, and handles its answer.
 * SPDX-License-Identifier: MIT
 * I/O thread; through recovery's port. */
#ifndef MR_LINK_STEP_H
#define MR_LINK_STEP_H

#include "link/recovery_state.h"

enum mr_begun {
	MR_BEGUN,        /* its answer will come */
	MR_DONE_WITHOUT, /* it needs no answer */
	MR_HELD /* not now: it needs what another track declares or uses, or a pause is not over */
};

/* Requests the track's current step. `is_alone`: no other track waits for an answer. */
enum mr_begun mr_step_begin(struct mr_recovery *r, struct mr_track *track, bool is_alone);
/* Its answer has arrived: the track continues after it, or with its replacement. */
void mr_step_end(struct mr_recovery *r, struct mr_track *track);

/* Closes the scratch channel, if there is one: the next step that needs one opens another. */
void mr_step_leave_scratch(struct mr_recovery *r);

#endif
