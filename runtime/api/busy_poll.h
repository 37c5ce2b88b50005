/* busy_poll: how long a poll that runs the I/O loop looks for an answer before it sleeps.
 * SPDX-License-Identifier: MIT
 * Host thread; pure but for the look at the thread's cores. To wake a core takes longer than many an
 * answer. Unless the host says how long, it looks only as long as answers come soon, and tries that
 * now and then. */
#ifndef MR_API_BUSY_POLL_H
#define MR_API_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct mr_busy_poll {
	bool has_cores; /* on one, it does not look by itself: nobody could answer meanwhile */
	bool is_told;   /* the host has said how long */
	uint64_t told;  /* us */
	unsigned vain;  /* looks in a row that found nothing */
	unsigned found; /* those that found the answer */
	unsigned rest;  /* waits without a look, after the next ones in vain */
	unsigned left;  /* of these */
};

void mr_busy_poll_init(struct mr_busy_poll *b);
/* As of mr_runtime_busy_poll. False: it is no such time. */
bool mr_busy_poll_tell(struct mr_busy_poll *b, double seconds);
/* An answer is awaited. Returns for how many us to look. */
uint64_t mr_busy_poll_next(struct mr_busy_poll *b);
/* What came of it. */
void mr_busy_poll_learn(struct mr_busy_poll *b, bool is_found);

#endif
