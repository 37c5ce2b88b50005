/* peer_methods: see peer_methods.h. One thread; does no I/O. */
// SPDX-License-Identifier: MIT
#include "peer_methods.h"

#include <string.h>

/* The methods that need nothing but an answer: how many short strings stand before the no-wait bit
 * (after a 16-bit ticket, if any), and what the answer holds. */
struct simple {
	uint32_t method, answer;
	bool has_ticket;
	uint8_t texts;
	int8_t no_wait; /* bit, or -1 for none */
	enum { NOTHING, COUNT, NAME_AND_COUNTS, FIRST_TEXT, LONG_TEXT } holds;
};

static const struct simple simple_methods[] = {
	{METHOD(40, 10), METHOD(40, 11), true, 2, 4, NOTHING},         /* exchange.declare */
	{METHOD(40, 20), METHOD(40, 21), true, 1, 1, NOTHING},         /* exchange.delete */
	{METHOD(40, 30), METHOD(40, 31), true, 3, 0, NOTHING},         /* exchange.bind */
	{METHOD(40, 40), METHOD(40, 51), true, 3, 0, NOTHING},         /* exchange.unbind */
	{METHOD(50, 10), METHOD(50, 11), true, 1, 4, NAME_AND_COUNTS}, /* queue.declare */
	{METHOD(50, 20), METHOD(50, 21), true, 3, 0, NOTHING},         /* queue.bind */
	{METHOD(50, 30), METHOD(50, 31), true, 1, 0, COUNT},           /* queue.purge */
	{METHOD(50, 40), METHOD(50, 41), true, 1, 2, COUNT},           /* queue.delete */
	{METHOD(50, 50), METHOD(50, 51), true, 3, -1, NOTHING},        /* queue.unbind */
	{METHOD(60, 70), METHOD(60, 72), true, 1, -1, FIRST_TEXT},     /* basic.get: always empty */
	{METHOD(60, 110), METHOD(60, 111), false, 0, -1, NOTHING},     /* basic.recover */
	{METHOD(90, 10), METHOD(90, 11), false, 0, -1, NOTHING},       /* tx.select */
	{METHOD(90, 20), METHOD(90, 21), false, 0, -1, NOTHING},       /* tx.commit */
	{METHOD(90, 30), METHOD(90, 31), false, 0, -1, NOTHING},       /* tx.rollback */
};

static void answer(struct session *s, const struct channel *ch, const struct simple *m,
	struct wire_text name)
{
	static const char server_name[] = "amq.gen-bench";
	struct wire_out *out = &s->control;

	wire_begin_method(out, ch->number, m->answer);
	if (m->holds == NAME_AND_COUNTS) {
		if (name.length)
			wire_put_text(out, name);
		else
			wire_put_name(out, server_name);
		wire_put32(out, 0);
		wire_put32(out, 0);
	} else if (m->holds == COUNT) {
		wire_put32(out, 0);
	} else if (m->holds == FIRST_TEXT) {
		wire_put_name(out, "");
	}
	wire_end(out);
}

static bool simple_method(struct session *s, const struct channel *ch, uint32_t method,
	struct wire_in *in)
{
	for (size_t i = 0; i < sizeof simple_methods / sizeof *simple_methods; i++) {
		const struct simple *m = &simple_methods[i];
		if (m->method != method) continue;
		struct wire_text name = {0};
		if (m->has_ticket) wire_get16(in);
		for (unsigned t = 0; t < m->texts; t++) {
			const struct wire_text text = wire_get_text(in);
			if (t == 0) name = text;
		}
		const bool no_wait = m->no_wait >= 0 && (wire_get8(in) >> m->no_wait & 1);
		if (!no_wait) answer(s, ch, m, name);
		return true;
	}
	return false;
}

static void open_channel(struct session *s, struct channel *ch, uint16_t number)
{
	if (ch) {
		session_fail(s, "opens a channel twice");
	} else if (!session_add_channel(s, number)) {
		session_fail(s, "could not be served: out of memory");
	} else {
		wire_begin_method(&s->control, number, METHOD(20, 11));
		wire_put_long_text(&s->control, "");
		wire_end(&s->control);
	}
}

