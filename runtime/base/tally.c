/* tally: counts one connection's deliveries that the host holds, and compares them with the bound.
 * SPDX-License-Identifier: MIT */
#include "base/tally.h"

/* The loose messages of one connection that the host may hold before the connection pauses. */
#define LOOSE_MAX 65536              /* messages */
#define LOOSE_BYTES_MAX (64ul << 20) /* of their bodies */

struct mr_tally *mr_tally_new(void)
{
	struct mr_tally *t = mr_calloc(1, sizeof *t);
	if (t) t->refs = 1;
	return t;
}

bool mr_tally_is_over(const struct mr_tally *t, size_t halves)
{
	return t->loose > LOOSE_MAX / 2 * halves || t->loose_bytes > LOOSE_BYTES_MAX / 2 * halves;
}
