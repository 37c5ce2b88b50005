/* link: one connection: dials, runs a session over the stream, and reports its state.
 * SPDX-License-Identifier: MIT */
#include "link/link.h"

#include "base/alloc.h"
#include "base/machine.h"
#include "link/curbs.h"
#include "link/flight.h"
#include "link/repair.h"
#include "link/replay.h"
#include "link/outage.h"
#include "link/report.h"

#define PARTING_TIME 1000 /* ms for the last frames to leave and the peer to hang up */

static const unsigned may_follow[MR_LINK_STATE_COUNT] = {
	[MR_LINK_IDLE] = MR_BIT(MR_LINK_CONNECTING),
	[MR_LINK_CONNECTING] = MR_BIT(MR_LINK_OPEN) | MR_BIT(MR_LINK_IDLE) |
                               MR_BIT(MR_LINK_PARTING) | MR_BIT(MR_LINK_BACKOFF),
	[MR_LINK_OPEN] = MR_BIT(MR_LINK_CLOSING) | MR_BIT(MR_LINK_PARTING) | MR_BIT(MR_LINK_IDLE),
	[MR_LINK_CLOSING] = MR_BIT(MR_LINK_PARTING) | MR_BIT(MR_LINK_IDLE),
	[MR_LINK_PARTING] = MR_BIT(MR_LINK_IDLE) | MR_BIT(MR_LINK_BACKOFF),
	[MR_LINK_BACKOFF] = MR_BIT(MR_LINK_IDLE) | MR_BIT(MR_LINK_CONNECTING),
};
static const struct mr_machine machine = {"link", (const char *const[]){MR_LINK_STATES(MR_NAME)},
	may_follow, MR_LINK_STATE_COUNT};

void mr_link_enter(struct mr_link *link, enum mr_link_state next)
{
	mr_error fault = {0};
	if (mr_machine_moves(&machine, link->state, next, &fault)) {
		link->state = next;
		link->entered = mr_clock_now();
		mr_flight_state(link);
		return;
	}
	mr_log(&link->services->log, MR_LOG_ERROR, "illegal move", "connection", link->config->name,
		"text", fault.text, NULL);
	mr_error_keep(&link->error, &fault);
	link->is_faulty = true;
	mr_link_io_touch(&link->io);
}

/* ---- ends ---- */

static void drop_stream(struct mr_link *link)
{
	mr_dial_cancel(&link->dial);
	mr_timer_stop(&link->greeting);
	mr_timer_stop(&link->patience);
	mr_link_io_stop(&link->io);
	if (link->state == MR_LINK_CONNECTING && link->session)
		mr_tls_session_forget(&link->dial.session); /* it may be why AMQP never came */
	mr_session_free(link->session);
	link->session = NULL;
	mr_link_io_gone(&link->io, 0);
}

/* There will be no more tries: the connection stays lost. */
static void tell_final(struct mr_link *link, enum mr_connection_state state, const mr_error *why)
{
	mr_error none = {0};
	mr_recovery_end(&link->recovery);
	mr_report_state(link, state, why);
	mr_report_release(link);
	mr_report_answer(link, &link->openers, why);
	mr_report_answer(link, &link->closers, &none);
}

/* A connection was lost, or a try to connect has failed: plans another try, or gives up. */
static void tell_failure(struct mr_link *link, const mr_error *why, bool was_open)
{
	struct mr_recovery *r = &link->recovery;
	mr_error_keep(&link->error, why);
	if (!mr_recovery_would_retry(r, why->kind)) {
		if (!was_open) mr_outage_failed(link, why, MR_NEVER);
		bool gave_up = r->attempt > 0 && !was_open;
		tell_final(link, gave_up ? MR_CONNECTION_GAVE_UP : MR_CONNECTION_LOST, why);
		return;
	}
	if (was_open) r->lost_at = mr_clock_now();
	if (was_open) mr_report_lost(link, why);
	/* Requests to open it during the recovery end with the result of this try. */
	if (r->was_open) mr_report_answer(link, &link->openers, why);
	mr_recovery_lost(r, why);
	mr_msec delay = mr_recovery_retry(r, why);
	if (!was_open) mr_outage_failed(link, why, r->host_decides ? -1 : delay);
}