/* mr.consumer also watches the exit of its retries, which has no messages while none fails. */
static bool is_empty(struct wire_text queue)
{
	static const char end[] = ".retry-exit";
	const size_t size = sizeof end - 1;
	return queue.length >= size && memcmp(queue.data + queue.length - size, end, size) == 0;
}

static void consume(struct session *s, struct channel *ch, struct wire_in *in)
{
	wire_get16(in);
	const struct wire_text queue = wire_get_text(in);
	struct wire_text tag = wire_get_text(in);
	const uint8_t flags = wire_get8(in);

	if (ch->is_consuming) {
		session_fail(s, "starts a second consumer on a channel: the load peer serves one");
		return;
	}
	if (tag.length == 0) tag = (struct wire_text){(const uint8_t *)"bench", 5};
	ch->no_ack = flags >> 1 & 1;
	session_drop_blast(s, ch);
	if (!channel_consume(ch, s->options, tag, s->frame_max)) {
		session_fail(s, "could not be served: out of memory");
		return;
	}
	if (is_empty(queue)) ch->last = ch->delivered;
	if (flags >> 3 & 1) return; /* no-wait */
	wire_begin_method(&s->control, ch->number, METHOD(60, 21));
	wire_put_text(&s->control, tag);
	wire_end(&s->control);
}

static void cancel(struct session *s, struct channel *ch, struct wire_in *in)
{
	const struct wire_text tag = wire_get_text(in);
	const bool no_wait = wire_get8(in) & 1;

	ch->is_consuming = false;
	if (no_wait) return;
	wire_begin_method(&s->control, ch->number, METHOD(60, 31));
	wire_put_text(&s->control, tag);
	wire_end(&s->control);
}

static void settle(struct session *s, struct channel *ch, uint32_t method, struct wire_in *in)
{
	const uint64_t tag = wire_get64(in);
	const uint8_t flags = wire_get8(in);
	const bool is_multiple =
		method != METHOD(60, 90) && (flags & 1); /* reject has no such bit */
	const uint64_t before = ch->settle.open_count;
	const char *fault = in->is_bad    ? "sends a short ack"
	                    : is_multiple ? settle_up_to(&ch->settle, tag)
	                                  : settle_one(&ch->settle, tag);
	if (fault)
		session_fail(s, fault);
	else if (method == METHOD(60, 80))
		s->counts->acked += before - ch->settle.open_count;
	else
		s->counts->nacked += before - ch->settle.open_count;
}

static void reply(struct session *s, const struct channel *ch, uint32_t method)
{
	wire_begin_method(&s->control, ch->number, method);
	wire_end(&s->control);
}

static void rare_method(struct session *s, struct channel *ch, uint32_t method, struct wire_in *in)
{
	switch (method) {
	case METHOD(20, 40): /* channel.close */
		reply(s, ch, METHOD(20, 41));
		session_drop_channel(s, ch);
		break;
	case METHOD(60, 10): /* basic.qos */
		wire_get32(in);
		ch->prefetch = wire_get16(in);
		reply(s, ch, METHOD(60, 11));
		break;
	case METHOD(60, 20): consume(s, ch, in); break;
	case METHOD(60, 30): cancel(s, ch, in); break;
	case METHOD(85, 10): /* confirm.select */
		ch->confirms = true;
		if (!(wire_get8(in) & 1)) reply(s, ch, METHOD(85, 11));
		break;
	default:
		if (!simple_method(s, ch, method, in))
			session_fail(s, "sends a method unknown here");
	}
}

void session_method(struct session *s, struct channel *ch, uint16_t number, uint32_t method,
	struct wire_in *in)
{
	if (method == METHOD(20, 10)) {
		open_channel(s, ch, number);
	} else if (!ch) {
		session_fail(s, "uses a channel that is not open");
	} else if (ch->step != PUBLISH_NONE) {
		session_fail(s, "sends a method inside the content of a publish");
	} else if (method == METHOD(60, 40)) {
		ch->step = PUBLISH_HEADER;
	} else if (method == METHOD(60, 80) || method == METHOD(60, 90) ||
		   method == METHOD(60, 120)) {
		settle(s, ch, method, in);
	} else {
		rare_method(s, ch, method, in);
		if (in->is_bad) session_fail(s, "sends a method that is too short");
	}
}
