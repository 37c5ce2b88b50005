/* peer_session: the connection's handshake, the frames of publishes, what goes out next. Methods
 * of an open channel are in peer_methods.c. One thread; does no I/O. */
// SPDX-License-Identifier: MIT
#include "peer_methods.h"

#include <stdlib.h>

enum { FRAME_MAX = 131072, CHANNEL_MAX = 2047, HEARTBEAT_SECONDS = 60 };

static const uint8_t protocol_header[8] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

void session_init(struct session *s, const struct peer_options *options, struct peer_counts *counts)
{
	*s = (struct session){.options = options, .counts = counts, .frame_max = FRAME_MAX};
}

void session_fini(struct session *s)
{
	for (unsigned i = 0; i < s->channel_count; i++)
		if (s->channels[i]) session_drop_channel(s, s->channels[i]);
	if (s->is_orphan) blast_free(s->blasting);
	free(s->channels);
	wire_fini(&s->control);
}

void session_fail(struct session *s, const char *fault)
{
	if (s->fault) return;
	s->fault = fault;
	s->state = SESSION_CLOSED;
	s->counts->violations++;
}

void session_drop_blast(struct session *s, struct channel *ch)
{
	if (ch->blast && ch->blast == s->blasting)
		s->is_orphan = true;
	else
		blast_free(ch->blast);
	ch->blast = NULL;
}

void session_drop_channel(struct session *s, struct channel *ch)
{
	s->counts->unsettled += ch->settle.open_count;
	s->channels[ch->number] = NULL;
	session_drop_blast(s, ch);
	channel_close(ch);
}

struct channel *session_channel(const struct session *s, uint16_t number)
{
	return number < s->channel_count ? s->channels[number] : NULL;
}

struct channel *session_add_channel(struct session *s, uint16_t number)
{
	if (number >= s->channel_count) {
		const unsigned count = number + 1u;
		struct channel **channels = realloc(s->channels, count * sizeof *channels);
		if (!channels) return NULL;
		for (unsigned i = s->channel_count; i < count; i++) channels[i] = NULL;
		s->channels = channels;
		s->channel_count = count;
	}
	return s->channels[number] = channel_open(number);
}

static void put_server_properties(struct wire_out *out)
{
	static const char *const capabilities[] = {
		"publisher_confirms",
		"exchange_exchange_bindings",
		"basic.nack",
		"consumer_cancel_notify",
		"per_consumer_qos",
		"authentication_failure_close",
	};
	struct wire_out table = {0};

	for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
		wire_put_name(&table, capabilities[i]);
		wire_put8(&table, 't');
		wire_put8(&table, 1);
	}
	struct wire_out all = {0};
	wire_put_name(&all, "product");
	wire_put8(&all, 'S');
	wire_put_long_text(&all, "Moonrabbit load peer");
	wire_put_name(&all, "capabilities");
	wire_put8(&all, 'F');
	wire_put32(&all, (uint32_t)table.length);
	wire_put_bytes(&all, table.data, table.length);
	wire_put32(out, (uint32_t)all.length);
	wire_put_bytes(out, all.data, all.length);
	wire_fini(&table);
	wire_fini(&all);
}

static size_t greet(struct session *s, const uint8_t *data, size_t length)
{
	if (length < sizeof protocol_header) return 0;
	if (memcmp(data, protocol_header, sizeof protocol_header) != 0) {
		session_fail(s, "does not speak AMQP 0-9-1");
		return 0;
	}
	wire_begin_method(&s->control, 0, METHOD(10, 10));
	wire_put8(&s->control, 0);
	wire_put8(&s->control, 9);
	put_server_properties(&s->control);
	wire_put_long_text(&s->control, "PLAIN");
	wire_put_long_text(&s->control, "en_US");
	wire_end(&s->control);
	s->state = SESSION_LOGIN;
	return sizeof protocol_header;
}

static void tune(struct session *s)
{
	wire_begin_method(&s->control, 0, METHOD(10, 30));
	wire_put16(&s->control, CHANNEL_MAX);
	wire_put32(&s->control, FRAME_MAX);
	wire_put16(&s->control, HEARTBEAT_SECONDS);
	wire_end(&s->control);
	s->state = SESSION_TUNING;
}

static void accept_tune(struct session *s, struct wire_in *in)
{
	wire_get16(in);
	const uint32_t frame_max = wire_get32(in);
	if (in->is_bad || (frame_max != 0 && frame_max < 4096)) {
		session_fail(s, "sends a bad tune-ok");
		return;
	}
	if (frame_max != 0 && frame_max < s->frame_max) s->frame_max = frame_max;
	s->state = SESSION_OPENING;
}

static void connection_method(struct session *s, uint32_t method, struct wire_in *in)
{
	if (method == METHOD(10, 11) && s->state == SESSION_LOGIN) {
		tune(s);
	} else if (method == METHOD(10, 31) && s->state == SESSION_TUNING) {
		accept_tune(s, in);
	} else if (method == METHOD(10, 40) && s->state == SESSION_OPENING) {
		wire_begin_method(&s->control, 0, METHOD(10, 41));
		wire_put_name(&s->control, "");
		wire_end(&s->control);
		s->state = SESSION_OPEN;
	} else if (method == METHOD(10, 50)) {
		wire_begin_method(&s->control, 0, METHOD(10, 51));
		wire_end(&s->control);
		s->state = SESSION_CLOSED;
	} else {
		session_fail(s, "sends an unexpected connection method");
	}
}

