/* greet: what a Redis is told first: who one is, and which data; and whether it serves.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_REDIS_GREET_H
#define MR_REDIS_GREET_H

#include "redis/options.h"
#include "redis/wire.h"

#define MR_GREET_WORDS 3 /* of a command, at most */

enum mr_greet_step {
	MR_GREET_AUTH,
	MR_GREET_NAME,
	MR_GREET_SELECT,
	MR_GREET_ROLE,
	MR_GREET_PING, /* refused while Redis loads its data, or has lost its master */
	MR_GREET_END
};

struct mr_greet { /* one command; borrows from the options */
	mr_slice words[MR_GREET_WORDS];
	size_t count; /* 0: these options need none at this step */
	char number[24];
};

void mr_greet_words(struct mr_greet *g, enum mr_greet_step step, const struct mr_redis_options *o);
/* What the answer to a step means: MR_OK, or `out` says why there is no login. `why` is NULL if the answer is no error. */
enum mr_status mr_greet_judge(enum mr_greet_step step, const redisReply *reply, const mr_error *why,
	mr_error *out);

#endif
