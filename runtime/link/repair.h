/* repair: restores, on an open connection, channels and consumers that the broker ended.
 * SPDX-License-Identifier: MIT
 * I/O thread. The built-in back-off or the host's policy decides when to try; if the policy does
 * not answer in time, the back-off applies. */
#ifndef MR_LINK_REPAIR_H
#define MR_LINK_REPAIR_H

#include "link/recovery_state.h"

#define MR_POLICY_TIME 1000 /* ms for the host's policy to answer */

/* Plans a try to restore this channel, or consumers (0). If `why` is NULL, `kind` is the reason. */
void mr_repair_plan(struct mr_recovery *r, uint16_t channel, const mr_error *why, int kind);
/* The decision of the host's policy: in this many ms, or never (UINT64_MAX). */
void mr_repair_decide(struct mr_recovery *r, uint64_t delay);
/* There was no memory for a plan: makes it later. */
void mr_repair_put_off(struct mr_recovery *r);
void mr_repair_due(struct ev_loop *loop, ev_timer *timer, int revents); /* for the timer `repair` */

#endif
