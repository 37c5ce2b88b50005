/* bulletin: writes on the board of a gateway what happens between it and its Redis.
 * SPDX-License-Identifier: MIT
 * Broker thread. Who reads the board writes the log: this thread has none. */
#ifndef MR_BROKER_SERVER_BULLETIN_H
#define MR_BROKER_SERVER_BULLETIN_H

#include "bridge/notices.h"
#include "broker/client/pledge.h"
#include "redis/view.h"

struct mr_bulletin { /* zeroed but for the board */
	struct mr_notices *board;
	struct mr_notice state;       /* the newest one on the board */
	mr_msec was_lost;             /* since when, while it is; 0: it is there, or was never */
	char place[MR_FIGURES_PLACE]; /* where it was reached last; "": never */
	mr_msec blocked_since, deaf_since; /* 0: it is not */
	uint64_t losses, waiting;
	uint64_t refused; /* messages */
	char reason[400]; /* of the last one that was told */
	uint64_t alike;   /* for that reason */
	mr_msec since;    /* of the reasons that were told lately */
	int reasons;
};

void mr_bulletin_up(struct mr_bulletin *b, const struct mr_redis_store *r);
/* Before the clients are told. It is called for each try that fails, too. */
void mr_bulletin_down(struct mr_bulletin *b, const struct mr_redis_store *r, const mr_error *why);
void mr_bulletin_blocked(struct mr_bulletin *b, const struct mr_broker *broker);
void mr_bulletin_refused(struct mr_bulletin *b, const struct mr_pledge *p);
/* Once a second while Redis is there. */
void mr_bulletin_round(struct mr_bulletin *b, const struct mr_redis_store *r);
/* The counts, before the loop sleeps. */
void mr_bulletin_flush(struct mr_bulletin *b, const struct mr_redis_store *r,
	const struct mr_broker *broker);

#endif
