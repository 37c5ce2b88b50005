/* fuzz_broker: two clients at one broker, in any order of methods, contents, time and hang-ups.
 * SPDX-License-Identifier: MIT
 * The first byte: 0x80 nothing is prepared, all the rest are the bytes of one client; else options, and
 * behind it commands: a byte (0x80 client, 0x40 channel, the rest what) and its arguments, few names so
 * that they meet. What the broker says must be whole frames, and in the end nothing may be left. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/client/consumer.h"
#include "broker/client/session.h"
#include "broker/client/turn.h"
#include "broker/store/raze.h"
#include "codec/client_method.h"
#include "codec/frame.h"

#define FRAME_LEAST 4096 /* AMQP's smallest frame_max */
#define DEPTH 3

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) abort();                                                         \
	} while (0)

struct client {
	struct mr_broker_session *session;
	struct mr_buffer in; /* what it said and the broker has not taken */
};

struct run {
	const uint8_t *data;
	size_t left;
	struct mr_broker *broker;
	struct client clients[2];
	uint8_t options;
	bool corked;
};

enum {
	OPTION_RAW = 0x80,
	OPTION_SMALL = 1,
	OPTION_SILENT = 2,
	OPTION_HEARTBEAT = 4,
	OPTION_SHORT = 8
}; /* turns of a few steps */

static uint8_t next(struct run *r)
{
	if (!r->left) return 0;
	r->left--;
	return *r->data++;
}

static bool is_short; /* of this run */

static void touch(void *owner) { (void)owner; }

/* ---- writing what a client says ---- */

static void put(struct mr_buffer *b, const void *data, size_t size)
{
	MUST(mr_buffer_append(b, data, size) == MR_OK);
}

static void put_8(struct mr_buffer *b, uint8_t n) { put(b, &n, 1); }

static void put_number(struct mr_buffer *b, uint64_t n, size_t width)
{
	while (width-- > 0) put_8(b, (uint8_t)(n >> 8 * width));
}

static void put_short(struct mr_buffer *b, const char *text)
{
	put_8(b, (uint8_t)strlen(text));
	put(b, text, strlen(text));
}

static void put_long(struct mr_buffer *b, const void *text, size_t size)
{
	put_number(b, size, 4);
	put(b, text, size);
}

static void put_frame(struct mr_buffer *out, uint8_t type, uint16_t channel,
	const struct mr_buffer *payload)
{
	put_8(out, type);
	put_number(out, channel, 2);
	if (mr_buffer_size(payload))
		put_long(out, mr_buffer_data(payload), mr_buffer_size(payload));
	else
		put_number(out, 0, 4);
	put_8(out, MR_FRAME_END);
}

static const char *const queues[] = {"a", "b", "c", "", "amq.rabbitmq.reply-to", "d", "amq.q",
	"\n"};
static const char *const exchanges[] = {"amq.topic", "x", "y", "z", "amq.fanout", "", "amq.headers",
	"amq.direct"};
static const char *const keys[] = {"a", "b", "c", "", "#", "*.a", "a.#.b", "a.b.c"};
static const char *const types[] = {"direct", "fanout", "topic", "headers"};
static const char *const tags[] = {"t", "u", "", "v"};
static const char *const words[] = {"x", "y", "a", "b", "all", "any", "reject-publish",
	"reject-publish-dlx", "drop-head", "expired", "rejected", "maxlen", "", "100", "a.b.c",
	"lazy", "quorum", "at-least-once"};
static const char *const names[] = {"x-message-ttl", "x-expires", "x-max-length",
	"x-max-length-bytes", "x-max-priority", "x-overflow", "x-dead-letter-exchange",
	"x-dead-letter-routing-key", "x-single-active-consumer", "x-match", "x-priority",
	"alternate-exchange", "h", "x-death", "CC", "BCC", "count", "queue", "reason",
	"x-queue-type", "x-queue-mode", "x-delivery-limit", "x-dead-letter-strategy", "g", "time",
	"x-h"};

#define PICK(r, list) (list)[next(r) % (sizeof(list) / sizeof *(list))]

static void put_table(struct run *r, struct mr_buffer *b, char type, int depth);