/* Also if its timer has fired in this turn of the loop. */
static bool is_to_retry(const struct mr_link *link)
{
	const ev_timer *retry = &link->recovery.retry.ev;
	return ev_is_active(retry) || ev_is_pending(retry);
}

static void parted(struct mr_link *link)
{
	drop_stream(link);
	mr_link_enter(link, is_to_retry(link) ? MR_LINK_BACKOFF : MR_LINK_IDLE);
}

/* The session has ended. Its last bytes are written in the state PARTING. */
static void part(struct mr_link *link)
{
	mr_error why = *mr_session_error(link->session);
	bool wanted = link->state == MR_LINK_CLOSING;
	if (!wanted) mr_outage_lost(link, &why);
	mr_link_enter(link, MR_LINK_PARTING);
	mr_timer_arm(&link->patience, mr_clock_now() + PARTING_TIME);
	mr_link_io_touch(&link->io);
	mr_error_keep(&link->error, &why);
	if (!wanted) {
		tell_failure(link, &why, true);
		return;
	}
	tell_final(link, MR_CONNECTION_CLOSED, &why);
	parted(link); /* close-ok has arrived: nothing is left to write or read */
}

static void connect_failed(struct mr_link *link, const mr_error *why)
{
	if (link->session) mr_session_end(link->session, why);
	drop_stream(link);
	tell_failure(link, why, false);
	mr_link_enter(link, is_to_retry(link) ? MR_LINK_BACKOFF : MR_LINK_IDLE);
}

/* A connection that the program closed stays closed, and an end is not reported twice. */
static void drop_faulty(struct mr_link *link)
{
	mr_error why = *mr_error_kept(link->error);
	enum mr_link_state was = link->state;
	bool is_over = was == MR_LINK_IDLE || was == MR_LINK_PARTING;
	link->is_faulty = false;
	if (link->session) mr_session_end(link->session, &why);
	drop_stream(link);
	if (was == MR_LINK_CLOSING)
		tell_final(link, MR_CONNECTION_CLOSED, &why);
	else if (!is_over)
		tell_failure(link, &why, was == MR_LINK_OPEN);
	link->state = is_to_retry(link) ? MR_LINK_BACKOFF : MR_LINK_IDLE; /* in any case */
}

/* AMQP failed on this address. A refusal is for the whole cluster; other errors may be the host's. */
static void handshake_failed(struct mr_link *link, const mr_error *why)
{
	char host[300];
	mr_error error = *why;
	mr_dial_host(&link->dial, host, sizeof host);
	if (error.kind != MR_AUTHENTICATION_FAILED && error.kind != MR_VHOST_ACCESS_REFUSED)
		mr_error_set(&error, why->kind, MR_SCOPE_CONNECTION, why->code, "%s: %.440s", host,
			why->text);
	error.system = why->system;
	bool is_final =
		why->kind == MR_AUTHENTICATION_FAILED || why->kind == MR_VHOST_ACCESS_REFUSED;
	mr_timer_stop(&link->greeting);
	mr_link_io_stop(&link->io);
	mr_session_free(link->session);
	link->session = NULL;
	if (!mr_dial_next(&link->dial, is_final, &error)) connect_failed(link, &error);
}

/* The stream has failed. */
static void broken(void *owner, const mr_error *why)
{
	struct mr_link *link = owner;
	mr_error error = *why;
	if (link->state == MR_LINK_PARTING) {
		parted(link);
		return;
	}
	if (link->state == MR_LINK_CONNECTING) {
		error.kind = (int32_t)mr_handshake_lost(mr_session_handshake(link->session),
			error.kind, &error);
		handshake_failed(link, &error);
		return;
	}
	if (link->state == MR_LINK_CLOSING) /* the peer hung up before its close-ok */
		mr_error_set(&error, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
			"the connection was closed by the program");
	mr_session_end(link->session, &error);
	part(link);
	if (link->state == MR_LINK_PARTING) parted(link);
}

