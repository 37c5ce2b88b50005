/* channel: the host's handle of a channel, and the requests made on it.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"

static bool make_slot(mr_connection *c, size_t number)
{
	if (number < c->channel_slots) return true;
	size_t slots = c->channel_slots ? c->channel_slots * 2 : 4;
	mr_channel **channels = mr_realloc(c->channels, slots * sizeof *channels);
	if (!channels) return false;
	memset(channels + c->channel_slots, 0, (slots - c->channel_slots) * sizeof *channels);
	c->channels = channels;
	c->channel_slots = slots;
	return true;
}

/* Returns the lowest free number, which keeps the tables of few channels small. */
static enum mr_status pick_number(mr_connection *c, uint16_t *out)
{
	size_t limit = c->facts.channel_max ? c->facts.channel_max : UINT16_MAX;
	for (size_t n = 1; n <= limit; n++) {
		if (!make_slot(c, n)) return MR_NO_MEMORY;
		if (c->channels[n]) continue;
		*out = (uint16_t)n;
		return MR_OK;
	}
	return MR_CHANNEL_LIMIT_REACHED;
}

int mr_channel_open(mr_connection *c, uint64_t token, mr_channel **out)
{
	uint16_t number;
	if (mr_handle_is_forked(c->rt)) return MR_FORKED;
	if (!mr_is_token(token)) return MR_BAD_ARGUMENT;
	if (c->state != MR_CONNECTION_OPEN) return MR_CLOSED;
	enum mr_status st = pick_number(c, &number);
	if (st != MR_OK) return st;
	mr_channel *ch = mr_calloc(1, sizeof *ch);
	if (!ch) return MR_NO_MEMORY;
	ch->connection = c;
	ch->number = number;
	ch->epoch = ++c->rt->epochs;
	ch->open_token = token;
	struct mr_command cmd = {.type = MR_CMD_CHANNEL_OPEN,
		.channel = number,
		.connection = c->number};
	cmd.token = token;
	cmd.epoch = ch->epoch;
	cmd.channel_open.connection_epoch = c->epoch;
	cmd.channel_open.deadline = mr_clock_now() + c->config->rpc_timeout;
	st = mr_command_send(c->rt, &cmd);
	if (st != MR_OK) {
		mr_free(ch);
		return st;
	}
	c->channels[number] = ch;
	*out = ch;
	return MR_OK;
}

enum mr_status mr_channel_send_close(mr_channel *ch, uint64_t token)
{
	mr_connection *c = ch->connection;
	struct mr_command cmd = {.type = MR_CMD_CHANNEL_CLOSE,
		.channel = ch->number,
		.connection = c->number};
	cmd.token = token;
	cmd.epoch = ch->epoch;
	cmd.deadline = mr_clock_now() + c->config->close_timeout;
	ch->close_token = token;
	ch->state = MR_HANDLE_CLOSING;
	return mr_command_send(c->rt, &cmd);
}

int mr_channel_close(mr_channel *ch, uint64_t token)
{
	if (!mr_is_token(token)) return MR_BAD_ARGUMENT;
	if (ch->state == MR_HANDLE_CLOSED || ch->state == MR_HANDLE_CLOSING) return MR_CLOSED;
	return mr_channel_send_close(ch, token);
}

void mr_channel_free(mr_channel *ch)
{
	if (!ch) return;
	bool is_closed =
		ch->state == MR_HANDLE_CLOSED; /* its connection may have been freed first */
	if (!is_closed && mr_handle_is_forked(ch->connection->rt)) return;
	if (ch->item) ch->connection->rt->keeper->forget_channel(ch);
	if (is_closed) {
		mr_handle_free_channel(ch);
		return;
	}
	/* It is still open at the broker: closes it first, and keeps the number until then. */
	ch->orphaned = true;
	if (ch->state != MR_HANDLE_CLOSING) mr_channel_send_close(ch, MR_TOKEN_NOBODY);
}

void mr_channel_keep(mr_channel *ch) { ch->kept = true; }

mr_connection *mr_channel_connection(const mr_channel *ch) { return ch->connection; }

uint16_t mr_channel_number(const mr_channel *ch) { return ch->number; }

bool mr_channel_is_open(const mr_channel *ch) { return ch->state == MR_HANDLE_OPEN; }

bool mr_channel_is_suspended(const mr_channel *ch) { return ch->state == MR_HANDLE_SUSPENDED; }

uint32_t mr_channel_epoch(const mr_channel *ch) { return ch->epoch; }

int mr_channel_error(const mr_channel *ch, mr_error *out)
{
	*out = *mr_error_kept(ch->error);
	return out->kind;
}

void mr_channel_forget_consumer(mr_channel *ch, uint32_t number)
{
	struct mr_command cmd = {.type = MR_CMD_FORGET,
		.channel = ch->number,
		.connection = ch->connection->number,
		.forgotten = number};
	mr_command_send(ch->connection->rt, &cmd);
}

static mr_slice pack(char **at, mr_slice s)
{
	if (!s.size) return mr_slice_of("", 0);
	char *to = *at;
	memcpy(to, s.data, s.size);
	*at += s.size;
	return mr_slice_of(to, s.size);
}

static enum mr_status check(const mr_channel *ch, uint64_t token, const mr_request *r)
{
	if (mr_handle_is_forked(ch->connection->rt)) return MR_FORKED;
	if (ch->state != MR_HANDLE_OPEN) return MR_CLOSED;
	bool known = r->operation >= MR_EXCHANGE_DECLARE && r->operation <= MR_TX_ROLLBACK;
	bool fits = r->name.size <= 255 && r->extra.size <= 255 && r->routing_key.size <= 255;
	return mr_is_token(token) && known && fits ? MR_OK : MR_BAD_ARGUMENT;
}

/* Its end is recognized by its token. */
static enum mr_status note_recover(mr_channel *ch, uint64_t token)
{
	return mr_map_put(&ch->connection->rt->recovers, token, (void *)(uintptr_t)ch->epoch);
}

int mr_channel_request(mr_channel *ch, uint64_t token, const mr_request *r)
{
	mr_connection *c = ch->connection;
	enum mr_status st = check(ch, token, r);
	if (st != MR_OK) return st;
	struct mr_request_copy *copy =
		mr_malloc(sizeof *copy + r->name.size + r->extra.size + r->routing_key.size);
	if (!copy) return MR_NO_MEMORY;
	char *at = copy->bytes;
	copy->request = *r;
	copy->request.name = pack(&at, r->name);
	copy->request.extra = pack(&at, r->extra);
	copy->request.routing_key = pack(&at, r->routing_key);
	struct mr_command cmd = {.type = MR_CMD_REQUEST,
		.channel = ch->number,
		.connection = c->number};
	cmd.token = token;
	cmd.epoch = ch->epoch;
	cmd.request.copy = copy;
	mr_msec wait = r->timeout > 0 ? mr_clock_msec_of(r->timeout) : c->config->rpc_timeout;
	cmd.request.deadline = mr_clock_now() + wait;
	st = r->operation == MR_BASIC_RECOVER ? note_recover(ch, token) : MR_OK;
	if (st == MR_OK) st = mr_command_send(c->rt, &cmd);
	if (st != MR_OK) {
		mr_map_take(&c->rt->recovers, token);
		mr_free(copy);
	}
	/* The broker numbers publishes from the select on: see amqp/channel_requests.c. */
	else if (r->operation == MR_CONFIRM_SELECT)
		ch->confirming = true;
	else if (r->operation == MR_BASIC_RECOVER)
		ch->recovering++;
	return st;
}
