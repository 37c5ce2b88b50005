/* session_state: the state of a session, and its end; shared by session.c and session_requests.c.
 * SPDX-License-Identifier: MIT
 * Pure; only for these two. */
#ifndef MR_AMQP_SESSION_STATE_H
#define MR_AMQP_SESSION_STATE_H

#include "amqp/channel_state.h"
#include "amqp/handshake.h"
#include "amqp/heartbeat.h"
#include "amqp/outlet.h"
#include "amqp/session_phase.h"
#include "amqp/piece.h"
#include "base/map.h"

struct mr_session {
	const struct mr_session_options *options;
	enum mr_session_state state; /* written only by mr_session_enter */
	const mr_error *error;       /* kept (mr_error_keep): why it is CLOSED */
	/* The connection. Until tune the guard allows only small frames, and there are no
	 * heartbeats. */
	struct mr_handshake handshake;
	struct mr_heartbeat heartbeat;
	struct mr_guard guard;
	struct mr_codec *codec;
	struct mr_piece piece; /* of the frame that has come in part */
	bool sniffed;          /* the peer is known to speak AMQP */
	bool skips;            /* the last method of channel 0 was unknown */
	mr_msec blocked_until; /* MR_NEVER: not blocked, or no limit */
	/* The channels, and their shared outlet. */
	struct mr_outlet outlet;
	struct mr_amqp_channel **channels; /* by number; NULL: not open */
	size_t channel_slots;
	/* Channel numbers that the broker closed: frames before the next open-ok are old. */
	struct mr_map stray;
	mr_msec published_at; /* the program's last publish; 0: none, or unknown */
	/* connection.update-secret: at most one is pending. */
	uint64_t secret_token; /* of the request that waits for update-secret-ok; 0: none */
	mr_msec secret_deadline;
	uint32_t late_secrets; /* update-secret-oks that are expected after a timeout */
};

void mr_session_enter(struct mr_session *s, enum mr_session_state next);
/* The peer broke the protocol, or the session cannot continue: sends a close if that is
 * possible. */
void mr_session_fail(struct mr_session *s, const mr_error *error);
void mr_session_fail_memory(struct mr_session *s);
/* The pending update-secret was answered, or has timed out. */
void mr_session_secret_done(struct mr_session *s, const mr_error *error);

/* Opens a channel under a free number; reports a failure. */
void mr_session_open_channel(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
/* A channel has ended: its number is free, or used by an open that waits for it. */
void mr_session_channel_ended(struct mr_session *s, struct mr_amqp_channel *ch);
struct mr_amqp_channel *mr_session_channel_at(const struct mr_session *s,
	uint16_t number); /* or NULL */

#endif
