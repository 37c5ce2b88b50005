/* session: one client's connection to the broker, without its socket.
 * SPDX-License-Identifier: MIT */
#include "broker/client/session.h"

#include <stdio.h>

#include "base/alloc.h"
#include "broker/client/await.h"
#include "broker/client/channel_frame.h"
#include "broker/client/confirm.h"
#include "broker/client/chore.h"
#include "broker/client/consumer.h"
#include "broker/client/login.h"
#include "broker/client/publish.h"
#include "broker/client/quit.h"
#include "broker/store/dead_letter.h"
#include "broker/store/reply_error.h"
#include "codec/client_method.h"
#include "codec/frame.h"

#define FRAME_MAX 131072 /* RabbitMQ's default */

static void on_answer(struct mr_broker_channel *ch, struct mr_await *a);

struct mr_broker_session *mr_broker_session_open(struct mr_broker *b,
	const struct mr_broker_session_options *options)
{
	struct mr_broker_session *s = mr_calloc(1, sizeof *s);
	if (!s) return NULL;
	s->broker = b;
	mr_list_init(&s->queues);
	mr_list_init(&s->ruins);
	s->touch = options->touch;
	s->on_answer = on_answer;
	s->owner = options->owner;
	/* Until the tune the smallest frame_max applies, with the eight more bytes that RabbitMQ
	 * allows. */
	s->guard = (struct mr_guard){.frame_max = MR_FRAME_MIN_MAX + MR_FRAME_OVERHEAD,
		.channel_max = UINT16_MAX};
	s->frame_max = FRAME_MAX;
	s->sent = s->heard = b->store.now;
	s->give_up = b->store.now + MR_SESSION_PATIENCE;
	mr_list_append(&b->sessions, &s->node);
	b->session_count++;
	s->number = ++b->session_last;
	mr_broker_session_weigh(s, 0);
	return s;
}

void mr_broker_session_weigh(struct mr_broker_session *s, size_t kept)
{
	size_t now = sizeof *s + s->out.capacity + kept;
	mr_store_razed(&s->broker->store, s->weight);
	mr_store_built(&s->broker->store, now);
	s->weight = now;
}

static void flush_channels(struct mr_broker_session *s)
{
	struct mr_broker_channel *ch;
	size_t at = 0;
	while ((ch = mr_map_next(&s->channels, &at, NULL))) {
		mr_confirm_flush(ch);
		if (ch->is_ghost) mr_quit_free(ch);
	}
}

/* Ends the channels that the client left open. */
static void quit_channels(struct mr_broker_session *s)
{
	struct mr_broker_channel *ch;
	size_t at = 0;
	while ((ch = mr_map_next(&s->channels, &at, NULL))) {
		mr_confirm_flush(ch);
		mr_quit_begin(ch, 0);
	}
}

static void nobody(void *owner) { (void)owner; }

static void free_session(struct mr_broker_session *s)
{
	struct mr_broker_channel *ch;
	size_t at = 0;
	while ((ch = mr_map_next(&s->channels, &at, NULL))) mr_quit_free(ch);
	mr_map_fini(&s->channels);
	mr_list_remove(&s->node);
	s->broker->session_count--;
	mr_store_razed(&s->broker->store, s->weight);
	mr_buffer_fini(&s->out);
	mr_table_free(s->client_properties);
	mr_free(s->user);
	mr_free(s);
}

void mr_broker_session_close(struct mr_broker_session *s)
{
	if (!s) return;
	s->state = MR_BS_ENDED;
	s->touch = nobody;
	quit_channels(s);
	mr_chore_drop_queues(s);
	s->is_gone = true;
	if (!s->chores) free_session(s);
}

/* ---- saying ---- */

/* A reply text is a short string: RabbitMQ cuts a longer one, with three dots at the end. */
static mr_slice fit(const char *text, char room[MR_REPLY_TEXT_MAX])
{
	mr_slice all = mr_slice_str(text);
	if (all.size <= MR_REPLY_TEXT_MAX) return all;
	memcpy(room, text, MR_REPLY_TEXT_MAX - 3);
	memcpy(room + MR_REPLY_TEXT_MAX - 3, "...", 3);
	return mr_slice_of(room, MR_REPLY_TEXT_MAX);
}

