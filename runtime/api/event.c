/* event: updates the host's handles by the I/O thread's events.
 * SPDX-License-Identifier: MIT */
#include "api/event.h"

#include <string.h>

#include "api/pool.h"
#include "api/setup.h"
#include "base/alloc.h"
#include "base/value.h"

/* Ends the handle; frees it if the host has freed it already. */
static void end_channel(mr_channel *ch, const mr_error *why)
{
	mr_connection *c = ch->connection;
	if (ch->state == MR_HANDLE_CLOSED) return;
	ch->state = MR_HANDLE_CLOSED;
	mr_error_keep(&ch->error, why);
	c->channels[ch->number] = NULL; /* the number is free now */
	if (ch->orphaned) mr_handle_free_channel(ch);
}

static void end_channels(mr_connection *c, const mr_error *why)
{
	for (size_t i = 0; i < c->channel_slots; i++)
		if (c->channels[i]) end_channel(c->channels[i], why);
}

/* Its deliveries become stale and its publishes are lost; the handle stays. A channel that was not
 * open yet, or that the host has closed, is not restored. */
static void suspend(mr_channel *ch, const mr_error *why)
{
	if (ch->orphaned || (ch->state != MR_HANDLE_OPEN && ch->state != MR_HANDLE_SUSPENDED)) {
		end_channel(ch, why);
		return;
	}
	ch->state = MR_HANDLE_SUSPENDED;
	mr_error_keep(&ch->error, why);
	ch->epoch = 0;
	ch->published = 0;
}

static void suspend_channels(mr_connection *c, const mr_error *why)
{
	for (size_t i = 0; i < c->channel_slots; i++)
		if (c->channels[i]) suspend(c->channels[i], why);
}

static void opened(mr_connection *c, mr_event *ev)
{
	struct mr_opened *o = ev->as.connection.with.opened;
	c->epoch++;
	mr_error_keep(&c->error, NULL);
	c->blocked = false;
	ev->as.connection.with.opened = NULL;
	if (!o) return;
	struct mr_server_properties *told =
		mr_server_properties_share(&c->rt->server_properties, o->server_properties);
	mr_server_properties_release(c->server_properties);
	c->server_properties = told;
	c->facts = o->facts;
	char *host = mr_strdup_n(o->host, strlen(o->host));
	if (host) {
		mr_free(c->host);
		c->host = host;
	}
	mr_free(o);
}

static void drop_opened(mr_event *ev)
{
	struct mr_opened *o = ev->as.connection.with.opened;
	if (o) mr_table_free(o->server_properties);
	mr_free(o);
	ev->as.connection.with.opened = NULL;
}

static bool connection_event(mr_runtime *rt, mr_event *ev)
{
	mr_connection *c = mr_handle_find_connection(rt, ev->connection);
	mr_error unknown = {.kind = ev->status, .scope = MR_SCOPE_CONNECTION};
	const mr_error *error = ev->as.connection.with.error;
	enum mr_connection_state state = ev->as.connection.state;
	if (!c) {
		if (state == MR_CONNECTION_OPEN) drop_opened(ev);
		return false;
	}
	if (state == MR_CONNECTION_RECOVERED || state == MR_CONNECTION_REPAIRING)
		return true; /* it is open all the while */
	c->state = state;
	if (state == MR_CONNECTION_OPEN) opened(c, ev);
	bool is_end = state == MR_CONNECTION_CLOSED || state == MR_CONNECTION_LOST ||
	              state == MR_CONNECTION_GAVE_UP;
	if (!error) error = &unknown;
	if (is_end || state == MR_CONNECTION_RETRYING) mr_error_keep(&c->error, error);
	if (is_end && ev->as.connection.will_recover)
		suspend_channels(c, error);
	else if (is_end)
		end_channels(c, error);
	return true;
}

/* The request was reported as timed out. The number becomes free when the broker's close-ok
 * arrives. */
static void await_nobodys_close(mr_channel *ch, const mr_error *why)
{
	mr_error_keep(&ch->error, why);
	ch->state = MR_HANDLE_CLOSING;
	ch->close_token = MR_TOKEN_NOBODY;
}

/* A recover that was refused before it was sent is no longer pending. A late one may still be
 * answered, and answered ones are reported by their channel. */
static void recover_ended(mr_runtime *rt, const mr_event *ev)
{
	uintptr_t epoch = (uintptr_t)mr_map_take(&rt->recovers, ev->as.done.token);
	if (!epoch || ev->status == MR_OK || ev->status == MR_TIMEOUT) return;
	mr_channel *ch = mr_handle_find_channel(rt, ev->connection, ev->channel, (uint32_t)epoch);
	if (ch && ch->recovering) ch->recovering--;
}

/* The answers to channel.open and channel.close change the state of the handle. */
static void channel_answer(mr_runtime *rt, const mr_event *ev)
{
	mr_connection *c = mr_handle_find_connection(rt, ev->connection);
	mr_channel *ch = c && ev->channel < c->channel_slots ? c->channels[ev->channel] : NULL;
	mr_error closed = {.kind = MR_CLOSED, .scope = MR_SCOPE_CHANNEL};
	if (!ch) return;
	const mr_error *error = ev->as.done.reply ? &ev->as.done.reply->error : &closed;
	if (ev->as.done.token == ch->open_token && ch->state == MR_HANDLE_OPENING) {
		if (ev->status == MR_OK) ch->state = MR_HANDLE_OPEN;
		/* Its open may still be answered: the channel is then closed, and keeps its number
		 * until the close is answered. */
		else if (ev->status == MR_TIMEOUT)
			await_nobodys_close(ch, error);
		else
			end_channel(ch, error);
	} else if (ev->as.done.token == ch->close_token && ch->state == MR_HANDLE_CLOSING) {
		if (ev->status == MR_TIMEOUT) {
			await_nobodys_close(ch, ch->error);
			return;
		}
		mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CHANNEL, 0,
			"the channel was closed by the program");
		end_channel(ch, ch->error ? ch->error : &closed);
	}
}

