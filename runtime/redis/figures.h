/* figures: what is known of a connection to Redis: where it goes, what went by it, how long an answer takes.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_REDIS_FIGURES_H
#define MR_REDIS_FIGURES_H

#include "redis/options.h"

struct mr_redis_figures {                  /* since it was made */
	uint64_t commands, sent, received; /* bytes */
	uint64_t
		asked_at; /* us: a command went out while no other was on its way; 0: it is answered */
	uint64_t round_trip; /* us: how long the last such answer took; 0: there was none yet */
};

#define MR_FIGURES_PLACE 280

/* "host:port/db", or the path of the socket. `host` and `port`: where a Sentinel has led to; else those of the options. */
void mr_figures_place(char out[MR_FIGURES_PLACE], const struct mr_redis_options *o,
	const char *host, uint16_t port);
void mr_figures_asked(struct mr_redis_figures *f, uint64_t now); /* a command; 0: it is not alone */
void mr_figures_answered(struct mr_redis_figures *f);

#endif