static void put_value(struct run *r, struct mr_buffer *b, int depth)
{
	static const char kinds[] = "ISAFltVbTdx";
	uint8_t choice = next(r);
	char kind = kinds[choice % (sizeof kinds - 1)];
	const char *word;
	if (depth >= DEPTH && (kind == 'A' || kind == 'F')) kind = 'I';
	put_8(b, (uint8_t)kind);
	switch (kind) {
	case 'S':
	case 'x':
		word = PICK(r, words);
		put_long(b, word, strlen(word));
		break;
	case 'A':
	case 'F': put_table(r, b, kind, depth + 1); break;
	case 'I': put_number(b, choice < 200 ? next(r) % 8 : (uint64_t)-1, 4); break;
	case 'V': break;
	case 't':
	case 'b': put_8(b, next(r) & 1); break;
	default: put_number(b, next(r), 8); break;
	}
}

static void put_table(struct run *r, struct mr_buffer *b, char type, int depth)
{
	struct mr_buffer fields = {0};
	for (int count = next(r) & 3; count > 0; count--) {
		if (type == 'F') put_short(&fields, PICK(r, names));
		put_value(r, &fields, depth);
	}
	put_long(b, fields.base, mr_buffer_size(&fields));
	mr_buffer_fini(&fields);
}

/* As in client_method.c, with names by what they name: Q queue, X exchange, K key, Y type, C tag. */
static const struct {
	uint32_t id;
	const char *fields;
} methods[] = {
	{MR_M_QUEUE_DECLARE, "wQoT"},
	{MR_M_QUEUE_BIND, "wQXKoT"},
	{MR_M_QUEUE_UNBIND, "wQXKT"},
	{MR_M_QUEUE_PURGE, "wQo"},
	{MR_M_QUEUE_DELETE, "wQo"},
	{MR_M_EXCHANGE_DECLARE, "wXYoT"},
	{MR_M_EXCHANGE_DELETE, "wXo"},
	{MR_M_EXCHANGE_BIND, "wXXKoT"},
	{MR_M_EXCHANGE_UNBIND, "wXXKoT"},
	{MR_M_BASIC_ACK, "qo"},
	{MR_M_BASIC_NACK, "qo"},
	{MR_M_BASIC_REJECT, "qo"},
	{MR_M_BASIC_GET, "wQo"},
	{MR_M_BASIC_QOS, "0bo"},
	{MR_M_BASIC_CONSUME, "wQCoT"},
	{MR_M_BASIC_CANCEL, "Co"},
	{MR_M_BASIC_RECOVER, "o"},
	{MR_M_BASIC_RECOVER_ASYNC, "o"},
	{MR_M_CONFIRM_SELECT, "o"},
	{MR_M_TX_SELECT, ""},
	{MR_M_TX_COMMIT, ""},
	{MR_M_TX_ROLLBACK, ""},
	{MR_M_CHANNEL_OPEN, "C"},
	{MR_M_CHANNEL_FLOW, "o"},
	{MR_M_CHANNEL_CLOSE, "wCww"},
	{MR_M_CHANNEL_CLOSE_OK, ""},
	{MR_M_ACCESS_REQUEST, "Co"},
	{MR_M_CONNECTION_CLOSE, "wCww"},
	{MR_M_CONNECTION_UPDATE_SECRET, "lC"},
};
#define METHODS (sizeof methods / sizeof *methods)

static void put_field(struct run *r, struct mr_buffer *b, char type)
{
	switch (type) {
	case 'Q': put_short(b, PICK(r, queues)); break;
	case 'X': put_short(b, PICK(r, exchanges)); break;
	case 'K': put_short(b, PICK(r, keys)); break;
	case 'Y': put_short(b, PICK(r, types)); break;
	case 'C': put_short(b, PICK(r, tags)); break;
	case 'T': put_table(r, b, 'F', 0); break;
	case 'o': put_8(b, next(r) & 31); break;
	case 'b': put_number(b, next(r) & 7, 2); break;
	case 'q': put_number(b, next(r) & 31, 8); break;
	case 'l': put_long(b, "x", 1); break;
	case '0': put_number(b, 0, 4); break;
	default: put_number(b, 0, 2); break;
	}
}

static void put_method(struct run *r, struct mr_buffer *out, uint16_t channel, size_t which)
{
	struct mr_buffer b = {0};
	put_number(&b, methods[which].id, 4);
	for (const char *f = methods[which].fields; *f; f++) put_field(r, &b, *f);
	put_frame(out, MR_FRAME_METHOD, methods[which].id >> 16 == 10 ? 0 : channel, &b);
	mr_buffer_fini(&b);
}

static void put_simple(struct mr_buffer *out, uint16_t channel, uint32_t id)
{
	struct mr_buffer b = {0};
	put_number(&b, id, 4);
	if (id == MR_M_CHANNEL_OPEN) put_8(&b, 0);
	put_frame(out, MR_FRAME_METHOD, channel, &b);
	mr_buffer_fini(&b);
}

