/* dead_letter: sends messages that expired, were rejected or did not fit to dead letter exchanges.
 * SPDX-License-Identifier: MIT
 * The x-death header is that of RabbitMQ (rabbit_dead_letter.erl): one table for each queue and reason,
 * the latest first. */
#include "broker/store/dead_letter.h"

#include <time.h>

#include "base/alloc.h"
#include "broker/store/backing.h"
#include "broker/store/fields.h"
#include "broker/store/spread.h"
#include "broker/store/vhost.h"

static const char *const reasons[] = {"expired", "rejected", "maxlen", "delivery_limit"};

struct death { /* one death, while the new headers are made */
	const struct mr_queue *queue;
	const struct mr_message *message;
	const struct mr_parts *parts;
	const char *reason;
	mr_slice headers, old; /* its headers, and their x-death: an encoded array, or empty */
	struct mr_buffer out;
	bool ok;
};

static void put(struct death *d, enum mr_status st)
{
	if (st != MR_OK) d->ok = false;
}

static void put_text(struct death *d, const char *key, mr_slice text)
{
	put(d, mr_walk_put_text(&d->out, key, text));
}

static void put_bytes(struct death *d, mr_slice bytes)
{
	put(d, mr_buffer_append(&d->out, bytes.data, bytes.size));
}

static size_t begin(struct death *d)
{
	size_t at = 0;
	put(d, mr_walk_begin(&d->out, &at));
	return at;
}

static void end(struct death *d, size_t at)
{
	if (d->ok) mr_walk_end(&d->out, at);
}

static bool is_text(mr_slice table, const char *key, mr_slice text)
{
	struct mr_walk_field f;
	return mr_walk_find(table, key, &f) && f.type == 'S' &&
	       mr_slice_equal(mr_walk_text(&f), text);
}

static bool is_same_death(const struct mr_walk_field *f, const struct death *d)
{
	return f->type == 'F' && is_text(f->value, "queue", mr_queue_name(d->queue)) &&
	       is_text(f->value, "reason", mr_slice_str(d->reason));
}

/* Adds the routing keys of its publish: its own and those of CC. */
static void put_keys(struct death *d)
{
	struct mr_addresses to = mr_message_addresses(d->message);
	struct mr_walk keys = mr_walk_array(to.cc);
	struct mr_walk_field f;
	put(d, mr_walk_put_key(&d->out, "routing-keys", 'A'));
	size_t at = begin(d);
	put(d, mr_walk_put_item(&d->out, to.key));
	while (mr_walk_next(&keys, &f))
		if (f.type == 'S') put_bytes(d, f.whole);
	end(d, at);
}

static void put_death(struct death *d)
{
	put(d, mr_buffer_append(&d->out, "F", 1));
	size_t at = begin(d);
	put(d, mr_walk_put_64(&d->out, "count", 'l', 1));
	put_text(d, "reason", mr_slice_str(d->reason));
	put_text(d, "queue", mr_queue_name(d->queue));
	put(d, mr_walk_put_64(&d->out, "time", 'T', (uint64_t)time(NULL)));
	put_text(d, "exchange", mr_message_exchange(d->message));
	put_keys(d);
	if (d->parts->part[MR_PART_EXPIRATION].data)
		put_text(d, "original-expiration", mr_part_text(d->parts, MR_PART_EXPIRATION));
	end(d, at);
}

/* The same death again: increments its count, and puts it first in the list. */
static void put_again(struct death *d, const struct mr_walk_field *old)
{
	struct mr_walk w = mr_walk_table(old->value);
	struct mr_walk_field f;
	put(d, mr_buffer_append(&d->out, "F", 1));
	size_t at = begin(d);
	while (mr_walk_next(&w, &f)) {
		if (f.type == 'l' && mr_slice_equal(f.key, mr_slice_str("count")))
			put(d, mr_walk_put_64(&d->out, "count", 'l', mr_get64(f.value.data) + 1));
		else
			put_bytes(d, f.whole);
	}
	end(d, at);
}

/* Adds the older deaths in reverse order, as RabbitMQ does each time: writes the bytes from the
 * last to the first. */
static void put_others(struct death *d, const struct mr_walk_field *same)
{
	struct mr_walk w = mr_walk_array(d->old);
	struct mr_walk_field f;
	size_t room = d->old.size;
	if (!d->ok || mr_buffer_reserve(&d->out, room) != MR_OK) {
		d->ok = false;
		return;
	}
	uint8_t *tail = mr_buffer_tail(&d->out), *at = tail + room;
	while (mr_walk_next(&w, &f)) {
		if (same && f.whole.data == same->whole.data) continue;
		at -= f.whole.size;
		memcpy(at, f.whole.data, f.whole.size);
	}
	size_t size = (size_t)(tail + room - at);
	memmove(tail, at, size);
	d->out.end += size;
}

