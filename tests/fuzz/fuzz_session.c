/* fuzz_session: an open session between a host that asks anything and a broker that says anything.
 * SPDX-License-Identifier: MIT
 * The first byte: 0x80 all the rest are bytes of the broker, else options, and behind it commands: a
 * byte (0xc0 channel 0 to 3, the rest what) and its arguments. Every request must end once, every
 * publish at most once, what we say must be whole frames, and in the end nothing may be left. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/session.h"
#include "base/alloc.h"
#include "base/value.h"
#include "codec/frame.h"

#define FRAME_MAX 4096
#define EPOCHS 64
#define TOKENS 512
#define PUBLISHES 256

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) abort();                                                         \
	} while (0)

enum { OPTION_RAW = 0x80, OPTION_BLOCKED = 1, OPTION_PIECES = 2, OPTION_NO_BEAT = 4 };

struct epoch { /* a channel as the host knows it */
	uint16_t number;
	bool confirming;
	uint64_t published;
	uint8_t ended[PUBLISHES + 1];
};

struct run {
	const uint8_t *data;
	size_t left;
	uint8_t options;
	struct mr_login login;
	struct mr_session_options session_options;
	mr_stats stats;
	struct mr_session *session;
	struct mr_buffer broker; /* its bytes that the session has not taken */
	mr_msec now;
	struct epoch epochs[EPOCHS];
	uint32_t epoch_count, current[4]; /* epoch of each channel number; 0: none was opened */
	uint8_t asked[TOKENS], ended[TOKENS];
	uint32_t tokens;
	uint64_t confirm_token; /* of the last confirm.select, whose epoch is: */
	uint32_t confirm_epoch;
	mr_delivery *held; /* one that the host keeps for a while */
};

static uint8_t next(struct run *r)
{
	if (!r->left) return 0;
	r->left--;
	return *r->data++;
}

/* ---- what the host is told ---- */

static void check_error(const mr_error *e)
{
	MUST(e->kind >= 0 && e->kind < mr_status_count());
	MUST(memchr(e->text, 0, sizeof e->text));
}

static void check_delivery(struct run *r, mr_delivery *d)
{
	volatile uint8_t sum = 0;
	MUST(d && d->connection == 1 && d->channel);
	for (uint64_t i = 0; i < d->body_size; i++) sum = (uint8_t)(sum + (uint8_t)d->body[i]);
	for (uint32_t i = 0; i < d->properties_size; i++)
		sum = (uint8_t)(sum + (uint8_t)d->properties[i]);
	for (uint8_t i = 0; i < d->exchange_size; i++) sum = (uint8_t)(sum + d->exchange[i]);
	for (uint8_t i = 0; i < d->routing_key_size; i++) sum = (uint8_t)(sum + d->routing_key[i]);
	for (uint8_t i = 0; i < d->consumer_tag_size; i++)
		sum = (uint8_t)(sum + d->consumer_tag[i]);
	mr_properties p;
	if (mr_delivery_properties(d, &p) == MR_OK) mr_table_free(p.headers);
	if (r->held) mr_delivery_give(r->session_options.pool, r->held);
	r->held = d;
}

static void check_done(struct run *r, const mr_event *ev)
{
	const mr_reply *reply = ev->as.done.reply;
	MUST(ev->as.done.token && ev->as.done.token <= r->tokens && r->asked[ev->as.done.token] &&
		!r->ended[ev->as.done.token]);
	r->ended[ev->as.done.token] = 1;
	if (ev->as.done.token == r->confirm_token && ev->status != MR_OK &&
		ev->status != MR_TIMEOUT)
		r->epochs[r->confirm_epoch].confirming = false;
	if (!reply) return;
	MUST(ev->status == reply->error.kind);
	MUST(reply->name_size <= 255 && reply->name[reply->name_size] == '\0');
	check_error(&reply->error);
	if (reply->delivery) check_delivery(r, reply->delivery);
}