void mr_broker_session_shut(struct mr_broker_session *s, int code, const char *text,
	uint32_t failing)
{
	char room[MR_REPLY_TEXT_MAX];
	struct mr_method m = {.id = MR_M_CONNECTION_CLOSE,
		.code = (uint16_t)code,
		.failing = failing,
		.text = fit(text, room)};
	if (s->state >= MR_BS_CLOSING) return;
	if (s->state == MR_BS_HELLO) {
		mr_broker_session_end(s);
		return;
	}
	quit_channels(s);
	mr_chore_drop_queues(s);
	mr_broker_session_put(s, 0, &m);
	mr_broker_session_enter(s, MR_BS_CLOSING);
}

/* Reports the error of a frame. The code decides whether it closes the channel or the
 * connection. */
static void refuse(struct mr_broker_session *s, struct mr_broker_channel *ch, uint32_t failing,
	const mr_error *error)
{
	char room[MR_REPLY_TEXT_MAX];
	struct mr_method m = {.id = MR_M_CHANNEL_CLOSE,
		.code = (uint16_t)error->code,
		.failing = failing,
		.text = fit(error->text, room)};
	if (!ch || !error->code || mr_reply_error_ends_connection(error->code)) {
		mr_broker_session_shut(s, error->code ? error->code : 541, error->text, failing);
		return;
	}
	mr_confirm_flush(ch);
	mr_broker_channel_put(ch, &m);
	mr_quit_begin(ch, 0);
}

/* As in RabbitMQ, a blocked publisher is not read: so TCP slows down any client. Neither is a
 * client that sends requests without reading the answers. */
bool mr_broker_session_reads(const struct mr_broker_session *s)
{
	if (s->chores && s->state == MR_BS_OPEN) return false;
	bool has_room = s->state != MR_BS_OPEN || mr_buffer_size(&s->out) < MR_SESSION_FULL;
	return s->state != MR_BS_ENDED && !s->is_blocked && has_room;
}

/* ---- methods of channel 0 ---- */

static void say_farewell(struct mr_broker_session *s)
{
	struct mr_method ok = {.id = MR_M_CONNECTION_CLOSE_OK};
	mr_broker_session_put(s, 0, &ok);
	mr_broker_session_end(s);
}

void mr_broker_session_chore_done(struct mr_broker_session *s)
{
	s->chores--;
	if (!s->is_gone) flush_channels(s);
	if (!s->chores && s->is_gone) {
		free_session(s);
		return;
	}
	if (!s->chores && s->is_closing) say_farewell(s);
	s->touch(s->owner);
}

static void say(struct mr_broker_channel *ch, struct mr_await *a)
{
	if (a->promise.status == MR_OK && a->heard)
		a->heard(ch, a);
	else if (a->promise.status == MR_OK && a->answer.id)
		mr_broker_channel_put(ch, &a->answer);
	if (a->promise.status != MR_OK) refuse(ch->session, ch, a->failing, &a->promise.error);
}

static void on_answer(struct mr_broker_channel *ch, struct mr_await *a)
{
	if (!ch->closing && !a->promise.is_lost) say(ch, a);
	mr_broker_session_chore_done(ch->session);
}

static enum mr_status open_method(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_CONNECTION_CLOSE:
		quit_channels(s);
		mr_chore_drop_queues(s);
		s->is_closing = true;
		if (!s->chores) say_farewell(s);
		return MR_OK;
	case MR_M_CONNECTION_UPDATE_SECRET: {
		/* rabbitmq-c 0.11 does not know it: an answer without fields, by hand. */
		static const uint8_t answer[] = {1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 71, MR_FRAME_END};
		if (mr_buffer_append(&s->out, answer, sizeof answer) != MR_OK)
			mr_broker_session_end(s);
		s->touch(s->owner);
		return MR_OK;
	}
	default: return mr_reply_error(error, 504, "unexpected method in connection state running");
	}
}

static enum mr_status unexpected(const struct mr_frame *frame, mr_error *error)
{
	char octets[MR_OCTETS_MAX];
	mr_reply_error_octets(octets, frame->payload, frame->size);
	return mr_reply_error(error, 505, "type %u, %s", frame->type, octets);
}

static enum mr_status login_method(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error)
{
	enum mr_status st = mr_login_method(s, m, error);
	if (st == MR_OK && m->id == MR_M_CONNECTION_START_OK)
		mr_broker_session_enter(s, MR_BS_TUNING);
	if (st == MR_OK && m->id == MR_M_CONNECTION_TUNE_OK)
		mr_broker_session_enter(s, MR_BS_OPENING);
	if (st == MR_OK && m->id == MR_M_CONNECTION_OPEN) mr_broker_session_enter(s, MR_BS_OPEN);
	return st;
}

