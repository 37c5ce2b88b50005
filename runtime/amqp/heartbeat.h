/* heartbeat: says when to send a heartbeat and when the peer counts as dead.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock of its own; the caller passes `now`. */
#ifndef MR_AMQP_HEARTBEAT_H
#define MR_AMQP_HEARTBEAT_H

#include <stdbool.h>

#include "base/clock.h"

enum mr_beat { MR_BEAT_QUIET, MR_BEAT_SEND, MR_BEAT_LOOK, MR_BEAT_DEAD };

struct mr_heartbeat {        /* held by value; owns nothing, needs no fini */
	mr_msec interval;    /* the negotiated one; 0 turns heartbeats off */
	mr_msec sent, heard; /* when bytes last left and last came */
	bool deaf;           /* reading is paused, so silence proves nothing */
	bool looked;         /* silence was reported once; the socket was to be looked at again */
};

void mr_heartbeat_init(struct mr_heartbeat *hb, mr_msec interval, mr_msec now);
void mr_heartbeat_sent(struct mr_heartbeat *hb, mr_msec now);
void mr_heartbeat_heard(struct mr_heartbeat *hb, mr_msec now); /* any byte counts */
/* Pausing stops the dead clock; resuming starts it anew at `now`. */
void mr_heartbeat_deaf(struct mr_heartbeat *hb, bool deaf, mr_msec now);
/* SEND: nothing was sent for half the interval. LOOK: nothing heard for two intervals: read what is
 * in the socket, then check again; DEAD is answered only after a LOOK that was followed by another
 * check without anything heard in between (a late loop must not kill a live peer). DEAD and LOOK
 * come before SEND. */
enum mr_beat mr_heartbeat_check(struct mr_heartbeat *hb, mr_msec now);
mr_msec mr_heartbeat_patience(const struct mr_heartbeat *hb); /* how long a peer may be silent */
mr_msec mr_heartbeat_deadline(const struct mr_heartbeat *hb); /* MR_NEVER when off */

#endif
