/* replay: asks the broker for the steps of a plan, one after the other, and judges the answers.
 * SPDX-License-Identifier: MIT
 * I/O thread; through recovery's port. */
#ifndef MR_LINK_REPLAY_H
#define MR_LINK_REPLAY_H

#include "link/recovery_state.h"

/* Goes on with the plan as far as it can without an answer. */
void mr_replay_go_on(struct mr_recovery *r);
/* The end of what `r->token` asked for has come; takes nothing. */
void mr_replay_answered(struct mr_recovery *r, const mr_event *event);
/* Is this end of a channel the doing of the step under way? */
bool mr_replay_ended(const struct mr_recovery *r, const mr_event *event);
/* The connection has gone, for this reason if any: it would end the next one, too, if the step under way did it. */
void mr_replay_lost(struct mr_recovery *r, const mr_error *why);

#endif
