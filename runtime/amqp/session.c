/* session: one AMQP connection as a pure state machine: bytes, calls and `now` in; bytes, events
 * and the next deadline out.
 * SPDX-License-Identifier: MIT */
#include "amqp/session.h"

#include "amqp/channel.h"
#include "amqp/curb.h"
#include "amqp/gather.h"
#include "amqp/inbound.h"
#include "amqp/message.h"
#include "amqp/session_state.h"
#include "base/alloc.h"
#include "codec/frame.h"

#define PLACED_LEAST 16384 /* bytes that are worth a read of their own: measured */
#define REPLY_TIME 60000   /* ms after a publish in which a direct reply may come */

enum mr_status mr_session_open(struct mr_session **out, const struct mr_session_options *options)
{
	struct mr_session *s = mr_calloc(1, sizeof *s);
	if (!s || mr_codec_open(&s->codec) != MR_OK) {
		mr_free(s);
		return MR_NO_MEMORY;
	}
	s->options = options;
	s->blocked_until = MR_NEVER;
	s->guard = (struct mr_guard){.frame_max = MR_FRAME_MIN_MAX * 32};
	mr_outlet_init(&s->outlet, options, s->guard.frame_max);
	mr_handshake_init(&s->handshake, options->login);
	mr_heartbeat_init(&s->heartbeat, 0, 0);
	*out = s;
	return MR_OK;
}

void mr_session_free(struct mr_session *s)
{
	if (!s) return;
	for (size_t i = 0; i < s->channel_slots; i++) mr_amqp_channel_free(s->channels[i]);
	mr_free(s->channels);
	mr_map_fini(&s->stray);
	mr_handshake_fini(&s->handshake);
	mr_codec_close(s->codec);
	mr_outlet_fini(&s->outlet);
	mr_error_keep(&s->error, NULL);
	mr_free(s);
}

enum mr_status mr_session_start(struct mr_session *s, mr_msec now)
{
	mr_session_enter(s, MR_SESSION_HANDSHAKE);
	mr_heartbeat_init(&s->heartbeat, 0, now); /* off until tune */
	return mr_frame_put_protocol_header(&s->outlet.out.bytes);
}

/* ---- ends ---- */

void mr_session_shutdown(struct mr_session *s)
{
	mr_error none = {0};
	if (s->state != MR_SESSION_OPEN) {
		mr_error_set(&none, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
			"the connection was closed by the program");
		mr_session_end(s, &none);
		return;
	}
	struct mr_method close = {.id = MR_M_CONNECTION_CLOSE,
		.code = 200,
		.text = mr_slice_str("Goodbye")};
	mr_session_flush(s);
	if (mr_outlet_send(&s->outlet, 0, &close, NULL) != MR_OK)
		mr_session_fail_memory(s);
	else if (s->state == MR_SESSION_OPEN)
		mr_session_enter(s, MR_SESSION_CLOSING);
}

/* ---- the connection's own methods ---- */

static void tell_blocked(struct mr_session *s, bool blocked, mr_slice reason)
{
	mr_event ev = {.type = MR_EV_BLOCKED, .connection = s->options->connection};
	mr_error *why = blocked ? mr_calloc(1, sizeof *why) : NULL;
	ev.as.blocked.is_blocked = blocked;
	ev.as.blocked.reason = why;
	mr_error_set(why, MR_BLOCKED_TIMEOUT, MR_SCOPE_CONNECTION, 0, "%.*s", (int)reason.size,
		reason.data);
	s->options->emit(s->options->owner, &ev);
}

/* RabbitMQ closes the connection for a channel beyond the user's max-channels (530). */
static enum mr_status kind_of_close(const struct mr_method *m)
{
	static const char channels[] = "number of channels opened";
	bool is_limit = m->code == 530 && m->text.size &&
	                memmem(m->text.data, m->text.size, channels, strlen(channels));
	return is_limit ? MR_CHANNEL_LIMIT_REACHED : mr_status_of_code(m->code);
}

static enum mr_status closed_by_broker(struct mr_session *s, const struct mr_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_CONNECTION_CLOSE_OK};
	mr_error_set(error, kind_of_close(m), MR_SCOPE_CONNECTION, m->code, "%.*s",
		(int)m->text.size, m->text.data);
	mr_outlet_send(&s->outlet, 0, &ok, NULL);
	for (size_t i = 0; i < s->channel_slots; i++)
		if (s->channels[i]) mr_curb_closed(s->channels[i], m, error);
	mr_session_end(s, error);
	return MR_OK;
}