enum {
	HAS_HEADERS = 0x2000,
	HAS_PRIORITY = 0x0800,
	HAS_REPLY_TO = 0x0200,
	HAS_EXPIRATION = 0x0100
};

static void put_properties(struct run *r, struct mr_buffer *b)
{
	static const char *const times[] = {"0", "5", "100", "x"};
	uint8_t choice = next(r);
	unsigned flags = (choice & 1 ? HAS_HEADERS : 0) | (choice & 2 ? HAS_PRIORITY : 0) |
	                 (choice & 4 ? HAS_REPLY_TO : 0) | (choice & 8 ? HAS_EXPIRATION : 0);
	put_number(b, flags, 2);
	if (flags & HAS_HEADERS) put_table(r, b, 'F', 0);
	if (flags & HAS_PRIORITY) put_8(b, next(r) % 12);
	if (flags & HAS_REPLY_TO) put_short(b, choice & 16 ? "r" : MR_REPLY_QUEUE);
	if (flags & HAS_EXPIRATION) put_short(b, PICK(r, times));
}

static void put_body(struct run *r, struct mr_buffer *out, uint16_t channel, size_t size)
{
	static const uint8_t bytes[2048];
	size_t pieces = 1 + (next(r) & 1), first = size / pieces;
	for (size_t at = 0; at < size;) {
		struct mr_buffer b = {0};
		size_t n = at ? size - at : first ? first : size;
		put(&b, bytes, n);
		put_frame(out, MR_FRAME_BODY, channel, &b);
		mr_buffer_fini(&b);
		at += n;
	}
}

static void publish(struct run *r, struct mr_buffer *out, uint16_t channel)
{
	struct mr_buffer b = {0};
	uint8_t flags = next(r);
	size_t size = flags & 4 ? (size_t)next(r) * 8 : next(r) & 3;
	put_number(&b, MR_M_BASIC_PUBLISH, 4);
	put_number(&b, 0, 2);
	put_short(&b, PICK(r, exchanges));
	put_short(&b, PICK(r, keys));
	put_8(&b, flags & 1);
	put_frame(out, MR_FRAME_METHOD, channel, &b);
	mr_buffer_consume(&b, SIZE_MAX);
	put_number(&b, 60, 2);
	put_number(&b, 0, 2);
	put_number(&b, size, 8);
	put_properties(r, &b);
	put_frame(out, MR_FRAME_HEADER, channel, &b);
	mr_buffer_fini(&b);
	put_body(r, out, channel, size);
}

static void put_raw_frame(struct run *r, struct mr_buffer *out, uint16_t channel)
{
	struct mr_buffer b = {0};
	uint8_t type = next(r) & 3;
	for (uint8_t n = next(r) & 63; n > 0; n--) put_8(&b, next(r));
	put_frame(out, type ? type : MR_FRAME_HEARTBEAT, type ? channel : 0, &b);
	mr_buffer_fini(&b);
}

/* ---- a client's life ---- */

static void say_hello(const struct run *r, struct mr_buffer *out)
{
	static const char properties[] = "\x0c"
					 "capabilitiesF\0\0\0\x30"
					 "\x16"
					 "consumer_cancel_notifyt\1"
					 "\x12"
					 "connection.blockedt\1"
					 "\0V";
	struct mr_buffer b = {0};
	put(out, "AMQP\0\0\x09\x01", 8);
	put_number(&b, MR_M_CONNECTION_START_OK, 4);
	if (r->options & OPTION_SILENT)
		put_number(&b, 0, 4);
	else
		put_long(&b, properties, sizeof properties - 1);
	put_short(&b, "PLAIN");
	put_long(&b, "\0guest\0guest", 12);
	put_short(&b, "en_US");
	put_frame(out, MR_FRAME_METHOD, 0, &b);
	mr_buffer_consume(&b, SIZE_MAX);
	put_number(&b, MR_M_CONNECTION_TUNE_OK, 4);
	put_number(&b, 4, 2);
	put_number(&b, r->options & OPTION_SMALL ? FRAME_LEAST : 131072, 4);
	put_number(&b, r->options & OPTION_HEARTBEAT ? 1 : 0, 2);
	put_frame(out, MR_FRAME_METHOD, 0, &b);
	mr_buffer_consume(&b, SIZE_MAX);
	put_number(&b, MR_M_CONNECTION_OPEN, 4);
	put_short(&b, "/");
	put_number(&b, 0, 2);
	put_frame(out, MR_FRAME_METHOD, 0, &b);
	mr_buffer_fini(&b);
	put_simple(out, 1, MR_M_CHANNEL_OPEN);
	put_simple(out, 2, MR_M_CHANNEL_OPEN);
}

