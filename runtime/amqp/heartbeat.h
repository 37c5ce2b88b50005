/* heartbeat: decides when to send a heartbeat and when the peer is dead.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock of its own; the caller passes `now`. */
#ifndef MR_AMQP_HEARTBEAT_H
#define MR_AMQP_HEARTBEAT_H

#include <stdbool.h>

#include "base/clock.h"

enum mr_beat { MR_BEAT_QUIET, MR_BEAT_SEND, MR_BEAT_LOOK, MR_BEAT_DEAD };

struct mr_heartbeat {        /* held by value; owns nothing, needs no fini */
	mr_msec interval;    /* the negotiated one; 0 turns heartbeats off */
	mr_msec sent, heard; /* when bytes were last sent and last received */
	bool deaf;           /* reading is paused, so silence proves nothing */
	bool looked;         /* silence was reported once; the socket must be read again */
};

void mr_heartbeat_init(struct mr_heartbeat *hb, mr_msec interval, mr_msec now);
void mr_heartbeat_sent(struct mr_heartbeat *hb, mr_msec now);
void mr_heartbeat_heard(struct mr_heartbeat *hb, mr_msec now); /* any byte counts */
/* Pausing stops the time of silence; resuming starts it again at `now`. */
void mr_heartbeat_deaf(struct mr_heartbeat *hb, bool deaf, mr_msec now);
/* SEND: nothing was sent for half the interval. LOOK: nothing was received for two intervals: read
 * the socket, then check again. DEAD: nothing was received between a LOOK and this check (so a late
 * loop does not end a live connection). DEAD and LOOK take precedence over SEND. */
enum mr_beat mr_heartbeat_check(struct mr_heartbeat *hb, mr_msec now);
mr_msec mr_heartbeat_patience(const struct mr_heartbeat *hb); /* the allowed silence of a peer */
mr_msec mr_heartbeat_deadline(const struct mr_heartbeat *hb); /* MR_NEVER when off */

#endif
