/* death: what becomes of a message that expired, was rejected or did not fit.
 * SPDX-License-Identifier: MIT
 * The x-death header is RabbitMQ's (rabbit_dead_letter.erl): one table for each queue and reason,
 * the latest first. */
#include "broker/death.h"

#include <stdio.h>
#include <time.h>

#include "base/alloc.h"

static const char *const reasons[] = {"expired", "rejected", "maxlen"};

struct death { /* one event, while the new headers are made */
	const struct mr_queue *queue;
	const struct mr_message *message;
	const mr_properties *properties;
	const char *reason;
};

static bool is_string(const mr_table *table, const char *key, mr_slice text)
{
	const mr_value *v = mr_table_find(table, key);
	return v && v->type == 'S' && mr_slice_equal(v->as.bytes, text);
}

static bool is_same_death(const mr_value *v, const struct death *d)
{
	return v->type == 'F' && is_string(v->as.nested, "queue", mr_queue_name(d->queue)) &&
	       is_string(v->as.nested, "reason", mr_slice_str(d->reason));
}

static const mr_table *old_deaths(const mr_properties *p)
{
	const mr_value *v = p->headers ? mr_table_find(p->headers, "x-death") : NULL;
	return v && v->type == 'A' ? v->as.nested : NULL;
}

static bool add_value(mr_table *t, const char *key, uint8_t type, uint64_t number)
{
	mr_value v = {.type = type, .as.natural = number};
	return mr_table_add(t, key, strlen(key), &v) == MR_OK;
}

/* The routing keys it was published with: its own and CC's. */
static bool add_keys(mr_table *entry, const struct death *d)
{
	mr_table *keys = mr_table_nest(entry, "routing-keys", 12, 'A');
	const mr_value *cc =
		d->properties->headers ? mr_table_find(d->properties->headers, "CC") : NULL;
	if (!keys || mr_table_add_string(keys, "", mr_message_key(d->message)) != MR_OK)
		return false;
	for (uint32_t i = 0; cc && cc->type == 'A' && i < cc->as.nested->count; i++)
		if (mr_table_add_copy(keys, &cc->as.nested->fields[i]) != MR_OK) return false;
	return true;
}

static bool add_death(mr_table *deaths, const struct death *d)
{
	mr_table *e = mr_table_nest(deaths, "", 0, 'F');
	const mr_properties *p = d->properties;
	bool ok = e && add_value(e, "count", 'l', 1) &&
	          mr_table_add_string(e, "reason", mr_slice_str(d->reason)) == MR_OK &&
	          mr_table_add_string(e, "queue", mr_queue_name(d->queue)) == MR_OK &&
	          add_value(e, "time", 'T', (uint64_t)time(NULL)) &&
	          mr_table_add_string(e, "exchange", mr_message_exchange(d->message)) == MR_OK &&
	          add_keys(e, d);
	if (!ok || !(p->flags & MR_HAS_EXPIRATION)) return ok;
	return mr_table_add_string(e, "original-expiration", p->expiration) == MR_OK;
}

/* The same death again: counted, and first in the list. */
static bool add_again(mr_table *deaths, const mr_field *old)
{
	if (mr_table_add_copy(deaths, old) != MR_OK) return false;
	mr_table *e = deaths->fields[deaths->count - 1].value.as.nested;
	for (uint32_t i = 0; i < e->count; i++)
		if (e->fields[i].value.type == 'l' &&
			mr_slice_equal(e->fields[i].key, mr_slice_str("count")))
			e->fields[i].value.as.integer++;
	return true;
}

static bool add_deaths(mr_table *headers, const struct death *d)
{
	const mr_table *old = old_deaths(d->properties);
	mr_table *deaths = mr_table_nest(headers, "x-death", 7, 'A');
	const mr_field *same = NULL;
	if (!deaths) return false;
	for (uint32_t i = 0; old && !same && i < old->count; i++)
		if (is_same_death(&old->fields[i].value, d)) same = &old->fields[i];
	if (!(same ? add_again(deaths, same) : add_death(deaths, d))) return false;
	/* RabbitMQ turns the older ones round each time, and so do we. */
	for (uint32_t i = old ? old->count : 0; i-- > 0;)
		if (&old->fields[i] != same && mr_table_add_copy(deaths, &old->fields[i]) != MR_OK)
			return false;
	return true;
}

static bool add_first(mr_table *headers, const struct death *d)
{
	if (old_deaths(d->properties)) return true; /* it was not the first */
	return mr_table_add_string(headers, "x-first-death-reason", mr_slice_str(d->reason)) ==
	               MR_OK &&
	       mr_table_add_string(headers, "x-first-death-queue", mr_queue_name(d->queue)) ==
	               MR_OK &&
	       mr_table_add_string(headers, "x-first-death-exchange",
		       mr_message_exchange(d->message)) == MR_OK;
}

