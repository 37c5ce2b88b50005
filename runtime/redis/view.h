/* view: what a Redis store shows of itself.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_REDIS_VIEW_H
#define MR_REDIS_VIEW_H

#include "redis/store.h"

struct mr_redis_view {
	const char *version, *role; /* "": not known */
	const mr_error *deaf; /* why the second connection is away, and the first is not; or NULL */
	uint64_t commands, sent, received; /* of both connections */
	uint64_t round_trip;               /* us; 0: not measured yet */
};

void mr_view_place(const struct mr_redis_store *r, char out[MR_FIGURES_PLACE]);
void mr_view_take(const struct mr_redis_store *r, struct mr_redis_view *out);
/* Messages that were fetched for receivers, and those that receivers have. Looks at each queue. */
void mr_view_messages(const struct mr_redis_store *r, uint64_t *fetched, uint64_t *unacked);

#endif