static void content_done(struct session *s, struct channel *ch)
{
	ch->step = PUBLISH_NONE;
	s->counts->published++;
	if (ch->confirms) ch->publish_seq++;
}

static void header_frame(struct session *s, struct channel *ch, struct wire_in *in)
{
	const uint16_t class_id = wire_get16(in);
	wire_get16(in); /* weight */
	ch->body_left = wire_get64(in);
	if (ch->step != PUBLISH_HEADER || class_id != 60 || in->is_bad) {
		session_fail(s, "sends an unexpected content header");
		return;
	}
	s->counts->published_bytes += ch->body_left;
	ch->step = PUBLISH_BODY;
	if (ch->body_left == 0) content_done(s, ch);
}

static void body_frame(struct session *s, struct channel *ch, size_t size)
{
	if (ch->step != PUBLISH_BODY || size > ch->body_left) {
		session_fail(s, "sends an unexpected or too long body frame");
		return;
	}
	ch->body_left -= size;
	if (ch->body_left == 0) content_done(s, ch);
}

static void frame(struct session *s, const uint8_t *head, uint32_t size)
{
	struct wire_in in = {.at = head + FRAME_HEAD, .end = head + FRAME_HEAD + size};
	const uint16_t number = wire_load16(head + 1);
	struct channel *ch = session_channel(s, number);

	if (head[0] == FRAME_HEARTBEAT && number == 0) {
		wire_begin(&s->control, FRAME_HEARTBEAT, 0);
		wire_end(&s->control);
	} else if (head[0] == FRAME_METHOD) {
		const uint32_t method = wire_get32(&in);
		if (number == 0)
			connection_method(s, method, &in);
		else if (s->state == SESSION_OPEN)
			session_method(s, ch, number, method, &in);
		else
			session_fail(s, "uses a channel before the connection is open");
	} else if (head[0] == FRAME_HEADER && ch) {
		header_frame(s, ch, &in);
	} else if (head[0] == FRAME_BODY && ch) {
		body_frame(s, ch, size);
	} else {
		session_fail(s, "sends a frame of unknown type or on a closed channel");
	}
}

static void confirm(struct session *s)
{
	for (unsigned i = 1; i < s->channel_count; i++) {
		struct channel *ch = s->channels[i];
		if (!ch || ch->publish_seq == ch->confirmed_seq) continue;
		wire_begin_method(&s->control, ch->number, METHOD(60, 80));
		wire_put64(&s->control, ch->publish_seq);
		wire_put8(&s->control, ch->publish_seq - ch->confirmed_seq > 1); /* multiple */
		wire_end(&s->control);
		s->counts->confirmed += ch->publish_seq - ch->confirmed_seq;
		ch->confirmed_seq = ch->publish_seq;
	}
}

size_t session_input(struct session *s, const uint8_t *data, size_t length)
{
	size_t at = s->state == SESSION_GREETING ? greet(s, data, length) : 0;

	while (s->state != SESSION_CLOSED && s->state != SESSION_GREETING &&
		length - at >= FRAME_OVERHEAD) {
		const uint32_t size = wire_load32(data + at + 3);
		if (size > s->frame_max - FRAME_OVERHEAD) {
			session_fail(s, "sends a frame that is too large");
			break;
		}
		if (length - at < size + FRAME_OVERHEAD) break;
		if (data[at + FRAME_HEAD + size] != FRAME_END) {
			session_fail(s, "sends a frame without its end octet");
			break;
		}
		frame(s, data + at, size);
		at += size + FRAME_OVERHEAD;
	}
	if (s->state != SESSION_CLOSED) confirm(s);
	if (s->control.is_bad) session_fail(s, "could not be answered: out of memory");
	return at;
}

/* A channel that may deliver now, round robin. */
static struct channel *pick(struct session *s, bool is_patient)
{
	for (unsigned n = 0; n < s->channel_count; n++) {
		const unsigned i = (s->next_blaster + n) % s->channel_count;
		struct channel *ch = s->channels[i];
		if (!ch || !ch->is_consuming) continue;
		const uint64_t room = channel_room(ch);
		if (room == 0) continue;
		const bool is_end = ch->delivered + room == ch->last;
		if (is_patient && !is_end && ch->prefetch && !ch->no_ack &&
			room * 100 < (uint64_t)ch->prefetch * s->options->refill) {
			s->is_held = true;
			continue;
		}
		s->next_blaster = i + 1;
		return ch;
	}
	return NULL;
}

size_t session_output(struct session *s, const uint8_t **data, bool is_patient)
{
	s->is_held = false;
	if (!s->blasting && s->control_sent < s->control.length) {
		*data = s->control.data + s->control_sent;
		return s->control.length - s->control_sent;
	}
	if (!s->blasting) {
		struct channel *ch = s->state == SESSION_OPEN ? pick(s, is_patient) : NULL;
		if (!ch) return 0;
		s->counts->delivered += channel_blast(ch, channel_room(ch));
		s->blasting = ch->blast;
	}
	*data = s->blasting->block + s->blasting->sent;
	return s->blasting->length - s->blasting->sent;
}

void session_wrote(struct session *s, size_t count)
{
	struct blast *b = s->blasting;
	if (b) {
		b->sent += count;
		if (b->sent < b->length) return;
		if (s->is_orphan) blast_free(b);
		s->blasting = NULL;
		s->is_orphan = false;
		return;
	}
	s->control_sent += count;
	if (s->control_sent == s->control.length) s->control_sent = s->control.length = 0;
}