static void put_deaths(struct death *d)
{
	struct mr_walk w = mr_walk_array(d->old);
	struct mr_walk_field f;
	bool again = false;
	put(d, mr_walk_put_key(&d->out, "x-death", 'A'));
	size_t at = begin(d);
	while (!again && mr_walk_next(&w, &f)) again = is_same_death(&f, d);
	if (again)
		put_again(d, &f);
	else
		put_death(d);
	put_others(d, again ? &f : NULL);
	end(d, at);
}

static void put_first(struct death *d)
{
	put_text(d, "x-first-death-reason", mr_slice_str(d->reason));
	put_text(d, "x-first-death-queue", mr_queue_name(d->queue));
	put_text(d, "x-first-death-exchange", mr_message_exchange(d->message));
}

/* True for headers that the letter gets new, or does not get: a dead-letter key replaces CC. */
static bool is_replaced(const struct death *d, mr_slice key)
{
	static const char first[] = "x-first-death-";
	size_t size = sizeof first - 1;
	if (mr_slice_equal(key, mr_slice_str("x-death"))) return true;
	if (mr_slice_equal(key, mr_slice_str("CC"))) return d->queue->limits.dead_key.data != NULL;
	if (d->old.size || key.size < size || memcmp(key.data, first, size) != 0) return false;
	mr_slice rest = mr_slice_of(key.data + size, key.size - size);
	return mr_slice_equal(rest, mr_slice_str("reason")) ||
	       mr_slice_equal(rest, mr_slice_str("queue")) ||
	       mr_slice_equal(rest, mr_slice_str("exchange"));
}

/* Copies all other headers, then adds the headers about this death. */
static bool make_headers(struct death *d)
{
	struct mr_walk w = mr_walk_table(d->headers);
	struct mr_walk_field f;
	if (d->headers.size && mr_walk_find(d->headers, "x-death", &f) && f.type == 'A')
		d->old = f.value;
	size_t at = begin(d);
	while (mr_walk_next(&w, &f))
		if (!is_replaced(d, f.key)) put_bytes(d, f.whole);
	put_deaths(d);
	if (!d->old.size) put_first(d); /* with older deaths this is not the first */
	end(d, at);
	return d->ok;
}

/* *gives* the message to publish to the dead-letter exchange; NULL: out of memory. */
static struct mr_message *make_letter(const struct mr_queue *q, const struct mr_message *m,
	const char *reason)
{
	struct mr_parts parts;
	struct mr_message *letter = NULL;
	if (!mr_parts_split(mr_message_properties(m), &parts))
		return NULL; /* deeply nested headers, and no memory */
	struct death d = {.queue = q,
		.message = m,
		.parts = &parts,
		.reason = reason,
		.headers = mr_message_headers(m),
		.ok = true};
	if (make_headers(&d)) {
		struct mr_addresses to = {.key = mr_message_key(m), .bcc = mr_message_bcc(m)};
		if (q->limits.dead_key.data) to = (struct mr_addresses){.key = q->limits.dead_key};
		parts.part[MR_PART_HEADERS] =
			mr_slice_of((const char *)mr_buffer_data(&d.out), mr_buffer_size(&d.out));
		parts.part[MR_PART_EXPIRATION] = (mr_slice){0};
		letter = mr_message_with(m, q->limits.dead_exchange, &to, &parts);
	}
	mr_buffer_fini(&d.out);
	return letter;
}

/* True if the message has died in this queue before, without a rejection since then: it would
 * circulate without end. */
static bool is_cycle(mr_slice deaths, const struct mr_queue *q)
{
	struct mr_walk w = mr_walk_array(deaths);
	struct mr_walk_field f;
	while (mr_walk_next(&w, &f)) {
		if (f.type != 'F' || is_text(f.value, "reason", mr_slice_str("rejected")))
			return false;
		if (is_text(f.value, "queue", mr_queue_name(q))) return true;
	}
	return false;
}

static void drop_cycles(struct mr_route *route, const struct mr_message *letter)
{
	size_t kept = 0;
	struct mr_walk_field f;
	if (!mr_walk_find(mr_message_headers(letter), "x-death", &f)) return;
	for (size_t i = 0; i < route->count; i++)
		if (!is_cycle(f.value, route->queues[i])) route->queues[kept++] = route->queues[i];
	route->count = kept;
}

static void send(struct mr_queue *q, struct mr_message *m, const char *reason)
{
	struct mr_vhost *v = q->vhost;
	struct mr_exchange *x = mr_vhost_exchange(v, q->limits.dead_exchange);
	struct mr_message *letter = x ? make_letter(q, m, reason) : NULL;
	if (!letter) return;
	mr_store_grew(v->store, mr_message_weight(letter));
	if (mr_vhost_route(v, x, letter) == MR_OK) {
		drop_cycles(&v->store->route, letter);
		mr_spread_begin(v->store, letter, &v->store->letter);
	}
	mr_store_drop(v->store, letter);
}

/* ---- with a backing ---- */

struct mr_queue *mr_dead_letter_delay(const struct mr_vhost *v, const struct mr_message *m)
{
	struct mr_queue *q = mr_vhost_queue(v, mr_message_key(m));
	return !mr_message_exchange(m).size && q && mr_dead_letter_delays(q) ? q : NULL;
}