static void opened(struct mr_link *link)
{
	const struct mr_handshake *hs = mr_session_handshake(link->session);
	struct mr_opened *o = mr_calloc(1, sizeof *o);
	mr_link_enter(link, MR_LINK_OPEN);
	link->opened++;
	link->is_blocked = false;
	mr_timer_stop(&link->patience);
	mr_timer_stop(&link->greeting);
	mr_dial_worked(&link->dial);
	if (o) {
		o->server_properties = mr_session_take_properties(link->session);
		o->facts = (mr_facts){hs->frame_max, hs->channel_max, hs->heartbeat, "", 0, false};
		mr_link_io_describe(&link->io, &o->facts);
		mr_dial_host(&link->dial, o->host, sizeof o->host);
		mr_outage_connected(link, o->host);
	}
	/* Frees the memory of the handshake, which a thousand idle connections need not keep. */
	mr_outbox_trim(mr_session_output(link->session), 0);
	bool is_back = link->recovery.was_open;
	mr_report_opened(link, o);
	if (mr_recovery_opened(&link->recovery, hs))
		mr_link_io_touch(&link->io);
	else if (is_back)
		mr_report_recovered(link, 0, NULL);
	else
		mr_report_usable(link);
}

/* The session's state may have changed. */
static void moved(void *owner)
{
	struct mr_link *link = owner;
	enum mr_session_state state =
		link->session ? mr_session_state(link->session) : MR_SESSION_IDLE;
	if (state == MR_SESSION_OPEN && link->state == MR_LINK_CONNECTING) {
		opened(link);
	} else if (state == MR_SESSION_CLOSED && link->state == MR_LINK_CONNECTING) {
		mr_error why = *mr_session_error(link->session);
		mr_link_io_last_words(&link->io); /* the close-ok, if there is one */
		handshake_failed(link, &why);
	} else if (state == MR_SESSION_CLOSED && link->state != MR_LINK_PARTING) {
		part(link);
	}
}

/* ---- the life of a connection ---- */

static void on_dialed(void *owner, struct mr_stream *stream, const mr_error *error)
{
	struct mr_link *link = owner;
	mr_error memory = {0};
	if (!stream) {
		connect_failed(link, error);
		return;
	}
	enum mr_status st = mr_session_open(&link->session, &link->options);
	mr_link_io_start(&link->io, stream, link->session);
	if (st == MR_OK) st = mr_session_start(link->session, mr_clock_now());
	mr_timer_arm(&link->greeting, link->config->memory
					      ? mr_clock_now() + link->config->socket_timeout
					      : link->dial.give_up);
	if (st == MR_OK) return;
	mr_error_set(&memory, st, MR_SCOPE_CONNECTION, 0, "out of memory");
	connect_failed(link, &memory);
}

/* A host that accepts and sends nothing must not use the time of the next one. */
static void on_greeting(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_link *link = timer->data;
	mr_error error = {0};
	(void)loop, (void)revents;
	if (link->state != MR_LINK_CONNECTING || !link->session) return;
	mr_error_set(&error, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0,
		"accepts connections, but no AMQP handshake came in time");
	handshake_failed(link, &error);
}

static void on_patience(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_link *link = timer->data;
	mr_error error = {0};
	(void)loop, (void)revents;
	if (link->state == MR_LINK_PARTING) {
		parted(link);
	} else if (link->state == MR_LINK_CLOSING) {
		mr_error_set(&error, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
			"the connection was closed by force: the broker did not agree in time");
		broken(link, &error);
	} else if (link->state == MR_LINK_CONNECTING) {
		char host[300];
		mr_dial_host(&link->dial, host, sizeof host);
		mr_error_set(&error, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0,
			link->session
				? "%s accepts connections, but no AMQP handshake came within connect_timeout"
				: "%s did not answer within connect_timeout",
			host);
		mr_dial_tell_tried(&link->dial, &error);
		connect_failed(link, &error);
	}
}

/* ---- what recovery asks of a link ---- */

