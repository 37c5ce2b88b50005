/* chore: work that takes longer than a turn, and continues in later turns.
 * SPDX-License-Identifier: MIT
 * Its session is not read until the chore is done. */
#ifndef MR_BROKER_CLIENT_CHORE_H
#define MR_BROKER_CLIENT_CHORE_H

#include "broker/client/channel.h"

void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore);
void mr_chore_finish(struct mr_broker_channel *ch); /* regardless of the turn */
/* Removes what depends on a deleted queue or exchange; then sends `answer`, with `count`. */
void mr_chore_raze(struct mr_broker_channel *ch, uint32_t answer, uint32_t count);
/* Deletes the exclusive queues of a connection that ends. */
void mr_chore_drop_queues(struct mr_broker_session *s);
/* Continues a chore of mr_broker.chores. True: it is done. *session receives its session. */
bool mr_chore_go_on(struct mr_chore *c, struct mr_broker_session **session);

#endif
