/* command: passes the host's commands for a link to its session.
 * SPDX-License-Identifier: MIT */
#include "link/command.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/value.h"
#include "link/curbs.h"
#include "link/flight.h"
#include "link/link.h"
#include "link/report.h"

#define TAG_NAME 200 /* bytes of the name in a consumer tag: curbs need 7 of 255 */
#define TAG_SIZE (TAG_NAME + 16)

static const mr_error *why_not(const struct mr_link *link)
{
	static const mr_error closed = {.kind = MR_CLOSED,
		.scope = MR_SCOPE_CONNECTION,
		.text = "the connection is not open"};
	return link->error ? link->error : &closed;
}

static struct mr_publish read_publish(const struct mr_command *c, const char *bytes,
	const struct mr_outgoing *o)
{
	struct mr_publish p = {.number = c->publish.number,
		.flags = c->publish.flags,
		.epoch = c->epoch,
		.deadline = c->publish.deadline,
		.block = o->large};
	p.exchange = mr_slice_of(bytes, o->exchange_size);
	bytes += o->exchange_size;
	p.routing_key = mr_slice_of(bytes, o->routing_key_size);
	bytes += o->routing_key_size;
	p.properties = mr_slice_of(bytes, o->properties_size);
	p.body = mr_slice_of(o->large ? o->large : bytes + o->properties_size, o->body_size);
	return p;
}

static void publish(struct mr_link *link, const struct mr_command *c, const char *bytes)
{
	const struct mr_outgoing *o = (const void *)bytes;
	link->io.published += mr_outgoing_weight(o);
	if (link->session) {
		struct mr_publish p = read_publish(c, bytes + sizeof *o, o);
		mr_session_publish(link->session, c->channel, &p);
	} else {
		mr_event ev = {.type = MR_EV_CONFIRM, .status = MR_LOST};
		ev.as.confirm.first = ev.as.confirm.last = c->publish.number;
		ev.connection = link->number;
		ev.channel = c->channel;
		ev.epoch = c->epoch;
		link->services->stats.lost++;
		if (c->publish.number) mr_report_emit(link, &ev);
		mr_link_io_gone(&link->io, 0);
		mr_free(o->large);
	}
}

/* The host does not know yet that the channel was lost with the connection. */
static bool has_gone(const struct mr_link *link, const struct mr_command *c)
{
	const struct mr_channel_record *known =
		mr_record_of_channel(&link->recovery.topology, c->channel);
	if (!link->session || !known || known->broken) return !link->session;
	return known->epoch != c->epoch || !mr_session_has_channel(link->session, c->channel);
}

