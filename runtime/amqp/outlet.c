/* outlet: shared by the channels of a session: their output of bytes and events.
 * SPDX-License-Identifier: MIT */
#include "amqp/outlet.h"

#include <stdio.h>

#include "base/alloc.h"

void mr_outlet_init(struct mr_outlet *outlet, const struct mr_session_options *options,
	uint32_t frame_max)
{
	*outlet = (struct mr_outlet){.options = options,
		.out = {.done = options->written, .owner = options->owner},
		.frame_max = frame_max,
		.acked_at = MR_NEVER,
		.acks_due = MR_NEVER,
		.earliest = MR_NEVER};
	mr_list_init(&outlet->dirty);
	mr_list_init(&outlet->holding);
}

void mr_outlet_fini(struct mr_outlet *outlet)
{
	mr_outbox_fini(&outlet->out);
	mr_error_keep(&outlet->fault, NULL);
}

bool mr_outlet_allows(struct mr_outlet *outlet, const struct mr_machine *machine, unsigned from,
	unsigned to)
{
	mr_error fault = {0};
	if (mr_machine_moves(machine, from, to, &fault)) return true;
	if (!outlet->fault) mr_error_keep(&outlet->fault, &fault);
	return false;
}

enum mr_status mr_outlet_odd(struct mr_outlet *outlet, uint16_t channel, const char *format, ...)
{
	mr_error what = {0};
	char text[256];
	va_list args;
	outlet->options->stats->violations++;
	if (!outlet->options->odd) return MR_OK;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	mr_error_set(&what, MR_COMMAND_INVALID, MR_SCOPE_NONE, 0, "%s", text);
	outlet->options->odd(outlet->options->owner, channel, &what);
	return MR_OK;
}

void mr_outlet_late(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	enum mr_status status)
{
	const struct mr_session_options *o = outlet->options;
	if (token && o->late) o->late(o->owner, channel, token, status);
}

void mr_outlet_reply(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	enum mr_status status, mr_reply *reply)
{
	const struct mr_session_options *o = outlet->options;
	mr_event ev = {.type = MR_EV_DONE, .status = status};
	ev.connection = o->connection;
	ev.channel = channel;
	ev.as.done.token = token;
	ev.as.done.reply = reply;
	if (token && token != MR_TOKEN_NONE) {
		o->emit(o->owner, &ev);
		return;
	}
	mr_free(reply);
	mr_outlet_late(outlet, channel, token, status);
}

void mr_outlet_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	const mr_error *error)
{
	mr_reply *reply = token ? mr_calloc(1, sizeof *reply) : NULL;
	if (reply) reply->error = *error;
	mr_outlet_reply(outlet, channel, token, error->kind, reply);
}

void mr_outlet_lost(struct mr_outlet *outlet, uint16_t channel, uint32_t epoch, uint64_t number)
{
	mr_event ev = {.type = MR_EV_CONFIRM, .status = MR_LOST};
	ev.connection = outlet->options->connection;
	ev.channel = channel;
	ev.epoch = epoch;
	ev.as.confirm.first = ev.as.confirm.last = number;
	outlet->options->emit(outlet->options->owner, &ev);
}
