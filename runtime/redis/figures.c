/* figures: what is known of a connection to Redis: where it goes, what went by it, how long an answer takes.
 * SPDX-License-Identifier: MIT */
#include "redis/figures.h"

#include <stdio.h>
#include <string.h>

void mr_figures_place(char out[MR_FIGURES_PLACE], const struct mr_redis_options *o,
	const char *host, uint16_t port)
{
	if (!o->sentinel_count) {
		host = o->host;
		port = o->port;
	}
	if (o->path)
		snprintf(out, MR_FIGURES_PLACE, "%.260s/%lld", o->path, (long long)o->db);
	else if (host && *host)
		snprintf(out, MR_FIGURES_PLACE,
			strchr(host, ':') ? "[%.240s]:%u/%lld" : "%.240s:%u/%lld", host, port,
			(long long)o->db);
	else
		snprintf(out, MR_FIGURES_PLACE, "%.240s", o->service ? o->service : "");
}

void mr_figures_asked(struct mr_redis_figures *f, uint64_t now)
{
	f->commands++;
	if (now) f->asked_at = now;
}

void mr_figures_answered(struct mr_redis_figures *f)
{
	if (!f->asked_at) return;
	uint64_t now = mr_clock_us();
	f->round_trip = now > f->asked_at ? now - f->asked_at : 1;
	f->asked_at = 0;
}
