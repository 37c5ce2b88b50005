/* flight: what the flight recorder keeps of a link.
 * SPDX-License-Identifier: MIT */
#include "link/flight.h"

#include <string.h>

static struct mr_tape *tape_of(const struct mr_link *link)
{
	return &link->services->bridge->recorder.io;
}

/* ---- methods: most events, so no time is asked for ---- */

static mr_slice key_of(const struct mr_method *m) { return m->key.size ? m->key : m->name; }

/* What says most: a routing key, a name, or the reason of a close. The texts of the handshake are
 * left out: one of them holds the password. */
static mr_slice text_of(const struct mr_method *m)
{
	if (m->code || m->id == MR_M_CONNECTION_BLOCKED) return m->text;
	return key_of(m);
}

void mr_flight_method(void *owner, bool is_out, uint16_t channel, const struct mr_method *m,
	uint32_t consumer)
{
	static const mr_slice hidden = {0};
	struct mr_link *link = owner;
	if (m->id == MR_M_BASIC_DELIVER || m->id == MR_M_BASIC_PUBLISH) {
		mr_tape_run(tape_of(link), link->services->clock, is_out ? MR_TAPE_OUT : MR_TAPE_IN,
			is_out ? "basic.publish" : "basic.deliver", link->number, channel, consumer,
			m->tag, key_of(m));
		return;
	}
	bool is_hidden = m->id >> 16 == 10 /* connection */ && m->id != MR_M_CONNECTION_CLOSE &&
	                 m->id != MR_M_CONNECTION_BLOCKED;
	const char *name = !m->id                    ? "heartbeat"
	                   : m->id == MR_M_BASIC_ACK ? "basic.ack"
	                                             : mr_method_name(m->id);
	mr_tape_put(tape_of(link), link->services->clock, is_out ? MR_TAPE_OUT : MR_TAPE_IN, name,
		link->number, channel, consumer, m->tag, m->code, is_hidden ? hidden : text_of(m));
}

/* ---- commands ---- */

static void settle(struct mr_link *link, const struct mr_command *c)
{
	static const char *const names[3][4] = {{"ack", "ack multiple", "ack", "ack multiple"},
		{"nack", "nack multiple", "nack requeue", "nack multiple requeue"},
		{"reject", "reject", "reject requeue", "reject requeue"}};
	mr_tape_run(tape_of(link), link->services->clock, MR_TAPE_SETTLE,
		names[c->settle.how][c->settle.flags & 3], link->number, c->channel, 0,
		c->settle.tag, (mr_slice){0});
}

/* Publishes have no line of their own: their method has one, unless they are lost. */
void mr_flight_command(struct mr_link *link, const struct mr_command *c)
{
	static const char *const operations[] = {"", "exchange.declare", "exchange.delete",
		"exchange.bind", "exchange.unbind", "queue.declare", "queue.bind", "queue.unbind",
		"queue.purge", "queue.delete", "basic.qos", "basic.consume", "basic.cancel",
		"basic.get", "basic.recover", "confirm.select", "tx.select", "tx.commit",
		"tx.rollback"};
	static const char *const names[] = {[MR_CMD_CHANNEL_OPEN] = "channel.open",
		[MR_CMD_CHANNEL_CLOSE] = "channel.close",
		[MR_CMD_SECRET] = "update secret",
		[MR_CMD_RETRY] = "retry",
		[MR_CMD_INHERIT] = "inherit",
		[MR_CMD_FORGET] = "forget"};
	const char *name = NULL;
	mr_slice text = {0};
	uint32_t consumer = 0;
	if (c->type == MR_CMD_PUBLISH) return;
	if (c->type == MR_CMD_SETTLE) {
		settle(link, c);
		return;
	}
	if (c->type == MR_CMD_REQUEST) {
		const mr_request *r = &c->request.copy->request;
		name = operations[r->operation];
		text = r->name;
		consumer = r->operation == MR_BASIC_CONSUME ? r->number : 0;
	} else if (c->type < sizeof names / sizeof *names) {
		name = names[c->type];
	}
	if (name)
		mr_tape_put(tape_of(link), link->services->clock, MR_TAPE_COMMAND, name,
			link->number, c->channel, consumer, 0, 0, text);
}

/* ---- what is rare ---- */

static void tell(struct mr_link *link, enum mr_tape_kind kind, const char *name, const mr_event *ev,
	uint64_t number, const mr_error *why)
{
	const char *text = why ? why->text : "";
	struct mr_tape_event e = {.time = mr_clock_us(),
		.kind = (uint8_t)kind,
		.name = name,
		.number = number,
		.connection = link->number,
		.channel = ev ? ev->channel : 0,
		.consumer = ev && ev->type == MR_EV_CANCEL ? ev->as.cancel.consumer : 0,
		.code = why && why->code > 0 ? (uint16_t)why->code : 0};
	mr_tape_tell(tape_of(link), &e, mr_slice_of(text, strlen(text)));
}

/* The other states are those of the link. */
static void tell_connection(struct mr_link *link, const mr_event *ev)
{
	static const char *const names[] = {[MR_CONNECTION_LOST] = "lost",
		[MR_CONNECTION_RETRYING] = "retrying",
		[MR_CONNECTION_RECOVERED] = "recovered",
		[MR_CONNECTION_GAVE_UP] = "given up",
		[MR_CONNECTION_REPAIRING] = "repairing"};
	uint16_t state = ev->as.connection.state;
	const char *name = state < sizeof names / sizeof *names ? names[state] : NULL;
	if (name)
		tell(link, MR_TAPE_STATE, name, ev, 0,
			state == MR_CONNECTION_RECOVERED ? NULL : ev->as.connection.with.error);
}

static void tell_channel(struct mr_link *link, const mr_event *ev)
{
	uint16_t change = ev->as.channel.change;
	const char *name = change == MR_CHANNEL_READY        ? "channel ready"
	                   : change == MR_CHANNEL_TAKEN_BACK ? "deliveries taken back"
	                                                     : "channel ended";
	tell(link, MR_TAPE_STATE, name, ev, 0, ev->as.channel.error);
}

static void tell_done(struct mr_link *link, const mr_event *ev)
{
	const mr_reply *reply = ev->as.done.reply;
	if (ev->status == MR_OK || ev->status == MR_EMPTY) return;
	tell(link, MR_TAPE_ERROR, mr_status_name(ev->status), ev, 0, reply ? &reply->error : NULL);
}

void mr_flight_event(struct mr_link *link, const mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_CONNECTION: tell_connection(link, ev); return;
	case MR_EV_CHANNEL: tell_channel(link, ev); return;
	case MR_EV_DONE: tell_done(link, ev); return;
	case MR_EV_CONFIRM:
		if (ev->status != MR_OK)
			tell(link, MR_TAPE_ERROR, mr_status_name(ev->status), ev,
				ev->as.confirm.last, NULL);
		return;
	case MR_EV_CANCEL:
		tell(link, MR_TAPE_STATE,
			ev->as.cancel.consumes_again ? "consumes again" : "consumer ended", ev, 0,
			ev->as.cancel.error);
		return;
	case MR_EV_BLOCKED:
		tell(link, MR_TAPE_STATE, ev->as.blocked.is_blocked ? "blocked" : "unblocked", ev,
			0, ev->as.blocked.reason);
		return;
	default: return;
	}
}

void mr_flight_state(struct mr_link *link)
{
	static const char *const names[] = {"idle", "connecting", "open", "closing", "parting",
		"waiting for the next try"};
	tell(link, MR_TAPE_STATE, names[link->state], NULL, 0, NULL);
}
