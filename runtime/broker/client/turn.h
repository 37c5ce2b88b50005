/* turn: the work between two polls of the sockets, limited to a number of steps.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_TURN_H
#define MR_BROKER_CLIENT_TURN_H

#include "broker/client/broker.h"

static inline void mr_turn_begin(struct mr_broker *b, uint64_t steps)
{
	mr_store_begin_turn(&b->store, steps);
}
mr_msec mr_turn_deadline(const struct mr_broker *b); /* the time of the next tick; MR_NEVER */
/* Handles deadlines (times to live, expiring queues) at store.now. */
void mr_turn_tick(struct mr_broker *b);
/* Continues pending work. False: there is none left. */
bool mr_turn_resume(struct mr_broker *b);
bool mr_turn_has_more(const struct mr_broker *b);
/* Informs sessions that are not blocked any more. */
void mr_turn_tell(struct mr_broker *b);
/* Sends the confirms of publishes that the backing has taken. */
void mr_turn_confirm(struct mr_broker *b);
static inline void mr_turn_end(struct mr_broker *b)
{
	if (b->store.alarm) mr_store_watch(&b->store); /* memory other than messages may be free */
	if (b->store.relieved) mr_turn_tell(b);
	if (!mr_list_is_empty(&b->to_flush)) mr_turn_confirm(b);
}
/* Does all pending work in one turn. NULL is allowed. */
void mr_turn_finish(struct mr_broker *b);

#endif
