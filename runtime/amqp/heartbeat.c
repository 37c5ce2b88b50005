/* heartbeat: decides when to send a heartbeat and when the peer is dead.
 * SPDX-License-Identifier: MIT */
#include "amqp/heartbeat.h"

#define MISSED 2 /* intervals without a byte: heartbeats may be slightly more than one apart */

void mr_heartbeat_init(struct mr_heartbeat *hb, mr_msec interval, mr_msec now)
{
	*hb = (struct mr_heartbeat){.interval = interval, .sent = now, .heard = now};
}

void mr_heartbeat_sent(struct mr_heartbeat *hb, mr_msec now) { hb->sent = now; }

void mr_heartbeat_heard(struct mr_heartbeat *hb, mr_msec now)
{
	hb->heard = now;
	hb->looked = false;
}

void mr_heartbeat_deaf(struct mr_heartbeat *hb, bool deaf, mr_msec now)
{
	if (hb->deaf && !deaf) mr_heartbeat_heard(hb, now);
	hb->deaf = deaf;
}

enum mr_beat mr_heartbeat_check(struct mr_heartbeat *hb, mr_msec now)
{
	if (!hb->interval) return MR_BEAT_QUIET;
	if (!hb->deaf && now - hb->heard >= MISSED * hb->interval) {
		if (hb->looked) return MR_BEAT_DEAD;
		hb->looked = true;
		return MR_BEAT_LOOK;
	}
	return now - hb->sent >= hb->interval / 2 ? MR_BEAT_SEND : MR_BEAT_QUIET;
}

mr_msec mr_heartbeat_patience(const struct mr_heartbeat *hb) { return MISSED * hb->interval; }

mr_msec mr_heartbeat_deadline(const struct mr_heartbeat *hb)
{
	if (!hb->interval) return MR_NEVER;
	mr_msec send = hb->sent + hb->interval / 2;
	return hb->deaf ? send : mr_earlier(send, hb->heard + MISSED * hb->interval);
}