/* The length of a text of at most `most` bytes that does not end within a character. */
static int whole(const char *text, int most)
{
	int n = (int)strnlen(text, (size_t)most + 1);
	if (n <= most) return n;
	for (n = most; n && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
	return n;
}

/* A consumer always gets a tag from the library, not from the broker, so that answers can be
 * matched: the connection's name, which names the process, and a number. It is unique in the runtime,
 * because a handover brings consumers to another connection. */
static void give_tag(struct mr_link *link, mr_request *request, char tag[TAG_SIZE])
{
	if (request->operation != MR_BASIC_CONSUME || request->extra.size) return;
	const char *name = link->config->name;
	snprintf(tag, TAG_SIZE, "%.*s-%u", whole(name, TAG_NAME), name, ++link->services->tags);
	request->extra = mr_slice_str(tag);
}

static void request(struct mr_link *link, const struct mr_command *c)
{
	struct mr_request_copy *copy = c->request.copy;
	mr_request asked = copy->request;
	char tag[TAG_SIZE];
	give_tag(link, &asked, tag);
	bool is_gone = has_gone(link, c);
	bool is_kept = !is_gone && link->config->recover && mr_recovery_asked(&link->recovery, c);
	/* Recovery frees the copy with the answer, which never arrives before the method is
	 * written. */
	if (!is_gone)
		mr_session_request(link->session, c->channel, c->token, c->epoch, &asked,
			c->request.deadline);
	else
		mr_report_done(link, c->token, why_not(link));
	if (is_kept) return;
	mr_table_free(copy->request.arguments);
	mr_free(copy);
}

/* The host does not know of a loss yet (the session may be the next one, in its handshake): when it
 * does, it frees the number. */
static void open_channel(struct mr_link *link, const struct mr_command *c)
{
	if (c->channel_open.connection_epoch != link->opened || link->state != MR_LINK_OPEN) {
		mr_report_done(link, c->token, why_not(link));
		return;
	}
	if (link->config->recover) mr_recovery_channel_asked(&link->recovery, c);
	mr_session_channel_open(link->session, c->channel, c->token, c->epoch,
		c->channel_open.deadline);
}

/* A channel that is not open at the broker only has to be removed. */
static void close_channel(struct mr_link *link, const struct mr_command *c)
{
	mr_error none = {0};
	const struct mr_channel_record *known =
		mr_record_of_channel(&link->recovery.topology, c->channel);
	bool was_known = known != NULL;
	uint32_t epoch = known ? known->epoch : c->epoch; /* it may be being restored */
	mr_recovery_channel_closed(&link->recovery, c->channel);
	bool is_there = link->session && mr_session_has_channel(link->session, c->channel);
	if (is_there)
		mr_session_channel_close(link->session, c->channel, c->token, epoch, c->deadline);
	else if (was_known)
		mr_report_channel_done(link, c->channel, c->token, &none);
	else
		mr_report_channel_done(link, c->channel, c->token, why_not(link));
}

static void replace_secret(char **at, char *secret)
{
	if (*at) memset(*at, 0, strlen(*at));
	mr_free(*at);
	*at = secret;
}

/* The link owns its configuration; no other thread reads the password. If the connection is not
 * open, the next connect uses it. */
static void take_secret(struct mr_link *link, const struct mr_command *c)
{
	mr_error none = {0};
	if (c->secret.which == MR_SECRET_KEY) {
		replace_secret(&link->config->tls_password, c->secret.text);
		return;
	}
	replace_secret(&link->config->password, c->secret.text);
	link->login.password = mr_slice_str(c->secret.text);
	if (!c->token) return;
	if (link->session && link->state == MR_LINK_OPEN)
		mr_session_update_secret(link->session, c->token, link->login.password,
			c->secret.deadline);
	else
		mr_report_done(link, c->token, &none);
	/* A refused connection waits long for the next try: the new secret may end that. */
	if (link->state == MR_LINK_BACKOFF &&
		mr_error_kept(link->error)->kind == MR_AUTHENTICATION_FAILED)
		mr_link_retry(link);
}

static void inherit(struct mr_link *link, uint32_t number)
{
	struct mr_link *from = mr_map_get(&link->services->links, number);
	if (!from || from == link) return;
	mr_topology_inherit(&link->recovery.topology, &from->recovery.topology);
	mr_curbs_inherit(link, from);
}

void mr_link_command(struct mr_link *link, const struct mr_command *c, const char *bytes)
{
	struct mr_session *s = link->session;
	mr_flight_command(link, c);
	if (c->type == MR_CMD_PUBLISH)
		publish(link, c, bytes);
	else if (c->type == MR_CMD_REQUEST)
		request(link, c);
	else if (c->type == MR_CMD_SETTLE && s)
		mr_session_settle(s, c->channel, c->epoch, c->settle.tag, c->settle.how,
			c->settle.flags);
	else if (c->type == MR_CMD_CHANNEL_OPEN && s)
		open_channel(link, c);
	else if (c->type == MR_CMD_SECRET)
		take_secret(link, c);
	else if (c->type == MR_CMD_RETRY)
		mr_link_decide(link, c->retry_delay);
	else if (c->type == MR_CMD_INHERIT)
		inherit(link, c->inherit_from);
	else if (c->type == MR_CMD_FORGET)
		mr_recovery_forget(&link->recovery, c->forgotten);
	else if (c->type == MR_CMD_CHANNEL_CLOSE)
		close_channel(link, c);
	else if (c->token)
		mr_report_done(link, c->token, why_not(link));
	if (s) mr_link_io_touch(&link->io);
}