static void check_confirm(struct run *r, const mr_event *ev)
{
	uint64_t first = ev->as.confirm.first, last = ev->as.confirm.last;
	MUST(ev->status == MR_OK || ev->status == MR_NACKED || ev->status == MR_RETURNED ||
		ev->status == MR_LOST || ev->status == MR_TIMEOUT);
	MUST(ev->epoch && ev->epoch < EPOCHS && first && first <= last);
	struct epoch *e = &r->epochs[ev->epoch];
	MUST(ev->channel == e->number && last <= e->published);
	for (uint64_t n = first; n <= last; n++) MUST(!e->ended[n]++);
}

static void on_event(void *owner, const mr_event *event)
{
	struct run *r = owner;
	mr_event ev = *event;
	MUST(ev.connection == 1);
	switch (ev.type) {
	case MR_EV_DONE: check_done(r, &ev); break;
	case MR_EV_CONFIRM: check_confirm(r, &ev); break;
	case MR_EV_DELIVERY: check_delivery(r, ev.as.delivery); break;
	case MR_EV_RETURN:
		MUST(ev.as.returned.number <= PUBLISHES);
		check_delivery(r, ev.as.returned.delivery);
		break;
	case MR_EV_CHANNEL:
		MUST(ev.channel && ev.epoch);
		if (ev.status == MR_OK)
			MUST(ev.as.channel.change == MR_CHANNEL_TAKEN_BACK);
		else
			check_error(ev.as.channel.error);
		break;
	case MR_EV_CANCEL: MUST(ev.channel && ev.as.cancel.consumer); break;
	case MR_EV_BLOCKED:
		if (ev.as.blocked.reason) check_error(ev.as.blocked.reason);
		break;
	default: abort(); /* a session tells nothing else */
	}
	mr_event_fini(&ev);
}

/* ---- the broker's side ---- */

static void feed(struct run *r)
{
	size_t piece = r->options & OPTION_PIECES ? 1 : SIZE_MAX / 2, shown = 0, want;
	while (mr_buffer_size(&r->broker)) {
		size_t all = mr_buffer_size(&r->broker);
		shown = all - shown < piece ? all : shown + piece;
		size_t used = mr_session_feed(r->session, mr_buffer_data(&r->broker), shown, r->now,
			&want);
		MUST(used <= shown);
		if (!used && shown == all) return;
		mr_buffer_consume(&r->broker, used);
		shown -= used;
	}
}

static void say(struct run *r, uint16_t channel, struct mr_method m)
{
	mr_method_put(&r->broker, channel, &m, FRAME_MAX, NULL);
}

static void shake_hands(struct run *r)
{
	struct mr_method start = {.id = MR_M_CONNECTION_START, .text = mr_slice_str("PLAIN")};
	mr_table *t = mr_table_new();
	start.table = t;
	start.other = mr_slice_str("en_US");
	say(r, 0, start);
	mr_table_free(t);
	say(r, 0,
		(struct mr_method){.id = MR_M_CONNECTION_TUNE,
			.channel_max = 3,
			.count = FRAME_MAX,
			.heartbeat = 10});
	say(r, 0, (struct mr_method){.id = MR_M_CONNECTION_OPEN_OK});
	feed(r);
	MUST(mr_session_state(r->session) == MR_SESSION_OPEN);
}

static mr_slice some_name(uint8_t n)
{
	static const char *const names[] = {"", "q", "tag", "tag2", "x", "key", "amq.ctag-1"};
	return mr_slice_str(names[n % 7]);
}

