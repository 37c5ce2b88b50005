/* idle: finds consumers that the broker has dropped without a word.
 * SPDX-License-Identifier: MIT
 * I/O thread. RabbitMQ 3.10.8 sometimes sends no basic.cancel when a quorum queue is deleted through
 * another node: then the consumer would wait for ever. So a consumer that has got no message for
 * the time of `consumer_check` is looked at by a passive declare of its queue; if that is gone, or
 * has messages and no consumer at all, it is as if the broker had cancelled it. */
#ifndef MR_LINK_IDLE_H
#define MR_LINK_IDLE_H

#include "link/recovery_state.h"

/* The connection is open: looks from now on. */
void mr_idle_begin(struct mr_recovery *r);
void mr_idle_due(struct ev_loop *loop, ev_timer *timer, int revents); /* for the timer `idle` */
/* The broker does not know this consumer: it is restored when its queue is there. */
void mr_idle_gone(struct mr_recovery *r, struct mr_record *consumer);

#endif
