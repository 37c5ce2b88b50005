/* gather: acks wait for others, so that one frame, and one write, settles several messages.
 * SPDX-License-Identifier: MIT
 * Pure; for session. The first ack of a millisecond is written at once: a slow consumer's never waits.
 * Those after it wait for the next millisecond, for another write, or until they are an eighth of the
 * prefetch: so the broker always has seven eighths to go on with. */
#ifndef MR_AMQP_GATHER_H
#define MR_AMQP_GATHER_H

#include "amqp/channel_state.h"

/* Asked before a write. True: there is nothing to write but acks that may wait, until
 * outlet->acks_due. False: all must be flushed now. */
bool mr_gather_waits(struct mr_outlet *outlet, mr_msec now);
/* The program, or the library, asks the broker for this prefetch; 0 is none. */
void mr_gather_note_prefetch(struct mr_amqp_channel *ch, uint32_t prefetch);

#endif
