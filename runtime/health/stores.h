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
struct mr_services;

struct mr_store_seen {
	const struct mr_notices *notices; /* of its broker, which a link holds */
	struct mr_notice state;
	bool is_up;
};

struct mr_stores {
	struct mr_store_seen all[MR_STORES_MAX];
	size_t count;
};

void mr_stores_gather(struct mr_stores *out, struct mr_services *services);
/* Why the store behind a connection is not reached, in `out`. False: it is, or there is none. */
bool mr_stores_trouble(const struct mr_link *link, char *out, size_t size);
void mr_stores_write(struct mr_page *page, const struct mr_stores *stores); /* metrics */
void mr_stores_report(mr_table *page, const struct mr_stores *stores);      /* /status */

#endif
