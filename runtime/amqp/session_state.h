/* session_state: what session.c and session_requests.c share of a session, and how it ends.
 * SPDX-License-Identifier: MIT
 * Pure; for these two alone. */
#ifndef MR_AMQP_SESSION_STATE_H
#define MR_AMQP_SESSION_STATE_H

#include "amqp/channel_state.h"
#include "amqp/handshake.h"
#include "amqp/heartbeat.h"
#include "amqp/outlet.h"
#include "amqp/session_phase.h"
#include "base/map.h"

struct mr_session {
	const struct mr_session_options *options;
	/* Its life. `error` says why it is CLOSED. */
	enum mr_session_state state; /* written by mr_session_enter alone */
	mr_error error;
	/* The connection. Until tune is agreed the guard allows small frames only, and nothing beats. */
	struct mr_handshake handshake;
	struct mr_heartbeat heartbeat;
	struct mr_guard guard;
	struct mr_codec *codec;
	bool sniffed;          /* the peer was seen to speak AMQP */
	bool skips;            /* the last method of channel 0 was none that we know */
	mr_msec blocked_until; /* MR_NEVER: not blocked, or no limit */
	/* The channels, and what they share. */
	struct mr_outlet outlet;
	struct mr_amqp_channel **channels; /* by number; NULL where none is open */
	size_t channel_slots;
	struct mr_map
		stray; /* numbers that the broker closed: what comes before open-ok is of the past */
	mr_msec published_at; /* when the program last published; 0: it never did, or nobody knows */
	/* connection.update-secret: at most one is waited for. */
	uint64_t secret_token; /* who waits for update-secret-ok; 0: nobody */
	mr_msec secret_deadline;
	uint32_t late_secrets; /* update-secret-oks that still come, and that nobody waits for */
};

void mr_session_enter(struct mr_session *s, enum mr_session_state next);
/* The peer broke the protocol, or we cannot go on: says so to the peer when it can be said. */
void mr_session_fail(struct mr_session *s, const mr_error *error);
void mr_session_fail_memory(struct mr_session *s);
/* The secret on its way is answered, or has its time up. */
void mr_session_secret_done(struct mr_session *s, const mr_error *error);

/* Opens a channel under a free number; tells when it cannot. */
void mr_session_open_channel(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
/* A channel has ended: its number is free, or goes to the open that waits for it. */
void mr_session_channel_ended(struct mr_session *s, struct mr_amqp_channel *ch);
struct mr_amqp_channel *mr_session_channel_at(const struct mr_session *s,
	uint16_t number); /* or NULL */

#endif