/* After our close: its answer, or a close from the client at the same time. */
static void closing_method(struct mr_broker_session *s, uint32_t id)
{
	struct mr_method ok = {.id = MR_M_CONNECTION_CLOSE_OK};
	if (id == MR_M_CONNECTION_CLOSE_OK) mr_broker_session_end(s);
	if (id == MR_M_CONNECTION_CLOSE) mr_broker_session_put(s, 0, &ok);
}

static enum mr_status zero_frame(struct mr_broker_session *s, const struct mr_frame *frame,
	uint32_t *method, mr_error *error)
{
	struct mr_client_method m;
	if (frame->type == MR_FRAME_HEARTBEAT) return MR_OK;
	if (frame->type != MR_FRAME_METHOD) return unexpected(frame, error);
	enum mr_status st = mr_client_method_decode(frame, &m, error);
	*method = mr_get32(frame->payload);
	if (s->state == MR_BS_CLOSING) {
		if (st == MR_OK) closing_method(s, m.id);
		return MR_OK;
	}
	if (st != MR_OK) return st;
	if (s->state == MR_BS_OPEN || m.id == MR_M_CONNECTION_CLOSE)
		return open_method(s, &m, error);
	return login_method(s, &m, error);
}

/* ---- frames ---- */

static enum mr_status open_channel(struct mr_broker_session *s, const struct mr_frame *frame,
	uint32_t *method, mr_error *error)
{
	if (frame->type != MR_FRAME_METHOD)
		return mr_reply_error(error, 505,
			"expected method frame, got non method frame instead");
	*method = mr_get32(frame->payload);
	if (*method != MR_M_CHANNEL_OPEN)
		return mr_reply_error(error, 504, "expected 'channel.open'");
	*method = 0;
	if (s->channels.count >= s->channel_max)
		return mr_reply_error(error, 530,
			"number of channels opened (%u) has reached the negotiated channel_max (%u)",
			s->channel_max, s->channel_max);
	struct mr_broker_channel *ch = mr_broker_channel_open(s, frame->channel);
	if (!ch) return mr_reply_error(error, 506, "out of memory");
	mr_broker_channel_put_simple(ch, MR_M_CHANNEL_OPEN_OK);
	return MR_OK;
}

static void take_frame(struct mr_broker_session *s, const struct mr_frame *frame)
{
	mr_error error = {0};
	enum mr_status st;
	uint32_t method = 0;
	struct mr_broker_channel *ch = NULL;
	if (!frame->channel) {
		st = zero_frame(s, frame, &method, &error);
	} else if (s->state == MR_BS_CLOSING) {
		return; /* everything except close-ok is too late */
	} else if (s->state != MR_BS_OPEN) {
		mr_broker_session_end(s); /* out of order: RabbitMQ hangs up */
		return;
	} else if (frame->type == MR_FRAME_HEARTBEAT) {
		st = unexpected(frame, &error);
	} else {
		ch = mr_map_get(&s->channels, frame->channel);
		st = ch ? mr_channel_frame(ch, frame, &method, &error)
		        : open_channel(s, frame, &method, &error);
	}
	if (st == MR_NO_MEMORY && !error.code) mr_reply_error(&error, 506, "out of memory");
	/* RabbitMQ names no method before the login, nor for errors that it does not expect. */
	bool is_nameless = s->state < MR_BS_OPENING || st == MR_BAD_ARGUMENT || error.code == 541;
	if (st != MR_OK) refuse(s, ch, is_nameless ? 0 : method, &error);
}

