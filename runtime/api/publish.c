/* publish: puts a publish of the host into the command ring.
 * SPDX-License-Identifier: MIT
 * Host thread. The message path: no allocation for bodies up to MR_INLINE_BODY. */
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"

/* The flags for delivery_mode alone, and its value 2: persistent. */
static const char persistent[] = {0x10, 0x00, 0x02};

static enum mr_status check(mr_channel *ch, size_t exchange, size_t key, size_t body)
{
	mr_connection *c = ch->connection;
	if (mr_handle_is_forked(c->rt)) return MR_FORKED;
	if (ch->state != MR_HANDLE_OPEN) return MR_CLOSED;
	if (exchange > 255 || key > 255) return MR_BAD_ARGUMENT;
	if (body > c->config->max_message_size) return MR_CONTENT_TOO_LARGE;
	if (c->blocked) return MR_BLOCKED_TIMEOUT;
	if (c->published - mr_gauge_gone(c->gauge) < MR_OUTBOUND_MAX) return MR_OK;
	/* Asks for a notice of room, then checks again, because room may have appeared
	 * meanwhile. */
	mr_gauge_want_room(c->gauge);
	return c->published - mr_gauge_gone(c->gauge) < MR_OUTBOUND_MAX ? MR_OK : MR_BACKPRESSURE;
}

/* Properties must fit in one header frame (with 20 other bytes), and in one record of the ring. */
static bool header_fits(const mr_connection *c, size_t properties)
{
	const size_t names = 2 * 255;
	size_t around = sizeof(struct mr_command) + sizeof(struct mr_outgoing) + names;
	if (c->facts.frame_max && properties + 20 > c->facts.frame_max) return false;
	return properties + around <= mr_ring_record_max(&c->rt->bridge.commands);
}

static char *put(char *at, const char *data, size_t size)
{
	if (size) memcpy(at, data, size);
	return at + size;
}

int mr_channel_publish(mr_channel *ch, const char *exchange, size_t exchange_size,
	const char *routing_key, size_t routing_key_size, const char *body, size_t body_size,
	const char *properties, size_t properties_size, int flags, double timeout, uint64_t *number)
{
	mr_connection *c = ch->connection;
	enum mr_status st = check(ch, exchange_size, routing_key_size, body_size);
	if (st != MR_OK) return st;
	if (!properties) {
		properties = persistent;
		properties_size = sizeof persistent;
	}
	size_t extra = exchange_size + routing_key_size + properties_size;
	bool is_large = extra + body_size > MR_INLINE_BODY;
	if (!header_fits(c, properties_size)) return MR_CONTENT_TOO_LARGE;
	char *large =
		is_large && body_size ? mr_spares_take(&c->rt->bridge.spares, body_size) : NULL;
	if (is_large && body_size && !large) return MR_NO_MEMORY;
	if (!is_large) extra += body_size;

	struct mr_command *cmd =
		mr_command_reserve(c->rt, sizeof(struct mr_outgoing) + extra, true);
	if (!cmd) { /* the ring was marked as starved: MR_EV_ROOM follows */
		mr_free(large);
		mr_wake_signal(&c->rt->bridge.io);
		return mr_board_is_stopped(&c->rt->bridge.board) ? MR_CLOSED : MR_BACKPRESSURE;
	}
	*cmd = (struct mr_command){.type = MR_CMD_PUBLISH,
		.channel = ch->number,
		.connection = c->number,
		.epoch = ch->epoch,
		.publish = {.flags = (uint16_t)flags}};
	if (ch->confirming) {
		mr_msec wait = timeout > 0 ? mr_clock_msec_of(timeout) : c->config->rpc_timeout;
		cmd->publish.number = ++ch->published;
		cmd->publish.deadline = mr_clock_now() + wait;
	}
	struct mr_outgoing *o = (void *)(cmd + 1);
	*o = (struct mr_outgoing){body_size, large, (uint32_t)properties_size,
		(uint8_t)exchange_size, (uint8_t)routing_key_size, 0};
	char *at = put((char *)(o + 1), exchange, exchange_size);
	at = put(at, routing_key, routing_key_size);
	at = put(at, properties, properties_size);
	put(large ? large : at, body, body_size);
	c->published += mr_outgoing_weight(o);
	*number = cmd->publish.number;
	c->rt->asked++; /* a confirm, or what somebody sends back */
	mr_command_commit(c->rt);
	return MR_OK;
}