/* All headers but x-death, and CC and BCC when the dead-letter key takes their place. */
static mr_table *make_headers(const struct death *d)
{
	mr_table *headers = mr_table_new();
	const mr_table *old = d->properties->headers;
	bool has_key = d->queue->limits.dead_key.data != NULL;
	bool ok = headers != NULL;
	for (uint32_t i = 0; ok && old && i < old->count; i++) {
		mr_slice key = old->fields[i].key;
		bool is_cc = mr_slice_equal(key, mr_slice_str("CC")) ||
		             mr_slice_equal(key, mr_slice_str("BCC"));
		if (mr_slice_equal(key, mr_slice_str("x-death")) || (has_key && is_cc)) continue;
		ok = mr_table_add_copy(headers, &old->fields[i]) == MR_OK;
	}
	if (ok && add_deaths(headers, d) && add_first(headers, d)) return headers;
	mr_table_free(headers);
	return NULL;
}

/* *gives* the message as it is published to the dead-letter exchange; NULL: it cannot be made. */
static struct mr_message *make_letter(const struct mr_queue *q, const struct mr_message *m,
	const char *reason, mr_table **headers)
{
	mr_properties p = {0};
	if (mr_message_decode(m, &p) != MR_OK) return NULL;
	struct death d = {q, m, &p, reason};
	mr_table *fresh = make_headers(&d);
	mr_table_free(p.headers);
	if (!fresh) return NULL;
	p.headers = fresh;
	p.flags = (p.flags | MR_HAS_HEADERS) & ~(uint32_t)MR_HAS_EXPIRATION;
	mr_slice key = q->limits.dead_key.data ? q->limits.dead_key : mr_message_key(m);
	struct mr_message *letter = mr_message_with(m, q->limits.dead_exchange, key, &p);
	if (letter && q->limits.dead_key.data) letter->has_bcc = false;
	*headers = fresh;
	if (!letter) mr_table_free(fresh);
	return letter;
}

/* A queue that the message already died in, on a way without a rejection: it would go round for ever. */
static bool is_cycle(const mr_table *headers, const struct mr_queue *q)
{
	const mr_value *v = mr_table_find(headers, "x-death");
	for (uint32_t i = 0; i < v->as.nested->count; i++) {
		const mr_value *e = &v->as.nested->fields[i].value;
		if (e->type != 'F' || is_string(e->as.nested, "reason", mr_slice_str("rejected")))
			return false;
		if (is_string(e->as.nested, "queue", mr_queue_name(q))) return true;
	}
	return false;
}

static void drop_cycles(struct mr_route *route, const mr_table *headers)
{
	size_t kept = 0;
	for (size_t i = 0; i < route->count; i++)
		if (!is_cycle(headers, route->queues[i])) route->queues[kept++] = route->queues[i];
	route->count = kept;
}

static void send(struct mr_queue *q, struct mr_message *m, const char *reason)
{
	struct mr_vhost *v = q->vhost;
	struct mr_exchange *x = mr_vhost_exchange(v, q->limits.dead_exchange);
	mr_table *headers = NULL;
	struct mr_message *letter = x ? make_letter(q, m, reason, &headers) : NULL;
	if (!letter) return;
	mr_broker_grew(v->broker, mr_message_weight(letter));
	if (mr_vhost_route(v, x, letter) == MR_OK) {
		drop_cycles(&v->broker->route, headers);
		mr_vhost_enqueue(v, letter);
	}
	mr_broker_drop(v->broker, letter);
	mr_table_free(headers);
}

void mr_bury(struct mr_broker *b)
{
	struct mr_node *node;
	if (b->burying) return; /* those that a letter makes wait, however many, in the list */
	b->burying = true;
	while (!b->routing && (node = mr_list_shift(&b->dying))) {
		struct mr_entry *e = mr_container(node, struct mr_entry, node);
		struct mr_queue *q = e->from;
		send(q, e->message, reasons[e->why]);
		mr_vhost_forget(q, e);
	}
	b->burying = false;
}

void mr_die(struct mr_queue *q, struct mr_entry *e, enum mr_death why)
{
	struct mr_broker *b = q->vhost->broker;
	if (q->deleted || !q->limits.dead_exchange.data) {
		mr_vhost_forget(q, e);
		return;
	}
	e->from = q;
	e->why = (uint8_t)why;
	mr_list_append(&b->dying, &e->node);
	mr_bury(b);
}

void mr_die_unborn(struct mr_queue *q, struct mr_message *m)
{
	struct mr_entry *e = q->limits.dead_exchange.data ? mr_calloc(1, sizeof *e) : NULL;
	if (!e) return; /* without memory it is lost as if there were no dead-letter exchange */
	e->message = mr_message_keep(m);
	mr_broker_grew(q->vhost->broker, sizeof *e);
	q->out++;
	mr_die(q, e, MR_DEATH_MAXLEN);
}