static void answer(struct run *r, uint16_t channel)
{
	static const uint32_t ids[] = {MR_M_CHANNEL_OPEN_OK, MR_M_CHANNEL_CLOSE_OK,
		MR_M_EXCHANGE_DECLARE_OK, MR_M_EXCHANGE_DELETE_OK, MR_M_EXCHANGE_BIND_OK,
		MR_M_EXCHANGE_UNBIND_OK, MR_M_QUEUE_DECLARE_OK, MR_M_QUEUE_BIND_OK,
		MR_M_QUEUE_UNBIND_OK, MR_M_QUEUE_PURGE_OK, MR_M_QUEUE_DELETE_OK, MR_M_BASIC_QOS_OK,
		MR_M_BASIC_CONSUME_OK, MR_M_BASIC_CANCEL_OK, MR_M_BASIC_GET_EMPTY,
		MR_M_BASIC_RECOVER_OK, MR_M_CONFIRM_SELECT_OK, MR_M_TX_SELECT_OK, MR_M_TX_COMMIT_OK,
		MR_M_TX_ROLLBACK_OK, MR_M_CONNECTION_CLOSE_OK, MR_M_CONNECTION_UNBLOCKED,
		MR_M_CHANNEL_FLOW};
	struct mr_method m = {.id = ids[next(r) % (sizeof ids / sizeof *ids)]};
	m.name = some_name(next(r));
	m.count = m.consumers = 7;
	say(r, channel, m);
}

static void broker_does(struct run *r, uint16_t channel)
{
	static const uint32_t ids[] = {MR_M_BASIC_ACK, MR_M_BASIC_NACK, MR_M_BASIC_CANCEL,
		MR_M_CHANNEL_CLOSE, MR_M_CONNECTION_CLOSE, MR_M_CONNECTION_BLOCKED};
	struct mr_method m = {.id = ids[next(r) % (sizeof ids / sizeof *ids)]};
	m.tag = next(r);
	m.flags = next(r);
	m.name = some_name((uint8_t)m.tag);
	m.code = (uint16_t)(300 + m.tag);
	m.text = some_name((uint8_t)m.flags);
	say(r, channel, m);
}

static void content(struct run *r, uint16_t channel)
{
	static const uint32_t ids[] = {MR_M_BASIC_DELIVER, MR_M_BASIC_RETURN, MR_M_BASIC_GET_OK};
	static const char body[600];
	uint8_t what = next(r);
	struct mr_method m = {.id = ids[what % 3], .tag = next(r), .flags = what & 1};
	m.other = m.text = some_name(what >> 4);
	m.name = some_name((uint8_t)m.tag);
	m.key = some_name(next(r));
	m.code = 312;
	say(r, channel, m);
	if (what & 8) return; /* its header comes by another command, or never */
	mr_frame_put_content(&r->broker, channel, mr_slice_of("\x10\x00\x02", 3),
		mr_slice_of(body, next(r) * 2u), what & 4 ? 64 : FRAME_MAX);
}

/* A frame of any type whose payload is the input's. */
static void any_frame(struct run *r, uint16_t channel)
{
	uint8_t head[7] = {(uint8_t)(next(r) % 10), 0, (uint8_t)channel, 0, 0, 0, next(r)};
	mr_buffer_append(&r->broker, head, sizeof head);
	for (uint8_t i = 0; i < head[6]; i++) {
		uint8_t octet = next(r);
		mr_buffer_append(&r->broker, &octet, 1);
	}
	mr_buffer_append(&r->broker, "\xce", 1);
}

/* ---- the host's side ---- */

static uint64_t token(struct run *r)
{
	if (r->tokens + 1 >= TOKENS) return 0;
	r->asked[++r->tokens] = 1;
	return r->tokens;
}

static void open_channel(struct run *r, uint16_t channel)
{
	uint64_t t = token(r);
	if (!t || r->epoch_count + 1 >= EPOCHS || mr_session_has_channel(r->session, channel))
		r->asked[t] = 0; /* the host never opens a number that it has open */
	else {
		r->current[channel] = ++r->epoch_count;
		r->epochs[r->epoch_count].number = channel;
		mr_session_channel_open(r->session, channel, t, r->epoch_count,
			r->now + 10 * next(r));
	}
	if (t && !r->asked[t]) r->tokens--;
}

static void request(struct run *r, uint16_t channel)
{
	mr_request q = {.operation = next(r) % (MR_TX_ROLLBACK + 1), .number = next(r)};
	uint64_t t = token(r);
	uint8_t flags = next(r);
	if (!t) return;
	q.flags = flags * 8u;
	q.name = some_name(flags);
	q.extra = some_name(flags >> 3);
	if (!q.operation) q.operation = MR_CONFIRM_SELECT;
	if (q.operation == MR_CONFIRM_SELECT && !r->epochs[r->current[channel]].confirming) {
		r->confirm_token = t;
		r->confirm_epoch = r->current[channel];
		r->epochs[r->confirm_epoch].confirming = true;
	}
	mr_session_request(r->session, channel, t, r->current[channel], &q, r->now + 10 * flags);
}

