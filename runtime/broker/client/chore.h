/* chore: what takes longer than a turn: it goes on in the turns that follow.
 * SPDX-License-Identifier: MIT
 * Until it is done its session is not read from. */
#ifndef MR_BROKER_CLIENT_CHORE_H
#define MR_BROKER_CLIENT_CHORE_H

#include <stdint.h>

#include "base/list.h"

struct mr_broker;
struct mr_broker_channel;
struct mr_broker_session;

enum mr_chore_kind {
	MR_CHORE_NONE,
	MR_CHORE_STORE, /* a message on its way into very many queues */
	MR_CHORE_SETTLE,
	MR_CHORE_COMMIT,
	MR_CHORE_ROLLBACK,
	MR_CHORE_RAZE, /* what hung on a queue or an exchange that is deleted */
	MR_CHORE_QUIT,
	MR_CHORE_DROP /* a session's: the exclusive queues of a connection that ends */
};

struct mr_chore {
	struct mr_node node; /* in mr_broker.chores, while it waits for its next turn */
	enum mr_chore_kind kind;
	uint8_t how;         /* enum mr_settling; 0: each as it is staged */
	uint64_t next, last; /* the tags that are left */
	uint32_t answer;     /* the method that says it is done; 0: none */
	uint32_t count;      /* in the answer */
};

void mr_chore_start(struct mr_broker_channel *ch, const struct mr_chore *chore);
void mr_chore_finish(struct mr_broker_channel *ch); /* whatever the turn */
void mr_chore_drop_queues(struct mr_broker_session *s);
void mr_chores_resume(struct mr_broker *b);

#endif
