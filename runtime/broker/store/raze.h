/* raze: deletes queues, exchanges and bindings, with all that depends on them.
 * SPDX-License-Identifier: MIT
 * Pure. A name goes at once, and nothing is routed there any more. What hangs on it follows step by
 * step: consumers, bindings, exchanges that lost their last binding. */
#ifndef MR_BROKER_STORE_RAZE_H
#define MR_BROKER_STORE_RAZE_H

#include "broker/store/vhost.h"

/* Deletes a queue: cancels its receivers, drops its messages. It is freed when its deliveries are
 * settled. */
void mr_raze_queue(struct mr_queue *q);
/* Removes it with its bindings; auto-delete exchanges that lost their last one are deleted, too. */
void mr_raze_exchange(struct mr_exchange *x);
void mr_raze_binding(struct mr_binding *binding);
/* Continues with the objects of a list (of mr_target.ruin), and with those deleted in this turn.
 * False: the turn is over. */
bool mr_raze(struct mr_store *s, struct mr_node *ruins);

#endif