static void publish(struct run *r, uint16_t channel)
{
	static const char body[FRAME_MAX * 2];
	struct epoch *e = &r->epochs[r->current[channel]];
	uint8_t what = next(r);
	struct mr_publish p = {.flags = what & 1 ? MR_MANDATORY : 0,
		.epoch = r->current[channel],
		.deadline = r->now + 10 * what};
	if (e->published >= PUBLISHES || !e->number) return;
	if (e->confirming) p.number = ++e->published;
	p.exchange = some_name(what >> 1);
	p.routing_key = some_name(what >> 4);
	p.properties = mr_slice_of("\x10\x00\x02", 3);
	p.body = mr_slice_of(body, what * 32u);
	if (what &
		2) { /* as from a program: in a block of its own, perhaps large enough to stay there */
		p.block = mr_calloc(what, 128);
		p.body = mr_slice_of(p.block, p.block ? what * 128u : 0);
	}
	mr_session_publish(r->session, channel, &p);
}

static void settle(struct run *r, uint16_t channel)
{
	static const int hows[] = {MR_ACK, MR_NACK, MR_REJECT, MR_ACK};
	uint8_t what = next(r), tag = next(r);
	mr_session_settle(r->session, channel, r->current[channel] - (what >> 7), tag,
		hows[what & 3], (what >> 2) & (MR_SETTLE_MULTIPLE | MR_SETTLE_REQUEUE));
}

/* The socket takes all; what we said must be whole frames. */
static void drain(struct run *r)
{
	const struct mr_guard guard = {.frame_max = FRAME_MAX, .channel_max = 3};
	struct mr_outbox *out = mr_session_output(r->session);
	struct mr_buffer sent = {0};
	struct mr_frame frame;
	size_t used, want;
	mr_session_flush_due(r->session, r->now);
	while (mr_outbox_size(out)) {
		struct iovec places[3];
		int count = mr_outbox_view(out, places, 3);
		for (int i = 0; i < count; i++) {
			MUST(mr_buffer_append(&sent, places[i].iov_base, places[i].iov_len) ==
				MR_OK);
			mr_outbox_consume(out, places[i].iov_len);
		}
	}
	while (mr_buffer_size(&sent)) {
		MUST(mr_frame_next(&guard, mr_buffer_data(&sent), mr_buffer_size(&sent), &frame,
			     &used, &want, NULL) == MR_OK);
		MUST(used && frame.channel <= 3);
		mr_buffer_consume(&sent, used);
	}
	mr_buffer_fini(&sent);
	mr_session_wrote(r->session, r->now);
}

static void tick(struct run *r)
{
	r->now += 1 + 50 * next(r);
	MUST(mr_session_deadline(r->session) > 0);
	if (mr_session_tick(r->session, r->now, !(r->options & OPTION_NO_BEAT)))
		mr_session_tick(r->session, r->now, true);
}

static void command(struct run *r)
{
	uint8_t what = next(r);
	uint16_t channel = what >> 6;
	switch (what & 15) {
	case 0: open_channel(r, channel); break;
	case 1: request(r, channel); break;
	case 2: publish(r, channel); break;
	case 3: settle(r, channel); break;
	case 4: {
		uint64_t t = token(r);
		if (t)
			mr_session_channel_close(r->session, channel, t, r->current[channel],
				r->now + 10 * next(r));
		break;
	}
	case 5: tick(r); break;
	case 6: drain(r); break;
	case 7: mr_session_deaf(r->session, what & 16, r->now); break;
	case 8: {
		uint64_t t = token(r);
		if (t) mr_session_update_secret(r->session, t, some_name(next(r)), r->now + 1000);
		break;
	}
	case 9:
		if (what & 16 && what & 32) mr_session_shutdown(r->session);
		break;
	case 10:
	case 11: answer(r, channel); break;
	case 12: broker_does(r, channel); break;
	case 13:
	case 14: content(r, channel); break;
	default: any_frame(r, channel); break;
	}
	if (!(what & 32)) feed(r);
}

