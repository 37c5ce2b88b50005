/* busy_poll: how long a poll that runs the I/O loop looks for an answer before it sleeps.
 * SPDX-License-Identifier: MIT
 * Host thread; pure but for the look at the process's cores. To wake a core takes longer than many an
 * answer. Unless the host says how long, it looks only while the answers come so soon that it saves
 * what it costs, and tries that now and then. */
#ifndef MR_API_BUSY_POLL_H
#define MR_API_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct mr_busy_poll {
	bool has_cores; /* on one, nobody could answer meanwhile */
	bool is_told;   /* the host has said how long */
	uint64_t told;  /* us */
	unsigned vain;  /* looks in a row that found nothing */
	unsigned found; /* those that found the answer */
	unsigned rest;  /* waits without a look, after the next ones in vain */
	unsigned left;  /* of these */
};

void mr_busy_poll_init(struct mr_busy_poll *b);
/* An answer is awaited. Returns for how many us to look. */
uint64_t mr_busy_poll_next(struct mr_busy_poll *b);
/* What came of it. */
void mr_busy_poll_learn(struct mr_busy_poll *b, bool is_found);

#endif
