/* chore: what takes longer than a turn: it goes on in the turns that follow.
 * SPDX-License-Identifier: MIT
 * Until it is done its session is not read from. */
#ifndef MR_BROKER_CLIENT_CHORE_H
#define MR_BROKER_CLIENT_CHORE_H

#include "broker/client/channel.h"

void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore);
void mr_chore_finish(struct mr_broker_channel *ch); /* whatever the turn */
/* What hung on a queue or an exchange that was deleted: then `answer` is said, with `count`. */
void mr_chore_raze(struct mr_broker_channel *ch, uint32_t answer, uint32_t count);
/* The exclusive queues of a connection that ends. */
void mr_chore_drop_queues(struct mr_broker_session *s);
/* One that waits in mr_broker.chores. True: it is done. Either way *session is whose it is. */
bool mr_chore_go_on(struct mr_chore *c, struct mr_broker_session **session);

#endif
