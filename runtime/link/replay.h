/* replay: goes through the tracks of a plan side by side.
 * SPDX-License-Identifier: MIT
 * I/O thread; through recovery's port. */
#ifndef MR_LINK_REPLAY_H
#define MR_LINK_REPLAY_H

#include "link/recovery_state.h"

/* Continues each track as far as possible without an answer. */
void mr_replay_go_on(struct mr_recovery *r);
/* A request of recovery has ended; takes nothing. */
void mr_replay_answered(struct mr_recovery *r, const mr_event *event);
/* True if the current step of a track caused this end of a channel. */
bool mr_replay_ended(const struct mr_recovery *r, const mr_event *event);
/* The connection was lost, with a reason or NULL. Counts the loss against the steps that may have
 * caused it, because they would end the next connection, too. */
void mr_replay_lost(struct mr_recovery *r, const mr_error *why);
void mr_replay_due(struct ev_loop *loop, ev_timer *timer, int revents); /* for the timer `pace` */

#endif
