/* replay: requests the steps of a plan one after the other, and handles the answers.
 * SPDX-License-Identifier: MIT
 * I/O thread; through recovery's port. */
#ifndef MR_LINK_REPLAY_H
#define MR_LINK_REPLAY_H

#include "link/recovery_state.h"

/* Continues the plan as far as possible without an answer. */
void mr_replay_go_on(struct mr_recovery *r);
/* The request with `r->token` has ended; takes nothing. */
void mr_replay_answered(struct mr_recovery *r, const mr_event *event);
/* True if the current step caused this end of a channel. */
bool mr_replay_ended(const struct mr_recovery *r, const mr_event *event);
/* The connection was lost, with a reason or NULL. Counts the loss against the current step if that
 * may have caused it, because it would end the next connection, too. */
void mr_replay_lost(struct mr_recovery *r, const mr_error *why);

#endif