/* A suspended channel has no epoch, so it is found by its number alone. */
static mr_channel *find_suspended(mr_runtime *rt, const mr_event *ev)
{
	mr_connection *c = mr_handle_find_connection(rt, ev->connection);
	mr_channel *ch = c && ev->channel < c->channel_slots ? c->channels[ev->channel] : NULL;
	return ch && ch->state == MR_HANDLE_SUSPENDED ? ch : NULL;
}

static bool channel_back(mr_runtime *rt, const mr_event *ev)
{
	mr_channel *ch = find_suspended(rt, ev);
	if (!ch) return false;
	ch->taken_back = ch->recovering = 0;
	ch->epoch = ev->epoch; /* what is delivered from here on is live */
	if (ev->as.channel.change != MR_CHANNEL_READY) return true;
	ch->state = MR_HANDLE_OPEN;
	/* A select that went with the channel before it counted is none. */
	ch->confirming = ev->as.channel.confirming;
	mr_error_keep(&ch->error, NULL);
	return true;
}

/* Returns false: the host gets no event, because it sees the change in its deliveries. */
static bool taken_back(mr_channel *ch, const mr_event *ev)
{
	if (!ch) return false;
	ch->taken_back = ev->as.channel.last_tag;
	if (ch->recovering) ch->recovering--;
	return false;
}

/* True if an answer that follows reports the same: for a channel that the host is opening, or is
 * closing while the connection ends. */
static bool is_answered(const mr_channel *ch, const mr_error *why)
{
	bool is_closing = ch->state == MR_HANDLE_CLOSING && why->scope == MR_SCOPE_CONNECTION;
	return ch->state == MR_HANDLE_OPENING || is_closing;
}

static bool channel_closed(mr_runtime *rt, const mr_event *ev)
{
	mr_channel *ch = mr_handle_find_channel(rt, ev->connection, ev->channel, ev->epoch);
	mr_error unknown = {.kind = ev->status, .scope = MR_SCOPE_CHANNEL};
	if (ev->as.channel.change == MR_CHANNEL_TAKEN_BACK) return taken_back(ch, ev);
	if (ev->as.channel.change != MR_CHANNEL_ENDED) return channel_back(rt, ev);
	if (!ch) ch = find_suspended(rt, ev); /* given up */
	if (!ch) return false;
	const mr_error *why = ev->as.channel.error ? ev->as.channel.error : &unknown;
	bool wanted = !ch->orphaned && !is_answered(ch, why);
	if (ev->as.channel.will_recover)
		suspend(ch, why);
	else
		end_channel(ch, why);
	return wanted;
}

/* A connection that a pool dropped has closed. */
static void parted(mr_runtime *rt, const mr_event *ev)
{
	mr_connection *c = mr_handle_find_connection(rt, ev->connection);
	if (!c || !c->parting || ev->as.done.token != c->parting || ev->channel) return;
	c->parting = 0;
	if (!c->retired && !c->kept) mr_connection_free(c);
}

/* Returns false if it was unwatched meanwhile; its token may be in use again. */
static bool watch_ended(mr_runtime *rt, const mr_event *ev)
{
	void *serial = mr_map_get(&rt->watched, ev->as.fd.token);
	if (!serial || (uintptr_t)serial != ev->as.fd.serial) return false;
	mr_map_take(&rt->watched, ev->as.fd.token);
	return true;
}

bool mr_event_apply(mr_runtime *rt, mr_event *ev)
{
	mr_connection *c;
	switch (ev->type) {
	case MR_EV_CONNECTION: return connection_event(rt, ev);
	case MR_EV_DONE:
		recover_ended(rt, ev);
		channel_answer(rt, ev);
		parted(rt, ev);
		if (rt->requests.count && !mr_pool_answer(rt, ev)) return false;
		if (rt->setups.count && !mr_setup_answer(rt, ev)) return false;
		return ev->as.done.token != 0 && ev->as.done.token != MR_TOKEN_NOBODY;
	case MR_EV_CHANNEL: return channel_closed(rt, ev);
	case MR_EV_BLOCKED:
		c = mr_handle_find_connection(rt, ev->connection);
		if (c) c->blocked = ev->as.blocked.is_blocked;
		return c != NULL;
	case MR_EV_CONFIRM:
		/* LOST is reported after the channel's end, so its handle may be gone; but its
		 * publisher still waits. */
		return true;
	case MR_EV_FD: return watch_ended(rt, ev);
	case MR_EV_PAGE:
		if (ev->as.page.request)
			atomic_store_explicit(&rt->bridge.page, ev->as.page.token,
				memory_order_relaxed);
		return true;
	case MR_EV_NONE:
		return true; /* the alarm of mr_runtime_wake_at: it only makes the poll return */
	default: return true;
	}
}