static void arrive(struct run *r, struct client *c)
{
	struct mr_broker_session_options options = {touch, NULL};
	c->session = mr_broker_session_open(r->broker, &options);
	MUST(c->session);
	if (!(r->options & OPTION_RAW)) say_hello(r, &c->in);
}

static void leave(struct client *c)
{
	mr_broker_session_close(c->session);
	mr_buffer_fini(&c->in);
	c->session = NULL;
}

static void feed(struct client *c)
{
	size_t size = mr_buffer_size(&c->in), want = 0;
	struct mr_broker *b = c->session->broker;
	if (!size || !mr_broker_session_reads(c->session)) return;
	/* A block of its own, so that reading past the end is seen. */
	uint8_t *copy = malloc(size);
	MUST(copy);
	memcpy(copy, mr_buffer_data(&c->in), size);
	if (is_short) mr_turn_begin(b, size % 7);
	size_t used = mr_broker_session_feed(c->session, copy, size, &want);
	mr_turn_begin(b, MR_WORK_UNBOUNDED);
	MUST(!mr_turn_resume(b)); /* one turn without bound leaves nothing */
	mr_turn_end(b);
	free(copy);
	MUST(used <= size);
	mr_buffer_consume(&c->in, used);
}

/* Reads what the broker says; a channel or connection that it closed is made anew. */
static void drain(struct run *r, struct client *c)
{
	static const struct mr_guard guard = {1 << 20, 5, 1 << 24};
	struct mr_buffer *out = mr_broker_session_output(c->session);
	while (mr_buffer_size(out) && memcmp(mr_buffer_data(out), "AMQP", 4) != 0) {
		struct mr_frame f;
		size_t used, want;
		MUST(mr_frame_next(&guard, mr_buffer_data(out), mr_buffer_size(out), &f, &used,
			     &want, NULL) == MR_OK &&
			used);
		if (f.type == MR_FRAME_METHOD && mr_get32(f.payload) == MR_M_CHANNEL_CLOSE) {
			put_simple(&c->in, f.channel, MR_M_CHANNEL_CLOSE_OK);
			put_simple(&c->in, f.channel, MR_M_CHANNEL_OPEN);
		}
		mr_buffer_consume(out, used);
	}
	mr_buffer_consume(out, SIZE_MAX);
	mr_broker_session_wrote(c->session);
	if (r->options & OPTION_RAW || c->session->state < MR_BS_CLOSING) return;
	leave(c);
	arrive(r, c);
}

/* ---- what must hold ---- */

static size_t length_of(const struct mr_node *list)
{
	size_t n = 0;
	for (struct mr_node *at = list->next; at != list; at = at->next) n++;
	return n;
}

static void check_queue(const struct mr_queue *q)
{
	size_t ready = 0;
	uint64_t bytes = 0;
	for (int i = 0; i <= q->limits.max_priority; i++) {
		uint64_t position = 0;
		const struct mr_node *level = &q->levels[i];
		for (struct mr_node *n = level->next; n != level; n = n->next) {
			const struct mr_entry *e = mr_container(n, struct mr_entry, node);
			MUST(n == level->next || e->position > position);
			position = e->position;
			ready++;
			bytes += e->message->body_size;
		}
	}
	MUST(ready == q->ready && bytes == q->ready_bytes && !q->deleted);
	MUST(length_of(&q->consumers) == q->consumer_count);
	MUST(length_of(&q->target.inbound) == q->target.inbound_count);
	MUST(!q->active || q->consumer_count);
	MUST(q->limits.overflow != MR_DROP_HEAD || q->limits.max_length < 0 ||
		(uint64_t)q->limits.max_length >= q->ready || q->out);
	MUST((q->deadline == MR_NEVER) == !q->at_heap);
	/* Nobody waits for what is there. */
	for (struct mr_node *n = q->consumers.next; n != &q->consumers && q->ready; n = n->next) {
		const struct mr_receiver *r = mr_container(n, struct mr_receiver, at_queue);
		MUST(r->queue == q && !mr_container(r, const struct mr_consumer, receiver)->gone);
		if (q->limits.single_active && q->active != r) continue;
		MUST(q->store->paused || !r->class->takes(r));
	}
}

