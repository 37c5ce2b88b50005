/* repair: brings back, on an open connection, what the broker ended: a channel, a consumer.
 * SPDX-License-Identifier: MIT
 * I/O thread. When to try is the built-in back-off's, or the host's policy's: if the policy does not answer in time,
 * the back-off applies. */
#ifndef MR_LINK_REPAIR_H
#define MR_LINK_REPAIR_H

#include "link/recovery_state.h"

#define MR_POLICY_TIME 1000 /* ms for the host's policy to answer */

/* A try is planned to bring back what the broker ended: this channel, or consumers (0). `why` may be NULL: then
 * `kind` says it. */
void mr_repair_plan(struct mr_recovery *r, uint16_t channel, const mr_error *why, int kind);
/* The host's policy: in so many ms, or never (UINT64_MAX). */
void mr_repair_decide(struct mr_recovery *r, uint64_t delay);
void mr_repair_due(struct ev_loop *loop, ev_timer *timer, int revents); /* of the timer `repair` */

#endif
