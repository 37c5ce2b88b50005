/* stores: the Redis servers behind the connections of a runtime, for health, metrics and the page /status.
 * SPDX-License-Identifier: MIT
 * I/O thread; reads what the brokers' threads tell of them. A runtime without redis:// has none. */
#ifndef MR_HEALTH_STORES_H
#define MR_HEALTH_STORES_H

#include "base/value.h"
#include "bridge/notices.h"

#define MR_STORES_MAX 8 /* others are not shown */

struct mr_link;
struct mr_page;

struct mr_store_seen { /* by all brokers of this process that lead to it, as by URLs with other options */
	struct mr_notice state; /* of one, of those that do not reach it if there are any */
	bool is_up;
	uint64_t counts[MR_NOTICES_COUNT_COUNT]; /* sums; of the round trip the longest */
};

struct mr_stores {
	struct mr_store_seen all[MR_STORES_MAX];
	size_t count;
	const struct mr_notices *known[MR_STORES_MAX]; /* of brokers that were seen */
	size_t known_count;
};

/* The store behind a connection, if there is one. `stores` begins zeroed. */
void mr_stores_add(struct mr_stores *stores, const struct mr_link *link);
/* Why the store behind a connection is not reached, in `out`. False: it is, or there is none. */
bool mr_stores_trouble(const struct mr_link *link, char *out, size_t size);
void mr_stores_write(struct mr_page *page, const struct mr_stores *stores); /* metrics */
void mr_stores_report(mr_table *page, const struct mr_stores *stores);      /* /status */

#endif
