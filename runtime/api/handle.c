/* handle: functions for all handles: look-ups, and sending commands.
 * SPDX-License-Identifier: MIT */
#include "api/handle.h"

#include <sched.h>

#include "base/alloc.h"

/* The number of commands that a busy host may add before it wakes a sleeping I/O thread: otherwise
 * each ack would cost a system call. A host that polls wakes the thread anyway, and a sleeping
 * thread checks every 5 ms. */
#define UNSIGNALLED_MAX 64

bool mr_handle_is_forked(const mr_runtime *rt) { return *rt->alive == 0; }

mr_connection *mr_handle_find_connection(const mr_runtime *rt, uint32_t number)
{
	return mr_map_get(&rt->connections, number);
}

mr_channel *mr_handle_find_channel(const mr_runtime *rt, uint32_t connection, uint16_t number,
	uint32_t epoch)
{
	mr_connection *c = mr_handle_find_connection(rt, connection);
	if (!c || number >= c->channel_slots) return NULL;
	mr_channel *ch = c->channels[number];
	return ch && ch->epoch == epoch ? ch : NULL;
}

/* ---- commands ---- */

struct mr_command *mr_command_reserve(mr_runtime *rt, size_t extra, bool hurry)
{
	for (;;) {
		struct mr_command *c = mr_ring_reserve(&rt->bridge.commands, sizeof *c + extra);
		if (c || hurry || mr_board_is_stopped(&rt->bridge.board)) return c;
		mr_helm_give_back(&rt->bridge.helm);
		mr_wake_signal(&rt->bridge.io);
		sched_yield();
	}
}

void mr_command_signal(mr_runtime *rt)
{
	rt->unsignalled = 0;
	rt->unseen = false;
	mr_wake_signal(&rt->bridge.io);
}

void mr_command_commit_return(mr_runtime *rt)
{
	mr_ring_commit(&rt->bridge.commands);
	/* A thread that considers the host asleep does not check by itself. */
	if (++rt->unsignalled < UNSIGNALLED_MAX && !rt->prepared && !rt->unseen) return;
	mr_command_signal(rt);
}

void mr_command_commit(mr_runtime *rt)
{
	if (++rt->sent % UNSIGNALLED_MAX == 0) mr_helm_give_back(&rt->bridge.helm);
	mr_command_commit_return(rt);
}

void mr_handle_rouse_host(mr_runtime *rt)
{
	rt->roused = true;
	mr_wake_signal(&rt->bridge.host);
}

static bool has_answer(const struct mr_command *c)
{
	switch (c->type) {
	case MR_CMD_LINK_OPEN:
	case MR_CMD_LINK_CLOSE:
	case MR_CMD_CHANNEL_OPEN:
	case MR_CMD_CHANNEL_CLOSE:
	case MR_CMD_REQUEST: return true;
	default: return false;
	}
}

enum mr_status mr_command_send(mr_runtime *rt, const struct mr_command *command)
{
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	struct mr_command *c = mr_command_reserve(rt, 0, false);
	if (!c) return MR_CLOSED;
	*c = *command;
	rt->asked += has_answer(command);
	mr_command_commit(rt);
	return MR_OK;
}

void mr_handle_free_connection(mr_connection *c)
{
	mr_free(c->channels);
	mr_server_properties_release(c->server_properties);
	mr_error_keep(&c->error, NULL);
	mr_free(c->host);
	mr_free(c);
}

void mr_handle_free_channel(mr_channel *ch)
{
	if (ch) mr_error_keep(&ch->error, NULL);
	mr_free(ch);
}