/* The first eight bytes. Other bytes are answered with the supported header. */
static size_t take_hello(struct mr_broker_session *s, const uint8_t *data, size_t size,
	size_t *want)
{
	static const uint8_t hello[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
	size_t known = size < sizeof hello ? size : sizeof hello;
	if (memcmp(data, hello, known) == 0) {
		*want = sizeof hello;
		if (known < sizeof hello) return 0;
		mr_login_start(s);
		mr_broker_session_enter(s, MR_BS_STARTED);
		return sizeof hello;
	}
	if (mr_buffer_append(&s->out, hello, sizeof hello) != MR_OK) mr_buffer_fini(&s->out);
	mr_broker_session_end(s);
	return size;
}

/* True if it is large enough for the fields that are read without a check. */
static bool is_sound(const struct mr_frame *frame)
{
	if (frame->type == MR_FRAME_METHOD) return frame->size >= 4;
	return frame->type != MR_FRAME_HEADER || frame->size >= 12;
}

/* RabbitMQ's text for a frame that mr_frame_next refused (rabbit_reader:frame_error). */
static void explain_bad_frame(const struct mr_broker_session *s, const uint8_t *data, size_t left,
	mr_error *error)
{
	char octets[MR_OCTETS_MAX], reason[80] = "unknown_frame";
	uint32_t size = mr_get32(data + 3), frame_max = s->guard.frame_max - MR_FRAME_OVERHEAD;
	bool is_whole = size <= frame_max && left >= (size_t)size + MR_FRAME_OVERHEAD;
	mr_reply_error_octets(octets, data + MR_FRAME_HEAD, is_whole ? size : 0);
	if (data[0] == MR_FRAME_HEARTBEAT && !size) { /* well-formed, but not on channel 0 */
		mr_reply_error(error, 505, "type %u, %s", data[0], octets);
		return;
	}
	if (size > frame_max)
		snprintf(reason, sizeof reason, "{frame_too_large,%u,%u}", size,
			frame_max - MR_FRAME_OVERHEAD);
	else if (is_whole && data[MR_FRAME_HEAD + size] != MR_FRAME_END)
		snprintf(reason, sizeof reason, "{invalid_frame_end_marker,%u}",
			data[MR_FRAME_HEAD + size]);
	mr_reply_error(error, 501, "type %u, %s: %s", data[0], octets, reason);
}

size_t mr_broker_session_feed(struct mr_broker_session *s, const uint8_t *data, size_t size,
	size_t *want)
{
	size_t used = 0;
	s->heard = s->broker->store.now;
	if (s->state == MR_BS_HELLO && size) used = take_hello(s, data, size, want);
	while (s->state > MR_BS_HELLO && mr_broker_session_reads(s) && used < size &&
		!mr_store_is_spent(&s->broker->store)) {
		struct mr_frame frame;
		mr_error error = {0};
		size_t n = 0;
		enum mr_status st = mr_frame_next(&s->guard, data + used, size - used, &frame, &n,
			want, &error);
		if (st != MR_OK ||
			(n && !is_sound(&frame))) { /* reading cannot continue after it */
			explain_bad_frame(s, data + used, size - used, &error);
			if (s->state < MR_BS_OPENING && error.code == 501)
				mr_broker_session_end(s); /* RabbitMQ hangs up */
			else
				refuse(s, NULL, 0, &error);
			used = size;
			break;
		}
		if (!n) break;
		take_frame(s, &frame);
		mr_dead_letter_bury(&s->broker->store); /* messages that expired or overflowed */
		s->broker->store.work++;
		used += n;
	}
	flush_channels(s);
	mr_store_watch(&s->broker->store);
	return s->state == MR_BS_ENDED ? size : used;
}

/* ---- time ---- */

void mr_broker_session_wrote(struct mr_broker_session *s)
{
	struct mr_broker_channel *ch;
	size_t at = 0;
	s->sent = s->broker->store.now;
	/* A client that reads this much is alive, even if its own bytes are not read meanwhile. */
	if (mr_buffer_size(&s->out) > MR_SESSION_HIGH) s->heard = s->broker->store.now;
	if (!s->congested || mr_buffer_size(&s->out) > MR_SESSION_HIGH / 2) return;
	s->congested = false;
	while ((ch = mr_map_next(&s->channels, &at, NULL))) mr_consumer_serve(ch);
}

/* RabbitMQ sends after half the interval and gives up after two. */
mr_msec mr_broker_session_deadline(const struct mr_broker_session *s)
{
	if (s->state == MR_BS_ENDED) return MR_NEVER;
	if (!s->heartbeat || s->state != MR_BS_OPEN) return s->give_up;
	mr_msec at = mr_earlier(s->give_up, s->sent + s->heartbeat / 2);
	return s->is_blocked ? at : mr_earlier(at, s->heard + 2 * s->heartbeat);
}

void mr_broker_session_tick(struct mr_broker_session *s)
{
	mr_msec now = s->broker->store.now;
	if (s->state == MR_BS_ENDED) return;
	bool is_silent = s->state == MR_BS_OPEN && s->heartbeat && !s->is_blocked &&
	                 now >= s->heard + 2 * s->heartbeat;
	if (now >= s->give_up || is_silent) {
		mr_buffer_fini(&s->out); /* the client does not read it */
		mr_broker_session_end(s);
		return;
	}
	if (s->state != MR_BS_OPEN || !s->heartbeat || now < s->sent + s->heartbeat / 2) return;
	if (!mr_buffer_size(&s->out) && mr_frame_put_heartbeat(&s->out) != MR_OK) return;
	s->sent = now;
	s->touch(s->owner);
}