/* Three channels, the first with a consumer, the second confirming. */
static void prepare(struct run *r)
{
	mr_request consume = {.operation = MR_BASIC_CONSUME, .number = 5};
	mr_request confirm = {.operation = MR_CONFIRM_SELECT};
	consume.name = mr_slice_str("q");
	for (uint16_t channel = 1; channel <= 3; channel++) {
		r->current[channel] = ++r->epoch_count;
		r->epochs[r->epoch_count].number = channel;
		mr_session_channel_open(r->session, channel, token(r), r->epoch_count, 5000);
		say(r, channel, (struct mr_method){.id = MR_M_CHANNEL_OPEN_OK});
	}
	feed(r);
	mr_session_request(r->session, 1, token(r), 1, &consume, 5000);
	say(r, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	mr_session_request(r->session, 2, token(r), 2, &confirm, 5000);
	r->epochs[2].confirming = true;
	say(r, 2, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	feed(r);
	MUST(r->ended[1] && r->ended[4] && r->ended[5]);
}

static bool begin(struct run *r)
{
	r->login = (struct mr_login){.frame_max = FRAME_MAX, .channel_max = 3, .heartbeat = 10};
	r->login.user = r->login.password = mr_slice_str("guest");
	r->login.vhost = mr_slice_str("/");
	r->login.mechanism = mr_slice_str("PLAIN");
	r->login.connection_name = mr_slice_str("fuzz");
	struct mr_session_options *o = &r->session_options;
	*o = (struct mr_session_options){.login = &r->login,
		.connection = 1,
		.max_message_size = 1 << 16,
		.stats = &r->stats};
	o->blocked_timeout = r->options & OPTION_BLOCKED ? 3000 : 0;
	o->emit = on_event;
	o->owner = r;
	r->now = 1;
	return mr_delivery_pool_open(&o->pool) == MR_OK &&
	       mr_session_open(&r->session, o) == MR_OK && mr_session_start(r->session, 0) == MR_OK;
}

static void end(struct run *r)
{
	mr_error why = {.kind = MR_STREAM_LOST};
	mr_session_end(r->session, &why);
	MUST(mr_session_state(r->session) == MR_SESSION_CLOSED);
	MUST(mr_session_deadline(r->session) == MR_NEVER);
	MUST(!strstr(mr_session_error(r->session)->text, "a fault of ours")); /* no illegal move */
	for (uint32_t t = 1; t <= r->tokens; t++) MUST(r->ended[t] == 1);
	for (uint32_t i = 1; i <= r->epoch_count; i++)
		for (uint64_t n = 1; n <= r->epochs[i].published; n++) MUST(r->epochs[i].ended[n]);
	mr_session_free(r->session);
	if (r->held) mr_delivery_give(r->session_options.pool, r->held);
	MUST(mr_delivery_pool_out(r->session_options.pool, NULL) == 0);
	mr_delivery_pool_close(r->session_options.pool);
	mr_buffer_fini(&r->broker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	long live = mr_alloc_live();
	struct run *r = &run;
	memset(r, 0, sizeof *r);
	r->data = data;
	r->left = size;
	r->options = next(r);
	MUST(begin(r));
	mr_outbox_consume(mr_session_output(r->session), SIZE_MAX); /* the protocol header */
	shake_hands(r);
	prepare(r);
	drain(r);
	if (r->options & OPTION_RAW) {
		mr_buffer_append(&r->broker, r->data, r->left);
		r->left = 0;
		feed(r);
		tick(r);
		drain(r);
	}
	while (r->left && mr_session_state(r->session) != MR_SESSION_CLOSED) command(r);
	for (int i = 0; i < 4 && r->left; i++) command(r); /* a closed one answers, too */
	end(r);
	MUST(mr_alloc_live() == live);
	return 0;
}
