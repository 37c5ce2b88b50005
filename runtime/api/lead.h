/* lead: whether a host that waits runs the I/O loop itself (bridge/helm.h).
 * SPDX-License-Identifier: MIT
 * Host thread, within a poll. It does where it sends a little and waits for the answer, again and
 * again, and where what comes is handled as fast as it can be read: waking the other thread, and
 * fetching each message from its cache, would take longer than the work. Where much is sent, or the
 * work is long, two threads are faster than one. */
#ifndef MR_API_LEAD_H
#define MR_API_LEAD_H

#include "api/handle.h"

/* `until` is of mr_clock_real_us, or MR_NEVER. */

/* A poll has had events without a wait. */
void mr_lead_at_once(mr_runtime *rt);
/* A wait on the I/O thread begins: the helm may end it. */
void mr_lead_expect(mr_runtime *rt);
/* A wait on the I/O thread has ended with `n` events: asks for the helm after some quick ones. */
void mr_lead_judge(mr_runtime *rt, uint64_t began, int n);
/* True: it has the helm now, until mr_lead_end. Its signals are held until the end of the poll. */
bool mr_lead_begin(mr_runtime *rt, int64_t until);
/* Runs the loop for a moment; true: a signal has come. */
bool mr_lead_turn(mr_runtime *rt);
/* A turn that began then is over, and has brought `n` events: keeps the helm for the next one, or gives it
 * back. Without an event it may have brought a part of a large message. */
void mr_lead_end(mr_runtime *rt, uint64_t began, int n);

#endif