/* The answers come in the order of the secrets, including those that timed out. */
static enum mr_status secret_taken(struct mr_session *s)
{
	mr_error none = {0};
	if (s->late_secrets)
		s->late_secrets--;
	else if (s->secret_token)
		mr_session_secret_done(s, &none);
	else
		return mr_outlet_odd(&s->outlet, 0,
			"ignored: connection.update-secret-ok, for which nothing waits");
	return MR_OK;
}

static enum mr_status connection_method(struct mr_session *s, const struct mr_method *m,
	mr_msec now, mr_error *error)
{
	mr_error closed = {0};
	switch (m->id) {
	case MR_M_CONNECTION_CLOSE: return closed_by_broker(s, m, error);
	case MR_M_CONNECTION_BLOCKED:
		if (s->blocked_until == MR_NEVER && s->options->blocked_timeout)
			s->blocked_until = now + s->options->blocked_timeout;
		tell_blocked(s, true, m->text);
		return MR_OK;
	case MR_M_CONNECTION_UNBLOCKED:
		s->blocked_until = MR_NEVER;
		tell_blocked(s, false, (mr_slice){0});
		return MR_OK;
	case MR_M_CONNECTION_CLOSE_OK:
		if (s->state != MR_SESSION_CLOSING) break;
		mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CONNECTION, 0,
			"the connection was closed by the program");
		mr_session_end(s, &closed);
		return MR_OK;
	case MR_M_CONNECTION_UPDATE_SECRET_OK: return secret_taken(s);
	default: break;
	}
	return mr_outlet_odd(&s->outlet, 0, "ignored: %s, which means nothing now",
		mr_method_name(m->id));
}

/* Without a negotiated limit: the size of the largest accepted body, so that a frame's head of
 * seven bytes cannot make the session wait for gigabytes. */
static uint32_t largest_frame(const struct mr_session *s)
{
	uint64_t body = s->options->max_message_size + MR_FRAME_OVERHEAD;
	if (body > UINT32_MAX) return UINT32_MAX;
	return body > s->guard.frame_max ? (uint32_t)body : s->guard.frame_max;
}

/* The handshake writes by itself: its state says what. Without texts: one has the password. */
static void see_answers(struct mr_session *s, enum mr_handshake_step before)
{
	struct mr_method start_ok = {.id = MR_M_CONNECTION_START_OK};
	struct mr_method tune_ok = {.id = MR_M_CONNECTION_TUNE_OK};
	struct mr_method open = {.id = MR_M_CONNECTION_OPEN};
	if (s->handshake.step == before) return;
	if (s->handshake.step == MR_HS_TUNE) mr_outlet_seen(&s->outlet, true, 0, &start_ok, 0);
	if (s->handshake.step != MR_HS_OPEN) return;
	mr_outlet_seen(&s->outlet, true, 0, &tune_ok, 0);
	mr_outlet_seen(&s->outlet, true, 0, &open, 0);
}

static enum mr_status shake_hands(struct mr_session *s, struct mr_method *m, mr_msec now,
	mr_error *error)
{
	struct mr_handshake *hs = &s->handshake;
	enum mr_handshake_step before = hs->step;
	enum mr_status st = mr_handshake_feed(hs, m, &s->outlet.out.bytes, error);
	if (st != MR_OK) return st;
	see_answers(s, before);
	if (hs->step == MR_HS_OPEN && !s->heartbeat.interval) { /* tune is done from here on */
		s->outlet.frame_max = hs->frame_max ? hs->frame_max : UINT32_MAX;
		s->guard.frame_max = hs->frame_max ? hs->frame_max : largest_frame(s);
		s->guard.channel_max = hs->channel_max ? hs->channel_max : UINT16_MAX;
		s->guard.header_max = MR_HEADER_FRAME_MAX;
		mr_heartbeat_init(&s->heartbeat, (mr_msec)hs->heartbeat * 1000, now);
	}
	if (hs->step == MR_HS_DONE) mr_session_enter(s, MR_SESSION_OPEN);
	return MR_OK;
}

/* ---- frames in ---- */

/* True if the number has no open channel now, but had one: then a frame may belong to that one. */
static bool is_past(const struct mr_session *s, uint16_t number, const struct mr_amqp_channel *ch)
{
	return !(ch && ch->state == MR_CH_OPEN) && mr_map_get(&s->stray, number);
}

