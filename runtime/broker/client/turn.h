/* turn: what is done between two looks at the sockets: no more than so many steps of work.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_TURN_H
#define MR_BROKER_CLIENT_TURN_H

#include "broker/client/broker.h"

static inline void mr_turn_begin(struct mr_broker *b, uint64_t steps)
{
	mr_store_begin_turn(&b->store, steps);
}
mr_msec mr_turn_deadline(const struct mr_broker *b); /* when a tick is wanted; MR_NEVER */
/* Does what is due (times to live, expiring queues) at store.now. */
void mr_turn_tick(struct mr_broker *b);
/* Goes on with what had to wait. False: there is nothing left. */
bool mr_turn_resume(struct mr_broker *b);
bool mr_turn_has_more(const struct mr_broker *b);
/* Sessions that are blocked no more are told. */
void mr_turn_tell(struct mr_broker *b);
static inline void mr_turn_end(struct mr_broker *b)
{
	if (b->store.alarm) mr_store_watch(&b->store); /* what is gone may have been no message */
	if (b->store.relieved) mr_turn_tell(b);
}
/* Does all that is left, in one turn. Takes NULL. */
void mr_turn_finish(struct mr_broker *b);

#endif
