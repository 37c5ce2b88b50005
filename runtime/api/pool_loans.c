/* pool_loans: finds a place where a new pool shows its counts to the I/O thread.
 * SPDX-License-Identifier: MIT */
#include "api/pool_loans.h"

#include "base/alloc.h"

/* One more, which the I/O thread is told of; NULL: there is none. */
static struct mr_loans *add(mr_runtime *rt)
{
	struct mr_loans *t = rt->loans_count < MR_LOANS_MAX ? mr_loans_new() : NULL;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_LOANS, .loans = t}};
	if (t && mr_command_send(rt, &c) != MR_OK) {
		mr_free(t);
		return NULL;
	}
	if (t) rt->loans[rt->loans_count++] = t;
	return t;
}

struct mr_loans *mr_pool_loans_begin(mr_runtime *rt, int strategy)
{
	size_t i = 0;
	while (i < rt->loans_count && !mr_loans_is_free(rt->loans[i])) i++;
	struct mr_loans *l = i < rt->loans_count ? rt->loans[i] : add(rt);
	if (l) mr_loans_begin(l, strategy);
	return l;
}
