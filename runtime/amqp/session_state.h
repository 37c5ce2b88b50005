/* session_state: what session.c and session_requests.c share of a session.
 * SPDX-License-Identifier: MIT
 * Pure; for these two alone. */
#ifndef MR_AMQP_SESSION_STATE_H
#define MR_AMQP_SESSION_STATE_H

#include "amqp/channel.h"
#include "amqp/heartbeat.h"
#include "amqp/session.h"
#include "base/map.h"

struct mr_session {
	const struct mr_session_options *options;
	enum mr_session_state state;
	struct mr_handshake handshake;
	struct mr_heartbeat heartbeat;
	struct mr_guard guard;
	struct mr_codec *codec;
	struct mr_outlet outlet;
	struct mr_amqp_channel **channels; /* by number; NULL where none is open */
	size_t channel_slots;
	struct mr_map
		stray; /* numbers that the broker closed: what comes before open-ok is of the past */
	bool sniffed;  /* the peer was seen to speak AMQP */
	mr_msec blocked_until; /* MR_NEVER: not blocked, or no limit */
	uint64_t secret_token; /* who waits for update-secret-ok; 0: nobody */
	uint32_t late_secrets; /* update-secret-oks that still come, and that nobody waits for */
	mr_msec secret_deadline;
	mr_msec published_at; /* when the program last published; 0: it never did, or nobody knows */
	mr_error error;
};

/* The connection cannot go on for want of memory. */
void mr_session_fail_memory(struct mr_session *s);
/* Opens a channel under a free number; tells when it cannot. */
void mr_session_open_channel(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
struct mr_amqp_channel *mr_session_channel_at(const struct mr_session *s,
	uint16_t number); /* or NULL */

#endif
