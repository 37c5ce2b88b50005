/* greet: what a Redis is told first: who one is, and which data; and whether it serves.
 * SPDX-License-Identifier: MIT */
#include "redis/greet.h"

#include <stdio.h>

#include "redis/sentinel.h"

static void add(struct mr_greet *g, const char *word) { g->words[g->count++] = mr_slice_str(word); }

static bool is_given(const char *text) { return text && *text; }

void mr_greet_words(struct mr_greet *g, enum mr_greet_step step, const struct mr_redis_options *o)
{
	*g = (struct mr_greet){.count = 0};
	switch (step) {
	case MR_GREET_AUTH:
		if (!is_given(o->user) && !is_given(o->password)) return;
		add(g, "AUTH");
		if (is_given(o->user)) add(g, o->user);
		add(g, o->password ? o->password : "");
		return;
	case MR_GREET_NAME:
		add(g, "CLIENT");
		add(g, "SETNAME");
		add(g, "moonrabbit");
		return;
	case MR_GREET_SELECT:
		if (!o->db) return;
		snprintf(g->number, sizeof g->number, "%lld", (long long)o->db);
		add(g, "SELECT");
		add(g, g->number);
		return;
	case MR_GREET_ROLE:
		if (o->sentinel_count) add(g, "ROLE");
		return;
	case MR_GREET_PING: add(g, "PING"); return;
	default: return;
	}
}

/* A name is for the operator only, and a user may be without the right to ask for one, for the role, or to PING. */
static bool may_be_refused(enum mr_greet_step step, enum mr_status kind)
{
	return (step == MR_GREET_NAME || step == MR_GREET_ROLE || step == MR_GREET_PING) &&
	       kind != MR_AUTHENTICATION_FAILED && kind != MR_CONNECTION_FORCED &&
	       kind != MR_CONNECTION_LIMIT_REACHED;
}

enum mr_status mr_greet_judge(enum mr_greet_step step, const redisReply *reply, const mr_error *why,
	mr_error *out)
{
	if (!why && (step != MR_GREET_ROLE || mr_sentinel_is_master(reply))) return MR_OK;
	if (!why)
		return mr_error_set(out, MR_CONNECTION_FORCED, MR_SCOPE_CONNECTION, 0,
			"is a replica, and not the master that Sentinel says it is");
	if (may_be_refused(step, why->kind)) return MR_OK;
	*out = *why;
	if (why->kind != MR_ACCESS_REFUSED) return why->kind;
	return mr_error_set(out,
		step == MR_GREET_SELECT ? MR_VHOST_ACCESS_REFUSED : MR_AUTHENTICATION_FAILED,
		MR_SCOPE_CONNECTION, 0, "%s", why->text);
}
