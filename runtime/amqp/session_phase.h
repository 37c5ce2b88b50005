/* session_phase: the phases of a session, and how it ends; session_state.c has the table of transitions.
 * SPDX-License-Identifier: MIT */
#ifndef MR_AMQP_SESSION_PHASE_H
#define MR_AMQP_SESSION_PHASE_H

#include "base/status.h"

#define MR_SESSION_STATES(X) X(IDLE) X(HANDSHAKE) X(OPEN) X(CLOSING) X(CLOSED)
#define MR_SESSION_STATE_ENUM_(s) MR_SESSION_##s,
enum mr_session_state { MR_SESSION_STATES(MR_SESSION_STATE_ENUM_) MR_SESSION_STATE_COUNT };

struct mr_session;
/* The transport is gone, or must go: every request, publish and channel ends with `why`, and the session
 * with them. */
void mr_session_end(struct mr_session *s, const mr_error *why);

#endif