static void check(const struct run *r)
{
	const struct mr_broker *b = r->broker;
	const struct mr_vhost *v = mr_broker_vhost(b, mr_slice_str("/"));
	const struct mr_queue *q;
	const struct mr_exchange *x;
	size_t at = 0;
	while ((q = mr_map_next(&v->queues, &at, NULL))) check_queue(q);
	for (at = 0; (x = mr_map_next(&v->exchanges, &at, NULL));)
		MUST(length_of(&x->bindings) == x->binding_count);
	for (at = 1; at < b->store.heap_count; at++)
		MUST(b->store.heap[at]->deadline >= b->store.heap[(at - 1) / 2]->deadline);
	MUST(mr_list_is_empty(&b->store.dying) && !b->store.route.pending);
}

/* ---- commands ---- */

static void pass_time(struct run *r, uint8_t how)
{
	static const mr_msec steps[] = {0, 1, 5, 100, 700, 2500, 20000, 1};
	r->broker->store.now += steps[how & 7];
	mr_turn_tick(r->broker);
	for (int i = 0; i < 2; i++) mr_broker_session_tick(r->clients[i].session);
}

static void set_fault(struct mr_broker *b, uint8_t what)
{
	if (what & 4) b->store.watermark = what & 8 ? 400 : MR_WATERMARK_DEFAULT;
	if (what & 2) b->blocked_by_hand = what & 8;
	mr_broker_check_memory(b);
	if (what & 1) {
		b->store.paused = what & 8;
		mr_broker_pump_all(b);
	}
}

static void obey(struct run *r)
{
	uint8_t what = next(r);
	struct client *c = &r->clients[what >> 7];
	uint16_t channel = what & 0x40 ? 2 : 1;
	what &= 63;
	if (what < METHODS) {
		put_method(r, &c->in, channel, what);
	} else if (what < METHODS + 16) {
		publish(r, &c->in, channel);
	} else {
		switch (what - METHODS - 16) {
		case 0: put_raw_frame(r, &c->in, channel); break;
		case 1: put_8(&c->in, next(r)); break;
		case 2: set_fault(r->broker, next(r)); break;
		case 3: r->corked = next(r) & 1; break;
		case 4:
			leave(c);
			arrive(r, c);
			break;
		case 5: mr_broker_session_shut(c->session, 320, "CONNECTION_FORCED", 0); break;
		case 6: drain(r, c); break;
		default: pass_time(r, next(r)); break;
		}
	}
	if (r->corked) return;
	for (int i = 0; i < 2; i++) {
		feed(&r->clients[i]);
		drain(r, &r->clients[i]);
		if (!r->broker->blocked_by_hand) feed(&r->clients[i]);
	}
	mr_turn_finish(r->broker);
	mr_turn_end(r->broker);
	check(r);
}

static void raw(struct run *r)
{
	put(&r->clients[0].in, r->data, r->left);
	feed(&r->clients[0]);
	drain(r, &r->clients[0]);
	r->broker->store.now += 10000;
	mr_broker_session_tick(r->clients[0].session);
	MUST(r->clients[0].session->state == MR_BS_ENDED ||
		r->clients[0].session->state == MR_BS_OPEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	long before = mr_alloc_live();
	struct run r = {.data = data, .left = size};
	MUST(mr_broker_open(&r.broker, 1, 1) == MR_OK);
	r.options = next(&r);
	is_short = r.options & OPTION_SHORT;
	for (int i = 0; i < 2; i++) arrive(&r, &r.clients[i]);
	if (r.options & OPTION_RAW) {
		raw(&r);
	} else {
		for (int i = 0; i < 2; i++) feed(&r.clients[i]);
		for (int i = 0; i < 200 && r.left; i++) obey(&r);
	}
	for (int i = 0; i < 2; i++) leave(&r.clients[i]);
	struct mr_vhost *v = mr_broker_vhost(r.broker, mr_slice_str("/"));
	struct mr_queue *q;
	for (size_t at = 0; (q = mr_map_next(&v->queues, &at, NULL));) {
		MUST(!q->out && !q->consumer_count && !q->exclusive);
		check_queue(q);
		mr_raze_queue(q);
	}
	MUST(!r.broker->store.memory && !r.broker->session_count && !r.broker->store.heap_count);
	mr_turn_finish(r.broker);
	mr_broker_close(r.broker);
	MUST(mr_alloc_live() == before);
	return 0;
}
