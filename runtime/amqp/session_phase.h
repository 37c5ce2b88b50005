/* session_phase: the phases of a session; session_state.c has the table of transitions.
 * SPDX-License-Identifier: MIT */
#ifndef MR_AMQP_SESSION_PHASE_H
#define MR_AMQP_SESSION_PHASE_H

#define MR_SESSION_STATES(X) X(IDLE) X(HANDSHAKE) X(OPEN) X(CLOSING) X(CLOSED)
#define MR_SESSION_STATE_ENUM_(s) MR_SESSION_##s,
enum mr_session_state { MR_SESSION_STATES(MR_SESSION_STATE_ENUM_) MR_SESSION_STATE_COUNT };

#endif