static bool would_circulate(const struct mr_message *letter, const struct mr_queue *q)
{
	struct mr_walk_field f;
	return mr_walk_find(mr_message_headers(letter), "x-death", &f) && is_cycle(f.value, q);
}

/* `ms` NULL: now. */
static void hand_over(struct mr_backing *b, const struct mr_exchange *x, const struct mr_message *m,
	const uint64_t *ms, struct mr_promise *p)
{
	if (x && ms)
		b->class->delay(b, x, m, *ms, p);
	else if (x)
		b->class->publish(b, x, m, p);
	else if (p) /* as in RabbitMQ: without the exchange it is gone */
		p->told(p);
}

/* A letter may go to a queue that delays, too. */
void mr_dead_letter_keep(struct mr_vhost *v, const struct mr_exchange *x,
	const struct mr_message *m, uint64_t ms, struct mr_promise *p)
{
	struct mr_message *letter = NULL;
	for (struct mr_queue *q = mr_dead_letter_delay(v, m); q && x;) {
		const struct mr_message *last = letter ? letter : m;
		uint64_t ttl = (uint64_t)q->limits.ttl;
		ms += last->expiration < ttl ? last->expiration : ttl;
		x = mr_vhost_exchange(v, q->limits.dead_exchange);
		struct mr_message *next =
			x ? make_letter(q, last, reasons[MR_DEATH_EXPIRED]) : NULL;
		mr_message_drop(letter);
		letter = next;
		if (x && !next) {
			mr_backing_refuse(p, 506, "out of memory");
			return;
		}
		q = next ? mr_dead_letter_delay(v, next) : NULL;
		if (q && would_circulate(next, q)) x = NULL;
	}
	hand_over(v->store->backing, x, letter ? letter : m, letter || ms ? &ms : NULL, p);
	mr_message_drop(letter);
}

struct posted {                    /* a letter that the backing has not taken yet */
	struct mr_promise promise; /* first */
	struct mr_queue *queue;
	struct mr_entry *entry; /* forgotten when it is taken, and put back if it is not */
};

/* Of a queue that is gone only the backing can have it again. */
static void put_back(struct mr_queue *q, struct mr_entry *e)
{
	if (q->deleted && !e->taken)
		mr_queue_forget(q, e);
	else
		mr_queue_requeue(q, e);
}

static void told(struct mr_promise *promise)
{
	struct posted *p = mr_container(promise, struct posted, promise);
	if (promise->is_for_now && !promise->is_lost) {
		p->queue->put_off++;
		mr_list_append(&p->queue->store->put_off, &p->entry->node);
	} else if (promise->status == MR_OK) {
		mr_queue_forget(p->queue, p->entry);
	} else {
		put_back(p->queue, p->entry);
	}
	mr_free(p);
}

/* To the backing; takes the entry. */
static void post(struct mr_queue *q, struct mr_entry *e)
{
	const struct mr_exchange *x = mr_vhost_exchange(q->vhost, q->limits.dead_exchange);
	struct mr_message *letter = x ? make_letter(q, e->message, reasons[e->why]) : NULL;
	struct posted *p = letter ? mr_calloc(1, sizeof *p) : NULL;
	if (p) {
		*p = (struct posted){.promise = {.told = told}, .queue = q, .entry = e};
		mr_dead_letter_keep(q->vhost, x, letter, 0, &p->promise);
	} else if (x) { /* out of memory */
		put_back(q, e);
	} else {
		mr_queue_forget(q, e);
	}
	mr_message_drop(letter);
}

static struct mr_entry *next_put_off(struct mr_node *list)
{
	struct mr_node *node = mr_list_shift(list);
	struct mr_entry *e = node ? mr_container(node, struct mr_entry, node) : NULL;
	if (e) e->from->put_off--;
	return e;
}

void mr_dead_letter_retry(struct mr_store *s)
{
	struct mr_node all;
	struct mr_entry *e;
	mr_list_init(&all);
	mr_list_splice(&all, &s->put_off);
	while ((e = next_put_off(&all))) post(e->from, e);
}

void mr_dead_letter_lose(struct mr_store *s)
{
	struct mr_entry *e;
	while ((e = next_put_off(&s->put_off))) put_back(e->from, e);
}

/* Finishes the current letter before the next one, so that the letters of a queue keep their
 * order. */
static bool finish_letter(struct mr_store *s)
{
	if (!s->letter) return true;
	if (!mr_spread_go_on(s, s->letter)) return false;
	mr_spread_end(s, &s->letter);
	return true;
}

void mr_dead_letter_send(struct mr_store *s)
{
	struct mr_node *node;
	while (finish_letter(s) && !mr_store_is_spent(s) && (node = mr_list_shift(&s->dying))) {
		s->work += 7; /* for writing headers, and creating and routing a message */
		struct mr_entry *e = mr_container(node, struct mr_entry, node);
		struct mr_queue *q = e->from;
		if (s->backing) {
			post(q, e);
			continue;
		}
		send(q, e->message, reasons[e->why]);
		mr_queue_forget(q, e);
	}
}
