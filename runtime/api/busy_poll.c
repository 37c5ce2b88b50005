/* busy_poll: how long a poll that runs the I/O loop looks for an answer before it sleeps.
 * SPDX-License-Identifier: MIT */
#include "api/busy_poll.h"

#include <sched.h>

#define LONGEST 0.0005  /* s: who waits longer for an answer does not lead (api/lead) */
#define SOON 30         /* us: a look that is as long as a sleep and a wake are dear */
#define TRIES 3         /* in vain, one after the other, end the looks */
#define REST_LEAST 16   /* waits until the next ones */
#define REST_MOST 1024  /* the rest doubles up to this: then it costs a thousandth of a wait */
#define FOUND_ENOUGH 16 /* in a row: then the next rest is a short one again */

void mr_busy_poll_init(struct mr_busy_poll *b)
{
	cpu_set_t cores;
	bool is_one = sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) == 1;
	*b = (struct mr_busy_poll){.has_cores = !is_one, .rest = REST_LEAST, .left = REST_LEAST};
}

bool mr_busy_poll_tell(struct mr_busy_poll *b, double seconds)
{
	if (!(seconds <= LONGEST)) return false;
	mr_busy_poll_init(b);
	b->is_told = seconds >= 0;
	b->told = b->is_told ? (uint64_t)(seconds * 1e6) : 0;
	return true;
}

uint64_t mr_busy_poll_next(struct mr_busy_poll *b)
{
	if (b->is_told) return b->told;
	if (!b->has_cores) return 0;
	if (!b->left) return SOON;
	b->left--;
	return 0;
}

void mr_busy_poll_learn(struct mr_busy_poll *b, bool is_found)
{
	b->vain = is_found ? 0 : b->vain + 1;
	b->found = is_found ? b->found + 1 : 0;
	if (b->found >= FOUND_ENOUGH) b->rest = REST_LEAST;
	if (b->vain < TRIES) return;
	b->vain = 0;
	b->left = b->rest;
	if (b->rest < REST_MOST) b->rest *= 2;
}