static enum mr_status channel_frame(struct mr_session *s, const struct mr_frame *frame,
	const struct mr_method *method, mr_error *error)
{
	struct mr_amqp_channel *ch = mr_session_channel_at(s, frame->channel);
	if (is_past(s, frame->channel, ch)) {
		if (!ch || !method || method->id != MR_M_CHANNEL_OPEN_OK) return MR_OK;
		mr_map_take(&s->stray, frame->channel);
	}
	/* It may be a message, which would stay unsettled, and there is no channel to close for
	 * it. */
	if (!ch)
		return mr_error_set(error, MR_CHANNEL_ERROR, MR_SCOPE_CONNECTION, 504,
			"a frame on channel %u, which is not open", frame->channel);
	enum mr_status st =
		method ? mr_inbound_method(ch, method, error) : mr_message_frame(ch, frame, error);
	if (ch->state != MR_CH_CLOSED) return st;
	/* RabbitMQ 3.10 may deliver after its own close, or after its answer to ours. Without
	 * memory this ends the connection. */
	mr_map_put(&s->stray, ch->number, s);
	mr_session_channel_ended(s, ch);
	return st;
}

static void note_skips(struct mr_session *s, uint16_t number, bool skips)
{
	struct mr_amqp_channel *ch = mr_session_channel_at(s, number);
	if (ch) ch->skips = skips;
	if (number == 0) s->skips = skips;
}

/* Skipped content: of a closed channel, or of an unknown method. */
static bool is_skipped(const struct mr_session *s, const struct mr_frame *frame)
{
	const struct mr_amqp_channel *ch = mr_session_channel_at(s, frame->channel);
	if (frame->type != MR_FRAME_HEADER && frame->type != MR_FRAME_BODY) return false;
	if (frame->channel == 0) return s->skips;
	if (is_past(s, frame->channel, ch)) return true;
	return ch && (ch->why || (ch->skips && ch->content.state == MR_CONTENT_IDLE));
}

static enum mr_status take_method(struct mr_session *s, const struct mr_frame *frame, mr_msec now,
	mr_error *error)
{
	struct mr_method method = {.id = mr_get32(frame->payload)};
	bool is_open = s->state != MR_SESSION_HANDSHAKE;
	bool is_known = mr_guard_may_come(method.id);
	note_skips(s, frame->channel, !is_known);
	if (is_open && !is_known)
		return mr_outlet_odd(&s->outlet, frame->channel,
			"ignored: method %u.%u, which no broker sends", method.id >> 16,
			method.id & 0xffff);
	if (is_open && frame->channel && method.id >> 16 == 10)
		return mr_outlet_odd(&s->outlet, frame->channel,
			"ignored: method %u.%u, which belongs on channel 0", method.id >> 16,
			method.id & 0xffff);
	/* The codec does not know it, and it has no fields. */
	if (is_open && method.id == MR_M_CONNECTION_UPDATE_SECRET_OK)
		return connection_method(s, &method, now, error);
	enum mr_status st = mr_method_decode(s->codec, frame, &method, error);
	if (st == MR_OK && method.id != MR_M_BASIC_DELIVER) /* that has its consumer later */
		mr_outlet_seen(&s->outlet, false, frame->channel, &method, 0);
	if (st == MR_OK && s->state == MR_SESSION_HANDSHAKE && frame->channel == 0)
		return shake_hands(s, &method, now, error);
	mr_table_free(method.table);
	if (st != MR_OK) return st;
	if (frame->channel == 0) return connection_method(s, &method, now, error);
	return channel_frame(s, frame, &method, error);
}

/* A mistake within a well-formed frame of a channel ends at most that channel. */
static bool costs_channel(struct mr_session *s, uint16_t number, const mr_error *error)
{
	struct mr_amqp_channel *ch = mr_session_channel_at(s, number);
	if (error->kind == MR_NO_MEMORY || s->state == MR_SESSION_CLOSED) return false;
	if (s->state == MR_SESSION_CLOSING) return number != 0; /* it ends with the connection */
	if (is_past(s, number, ch))
		return mr_outlet_odd(&s->outlet, number, "ignored: %s", error->text) == MR_OK;
	if (!ch || s->state != MR_SESSION_OPEN) return false;
	mr_outlet_odd(&s->outlet, number, "the channel ends: %s", error->text);
	mr_amqp_channel_refuse(ch, error);
	return true;
}

