/* settle: the host's calls for deliveries: settle and release.
 * SPDX-License-Identifier: MIT
 * Host thread. The message path: one command for each delivery. */
#include "api/handle.h"

/* Makes the handle invalid before its memory can be used again. */
static void retire(mr_delivery *d)
{
	d->generation++;
	if (!d->generation) d->generation = 1;
}

bool mr_delivery_is_live(const mr_runtime *rt, const mr_delivery *d)
{
	if (d->flags & MR_DELIVERY_SETTLED || mr_handle_is_forked(rt)) return false;
	const mr_channel *ch = mr_handle_find_channel(rt, d->connection, d->channel, d->epoch);
	if (!ch || ch->recovering || d->tag <= ch->taken_back) return false;
	return ch->state == MR_HANDLE_OPEN || ch->state == MR_HANDLE_SUSPENDED;
}

void mr_delivery_release(mr_runtime *rt, mr_delivery *d)
{
	if (mr_handle_is_forked(rt)) return;
	retire(d);
	struct mr_command *c = mr_command_reserve(rt, 0, false);
	if (!c) return;
	*c = (struct mr_command){.type = MR_CMD_RELEASE, .released = d};
	mr_command_commit_return(rt);
}

static enum mr_status may_settle(const mr_runtime *rt, const mr_delivery *d, int how)
{
	if (how < MR_ACK || how > MR_REJECT) return MR_BAD_ARGUMENT;
	if (d->flags & MR_DELIVERY_SETTLED) return MR_SETTLED;
	if (how != MR_ACK && d->flags & MR_DELIVERY_STREAM) return MR_NOT_IMPLEMENTED;
	return mr_delivery_is_live(rt, d) ? MR_OK : MR_STALE;
}

int mr_delivery_settle(mr_runtime *rt, mr_delivery *d, int how, int flags)
{
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	enum mr_status st = may_settle(rt, d, how);
	if (st != MR_OK) {
		if (flags & MR_SETTLE_RELEASE) mr_delivery_release(rt, d);
		return st;
	}
	struct mr_command *c = mr_command_reserve(rt, 0, false);
	if (!c) return MR_CLOSED;
	c->type = MR_CMD_SETTLE;
	c->channel = d->channel;
	c->connection = d->connection;
	c->token = 0;
	c->epoch = d->epoch;
	c->settle.tag = d->tag;
	c->settle.how = (uint16_t)how;
	c->settle.flags = (uint16_t)(flags & (MR_SETTLE_MULTIPLE | MR_SETTLE_REQUEUE));
	c->settle.released = NULL;
	d->flags |= MR_DELIVERY_SETTLED;
	if (flags & MR_SETTLE_RELEASE) {
		retire(d);
		c->settle.released = d;
	}
	mr_command_commit_return(rt);
	return MR_OK;
}