static void ask(void *owner, const struct mr_ask *a)
{
	struct mr_session *s = ((const struct mr_link *)owner)->session;
	switch (a->kind) {
	case MR_ASK_OPEN:
		mr_session_channel_open(s, a->channel, a->token, a->epoch, a->deadline);
		break;
	case MR_ASK_REQUEST:
		mr_session_request(s, a->channel, a->token, a->epoch, a->request, a->deadline);
		break;
	case MR_ASK_CLOSE:
		mr_session_channel_close(s, a->channel, a->token, a->epoch, a->deadline);
		break;
	}
}

static bool has_channel(void *owner, uint16_t number)
{
	const struct mr_session *s = ((const struct mr_link *)owner)->session;
	return s && mr_session_has_channel(s, number);
}

static bool rests(void *owner, const struct mr_record *c, bool *is_of_queue)
{
	struct mr_session *s = ((struct mr_link *)owner)->session;
	return s && mr_session_consumer_rests(s, c->channel, c->request.number, is_of_queue);
}

static enum mr_session_state session_state(void *owner)
{
	return mr_session_state(((const struct mr_link *)owner)->session);
}

static void touch(void *owner) { mr_link_io_touch(&((struct mr_link *)owner)->io); }
static void on_retry(void *owner) { mr_link_retry(owner); }
static void push(void *owner, const mr_event *event) { mr_report_push(owner, event); }
static void usable(void *owner) { mr_report_usable(owner); }

static void recovered(void *owner, uint32_t n, mr_table *t) { mr_report_recovered(owner, n, t); }

/* ---- the beginning ---- */

enum mr_status mr_link_new(struct mr_services *services, uint32_t number, struct mr_link_seed *seed)
{
	struct mr_link *link = mr_calloc(1, sizeof *link);
	struct mr_tally *tally = link ? mr_tally_new() : NULL;
	if (!tally || mr_map_put(&services->links, number, link) != MR_OK) {
		mr_tally_release(tally);
		mr_free(link);
		return MR_NO_MEMORY;
	}
	struct mr_config *c = link->config = seed->config;
	link->services = services;
	link->number = number;
	const struct mr_link_io_port io = {link, moved, broken};
	mr_link_io_init(&link->io, services, c, number, &io, tally, seed->gauge);
	link->login = (struct mr_login){.client_properties = c->client_properties,
		.frame_max = c->frame_max};
	link->login.user = mr_slice_str(c->user);
	link->login.password = mr_slice_str(c->password);
	link->login.vhost = mr_slice_str(c->vhost);
	link->login.mechanism = mr_slice_str(c->mechanism);
	link->login.connection_name = mr_slice_str(c->name);
	link->login.channel_max = c->channel_max;
	link->login.heartbeat = c->heartbeat;
	link->login.insist = c->insist;
	link->options = (struct mr_session_options){.login = &link->login,
		.connection = number,
		.max_message_size = c->max_message_size,
		.blocked_timeout = c->blocked_timeout,
		.tally = tally};
	mr_report_hear(link);
	mr_curbs_hear(link);
	mr_list_init(&link->openers);
	mr_list_init(&link->closers);
	const struct mr_recovery_port port = {link, ask, has_channel, rests, session_state, touch,
		on_retry, usable, recovered, push};
	mr_recovery_init(&link->recovery, services, c, number, &port);
	mr_config_shuffle_hosts(c, link->recovery.random);
	mr_dial_init(&link->dial, services, c, on_dialed, link);
	mr_timer_init(&link->patience, &services->timers, on_patience, link);
	mr_timer_init(&link->greeting, &services->timers, on_greeting, link);
	mr_free(seed);
	return MR_OK;
}

void mr_link_flush(struct mr_link *link)
{
	if (link->is_faulty) drop_faulty(link);
	if (!link->session) return;
	if (link->state == MR_LINK_OPEN) {
		mr_replay_go_on(&link->recovery);
		mr_link_io_flush_acks(&link->io);
	}
	mr_link_io_flush(&link->io);
}

static void connect_now(struct mr_link *link)
{
	mr_link_enter(link, MR_LINK_CONNECTING);
	mr_timer_arm(&link->patience, mr_clock_now() + link->config->connect_timeout);
	mr_report_state(link, MR_CONNECTION_CONNECTING, NULL);
	link->dial.host = 0; /* where it starts */
	mr_outage_connecting(link);
	mr_dial_start(&link->dial);
}