static void take_frame(struct mr_session *s, const struct mr_frame *frame, mr_msec now)
{
	mr_error
		error; /* not cleared: half a KiB for each frame is a twentieth of the I/O thread */
	error.kind = MR_OK;
	if (is_skipped(s, frame)) return;
	enum mr_status st = mr_guard_frame(frame, &error);
	if (st == MR_COMMAND_INVALID && s->state != MR_SESSION_HANDSHAKE) st = MR_OK;
	if (st == MR_OK && frame->type == MR_FRAME_METHOD)
		st = take_method(s, frame, now, &error);
	else if (st == MR_OK && frame->type != MR_FRAME_HEARTBEAT)
		st = channel_frame(s, frame, NULL, &error);
	else if (st == MR_OK)
		mr_outlet_seen(&s->outlet, false, 0, &(struct mr_method){0}, 0);
	if (st == MR_OK) return;
	if (!error.kind) mr_error_set(&error, st, MR_SCOPE_CONNECTION, 0, "%s", mr_status_text(st));
	if (costs_channel(s, frame->channel, &error)) return;
	error.scope = MR_SCOPE_CONNECTION;
	mr_session_fail(s, &error);
}

/* A fault of a channel: an illegal move, or a broker that does not close the channel. */
static void look_for_fault(struct mr_session *s)
{
	const mr_error *fault = s->outlet.fault;
	if (!fault) return;
	s->outlet.fault = NULL;
	if (s->state != MR_SESSION_CLOSED) mr_session_fail(s, fault);
	mr_error_keep(&fault, NULL);
}

size_t mr_session_feed(struct mr_session *s, const uint8_t *data, size_t size, mr_msec now,
	size_t *want)
{
	size_t at = 0, used = 0;
	struct mr_frame frame;
	mr_error error = {0};

	*want = 0;
	s->outlet.now = now;
	if (size) mr_heartbeat_heard(&s->heartbeat, now);
	if (!s->sniffed && mr_frame_sniff(data, size, &error) != MR_OK) {
		mr_session_end(s, &error);
		return size;
	}
	while (s->state != MR_SESSION_CLOSED && at < size) {
		bool is_piece = s->piece.left != 0;
		if ((is_piece ? mr_piece_next(&s->piece, data + at, size - at, &frame, &used, want,
					&error)
			      : mr_frame_next(&s->guard, data + at, size - at, &frame, &used, want,
					&error)) != MR_OK) {
			mr_session_fail(s, &error);
			break;
		}
		if (!used && !is_piece && mr_piece_begin(&s->piece, data + at, size - at, &frame))
			used = MR_FRAME_HEAD;
		if (!used) return at;
		s->sniffed = true;
		at += used;
		s->options->stats->frames_in += !is_piece;
		take_frame(s, &frame, now);
		if (s->outlet.fault) look_for_fault(s);
	}
	return s->state == MR_SESSION_CLOSED ? size : at;
}

char *mr_session_place(struct mr_session *s, size_t *size)
{
	if (s->piece.left < PLACED_LEAST || s->state != MR_SESSION_OPEN) return NULL;
	struct mr_amqp_channel *ch = mr_session_channel_at(s, s->piece.channel);
	*size = s->piece.left - 1;
	return ch ? mr_content_place(&ch->content, s->options->pool, *size) : NULL;
}

/* ---- bytes out, and time ---- */

struct mr_outbox *mr_session_output(struct mr_session *s) { return &s->outlet.out; }

void mr_session_wrote(struct mr_session *s, mr_msec now) { mr_heartbeat_sent(&s->heartbeat, now); }

void mr_session_flush(struct mr_session *s)
{
	struct mr_node *node;
	look_for_fault(s);
	s->outlet.acks_due = MR_NEVER;
	while ((node = mr_list_shift(&s->outlet.dirty))) {
		if (mr_amqp_channel_flush(mr_container(node, struct mr_amqp_channel, dirty)) ==
			MR_OK)
			continue;
		mr_session_fail_memory(s);
		return;
	}
}

void mr_session_flush_due(struct mr_session *s, mr_msec now)
{
	look_for_fault(s);
	if (!mr_gather_waits(&s->outlet, now)) mr_session_flush(s);
}