void mr_link_retry(struct mr_link *link)
{
	mr_timer_stop(&link->recovery.retry);
	if (link->state == MR_LINK_PARTING) {
		drop_stream(link);
		mr_link_enter(link, MR_LINK_BACKOFF);
	}
	if (link->state == MR_LINK_BACKOFF) connect_now(link);
}

void mr_link_decide(struct mr_link *link, uint64_t delay)
{
	struct mr_recovery *r = &link->recovery;
	mr_error why = *mr_error_kept(link->error);
	r->host_decides = true;
	if (link->state == MR_LINK_OPEN) mr_repair_decide(r, delay);
	if (!is_to_retry(link)) return;
	if (delay != UINT64_MAX) {
		mr_outage_retry(link, why.kind, (mr_msec)delay);
		mr_timer_arm(&r->retry, mr_clock_now() + (mr_msec)delay);
		return;
	}
	if (link->state == MR_LINK_PARTING) parted(link);
	mr_timer_stop(&r->retry);
	mr_link_enter(link, MR_LINK_IDLE);
	tell_final(link, MR_CONNECTION_GAVE_UP, &why);
}

void mr_link_open(struct mr_link *link, uint64_t token)
{
	mr_error error = {0};
	if (link->state == MR_LINK_PARTING) parted(link);
	if (link->state == MR_LINK_OPEN && mr_recovery_is_usable(&link->recovery)) {
		mr_report_done(link, token, &error);
		return;
	}
	if (link->state == MR_LINK_CLOSING) {
		mr_error_set(&error, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
			"the connection is closing");
		mr_report_done(link, token, &error);
		return;
	}
	mr_report_wait(link, &link->openers, token);
	if (link->state == MR_LINK_BACKOFF) mr_link_retry(link); /* the caller wants it now */
	if (link->state != MR_LINK_IDLE) return;
	mr_recovery_begin(&link->recovery);
	connect_now(link);
}

static void close_unopened(struct mr_link *link)
{
	mr_error error = {0};
	mr_error_set(&error, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
		"the connection was closed by the program");
	drop_stream(link);
	mr_link_enter(link, MR_LINK_IDLE);
	mr_error_keep(&link->error, &error);
	tell_final(link, MR_CONNECTION_CLOSED, &error);
}

void mr_link_close(struct mr_link *link, uint64_t token, mr_msec deadline)
{
	mr_error error = {0};
	if (link->state == MR_LINK_PARTING && is_to_retry(link)) parted(link);
	if (link->state == MR_LINK_IDLE || link->state == MR_LINK_PARTING) {
		mr_report_done(link, token, &error);
		return;
	}
	mr_report_wait(link, &link->closers, token);
	if (link->state == MR_LINK_CONNECTING || link->state == MR_LINK_BACKOFF) {
		close_unopened(link);
		return;
	}
	mr_timer_arm(&link->patience, deadline);
	if (link->state == MR_LINK_CLOSING) return;
	mr_recovery_lost(&link->recovery, NULL);
	mr_link_enter(link, MR_LINK_CLOSING);
	mr_session_shutdown(link->session);
	mr_link_io_touch(&link->io);
}

void mr_link_free(struct mr_link *link)
{
	mr_error none = {0}, closed = {0};
	if (!link) return;
	mr_map_take(&link->services->links, link->number);
	mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CONNECTION, 0, "the connection was released");
	if (link->session) mr_session_end(link->session, &closed);
	mr_report_answer(link, &link->openers, &closed);
	mr_report_answer(link, &link->closers, &none);
	mr_report_release(link); /* this end is not reported otherwise */
	drop_stream(link);
	mr_dial_fini(&link->dial);
	mr_recovery_fini(&link->recovery);
	mr_event_queue_close_lane(&link->services->dispatch, &link->lane);
	mr_link_io_fini(&link->io);
	mr_buffer_fini(&link->singles);
	mr_error_keep(&link->error, NULL);
	mr_config_fini(link->config);
	mr_free(link->config);
	mr_free(link);
}