static void expire_requests(struct mr_session *s, mr_msec now)
{
	mr_error late = {0};
	mr_error_set(&late, MR_TIMEOUT, MR_SCOPE_CONNECTION, 0,
		"the broker did not answer in time");
	if (s->secret_token && now >= s->secret_deadline) {
		s->late_secrets++;
		mr_session_secret_done(s, &late);
	}
	if (now < s->outlet.earliest) return;
	s->outlet.earliest = MR_NEVER;
	for (size_t i = 0; i < s->channel_slots; i++)
		if (s->channels[i]) mr_amqp_channel_expire(s->channels[i], now);
}

static void see_beat(struct mr_session *s)
{
	s->options->stats->heartbeats_out++;
	mr_outlet_seen(&s->outlet, true, 0, &(struct mr_method){0}, 0);
}

bool mr_session_tick(struct mr_session *s, mr_msec now, bool may_beat)
{
	mr_error error = {0};
	if (s->state == MR_SESSION_CLOSED || s->state == MR_SESSION_IDLE) return false;
	s->outlet.now = now;
	expire_requests(s, now);
	look_for_fault(s);
	if (s->state == MR_SESSION_CLOSED) return false;
	if (now >= s->blocked_until) {
		mr_error_set(&error, MR_BLOCKED_TIMEOUT, MR_SCOPE_CONNECTION, 0,
			"the broker blocked the connection for longer than blocked_connection_timeout");
		mr_session_fail(s, &error);
		return false;
	}
	switch (mr_heartbeat_check(&s->heartbeat, now)) {
	case MR_BEAT_LOOK: return true;
	case MR_BEAT_DEAD:
		mr_error_set(&error, MR_HEARTBEAT_TIMEOUT, MR_SCOPE_CONNECTION, 0,
			"nothing came from the broker for %g s",
			(double)mr_heartbeat_patience(&s->heartbeat) / 1000);
		mr_session_end(s, &error);
		return false;
	case MR_BEAT_SEND:
		/* Whether it was sent or not, the next check is half an interval from now. */
		mr_heartbeat_sent(&s->heartbeat, now);
		if (!may_beat) return false;
		if (mr_frame_put_heartbeat(&s->outlet.out.bytes) != MR_OK)
			mr_session_fail_memory(s);
		else
			see_beat(s);
		return false;
	default: return false;
	}
}

mr_msec mr_session_deadline(const struct mr_session *s)
{
	if (s->state == MR_SESSION_CLOSED) return MR_NEVER;
	mr_msec at = mr_earlier(s->outlet.earliest, s->blocked_until);
	if (s->state == MR_SESSION_OPEN) at = mr_earlier(at, s->outlet.acks_due);
	if (s->secret_token) at = mr_earlier(at, s->secret_deadline);
	return mr_earlier(at, mr_heartbeat_deadline(&s->heartbeat));
}

bool mr_session_is_asking(const struct mr_session *s)
{
	if (s->state != MR_SESSION_OPEN || s->secret_token) return true;
	mr_msec now = s->options->clock ? (mr_msec)(*s->options->clock / 1000) : 0;
	bool has_published = s->published_at && now - s->published_at < REPLY_TIME;
	for (size_t i = 0; i < s->channel_slots; i++) {
		const struct mr_amqp_channel *ch = s->channels[i];
		if (!ch) continue;
		if (mr_amqp_channel_is_asking(ch) || (ch->hears_replies && has_published))
			return true;
	}
	return false;
}

bool mr_session_let_go(struct mr_session *s)
{
	struct mr_node *next;
	for (struct mr_node *at = s->outlet.holding.next; at != &s->outlet.holding; at = next) {
		next = at->next;
		if (mr_curb_let_go(mr_container(at, struct mr_amqp_channel, holding)) == MR_OK)
			continue;
		mr_session_fail_memory(s);
		return false;
	}
	return !mr_list_is_empty(&s->outlet.holding);
}

void mr_session_deaf(struct mr_session *s, bool deaf, mr_msec now)
{
	mr_heartbeat_deaf(&s->heartbeat, deaf, now);
}

enum mr_session_state mr_session_state(const struct mr_session *s) { return s->state; }

const mr_error *mr_session_error(const struct mr_session *s) { return mr_error_kept(s->error); }

mr_table *mr_session_take_properties(struct mr_session *s)
{
	mr_table *properties = s->handshake.server_properties;
	s->handshake.server_properties = NULL;
	return properties;
}

const struct mr_handshake *mr_session_handshake(const struct mr_session *s)
{
	return &s->handshake;
}
