/* records: the records of a topology, and their indexes.
 * SPDX-License-Identifier: MIT */
#include "amqp/records.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/compare.h"
#include "base/hash.h"

struct mr_channel_record *mr_record_of_channel(const struct mr_topology *t, uint16_t number)
{
	return mr_map_get(&t->channels, number);
}

/* ---- places ---- */

static uint64_t hash_of_place(bool is_queue, mr_slice name)
{
	return mr_hash(is_queue ? 'q' : 'x', name);
}

struct mr_place *mr_record_find_place(const struct mr_topology *t, bool is_queue, mr_slice name)
{
	uint64_t hash = hash_of_place(is_queue, name);
	struct mr_bin_node *at = NULL;
	while ((at = mr_bins_next(&t->places, hash, at))) {
		struct mr_place *p = mr_container(at, struct mr_place, by_name);
		if (p->is_queue == is_queue && mr_slice_equal(mr_slice_str(p->name), name))
			return p;
	}
	return NULL;
}

static struct mr_place *make_place(struct mr_topology *t, bool is_queue, mr_slice name)
{
	struct mr_place *p = mr_record_find_place(t, is_queue, name);
	if (p) return p;
	p = mr_calloc(1, sizeof *p + name.size + 1);
	if (!p) return NULL;
	p->is_queue = is_queue;
	if (name.size) memcpy(p->name, name.data, name.size);
	mr_list_init(&p->into);
	mr_list_init(&p->out_of);
	mr_list_init(&p->consumers);
	if (mr_bins_put(&t->places, &p->by_name, hash_of_place(is_queue, name)) == MR_OK) return p;
	mr_free(p);
	return NULL;
}

static void leave_place(struct mr_topology *t, struct mr_place *p)
{
	bool is_empty = p && !p->declared && mr_list_is_empty(&p->into) &&
	                mr_list_is_empty(&p->out_of) && mr_list_is_empty(&p->consumers);
	if (!is_empty) return;
	mr_bins_take(&t->places, &p->by_name);
	mr_free(p);
}

/* ---- in and out of the ways to find a record ---- */

static bool is_binding(const struct mr_record *r)
{
	return r->request.operation == MR_QUEUE_BIND || r->request.operation == MR_EXCHANGE_BIND;
}

static bool is_declare(const struct mr_record *r)
{
	return r->request.operation == MR_QUEUE_DECLARE ||
	       r->request.operation == MR_EXCHANGE_DECLARE;
}

static bool speaks_of_queue(int operation)
{
	return operation != MR_EXCHANGE_DECLARE && operation != MR_EXCHANGE_BIND;
}

static uint64_t key_of_binding(int operation, mr_slice name, const mr_request *request)
{
	uint64_t h = mr_hash((uint64_t)operation + mr_table_hash(request->arguments), name);
	return mr_hash(mr_hash(h, request->extra), request->routing_key);
}

static uint64_t key_of_tag(uint16_t channel, mr_slice tag) { return mr_hash(channel, tag); }

static void hang(struct mr_topology *t, struct mr_record *r)
{
	struct mr_channel_record *c = mr_record_of_channel(t, r->channel);
	if (is_declare(r)) {
		r->place->declared = r;
		r->place->awaited_in = 0;
	} else if (is_binding(r)) {
		mr_list_append(&r->place->into, &r->in_place);
		mr_list_append(&r->source->out_of, &r->in_source);
	} else {
		mr_list_append(&r->place->consumers, &r->in_place);
		if (c) mr_list_append(&c->consumers, &r->in_source);
	}
}

static void unhang(struct mr_topology *t, struct mr_record *r)
{
	mr_bins_take(&t->ids_of, &r->by_id);
	mr_bins_take(&t->keys, &r->by_key);
	mr_bins_take(&t->consumers, &r->by_number);
	mr_list_remove(&r->in_place);
	mr_list_remove(&r->in_source);
	if (r->place && r->place->declared == r) r->place->declared = NULL;
	leave_place(t, r->place);
	if (r->source != r->place) leave_place(t, r->source);
	r->place = r->source = NULL;
}

static void refer(struct mr_record *r)
{
	r->request.name = mr_slice_str(r->strings[MR_RECORD_NAME]);
	r->request.extra = mr_slice_str(r->strings[MR_RECORD_EXTRA]);
	r->request.routing_key = mr_slice_str(r->strings[MR_RECORD_KEY]);
}

/* Adds it to all indexes. */
static enum mr_status index_record(struct mr_topology *t, struct mr_record *r)
{
	const mr_request *q = &r->request;
	enum mr_status st = MR_NO_MEMORY;
	refer(r);
	r->place = make_place(t, speaks_of_queue(q->operation), q->name);
	if (is_binding(r)) r->source = make_place(t, false, q->extra);
	if (r->place && (r->source || !is_binding(r)))
		st = mr_bins_put(&t->ids_of, &r->by_id, r->id);
	if (st == MR_OK && is_binding(r))
		st = mr_bins_put(&t->keys, &r->by_key, key_of_binding(q->operation, q->name, q));
	if (st == MR_OK && q->operation == MR_BASIC_CONSUME)
		st = mr_bins_put(&t->keys, &r->by_key, key_of_tag(r->channel, q->extra));
	if (st == MR_OK && q->operation == MR_BASIC_CONSUME)
		st = mr_bins_put(&t->consumers, &r->by_number, q->number);
	if (st == MR_OK)
		hang(t, r);
	else
		unhang(t, r);
	return st;
}

void mr_record_unlist(struct mr_topology *t, struct mr_record *r)
{
	unhang(t, r);
	mr_list_remove(&r->node);
}

void mr_record_forget(struct mr_topology *t, struct mr_record *r)
{
	mr_record_unlist(t, r);
	mr_table_free(r->request.arguments);
	mr_free(r->blame);
	mr_free(r);
}

/* ---- making and changing ---- */

static void put_string(struct mr_record *r, int which, mr_slice text)
{
	size_t size = text.size < 255 ? text.size : 255;
	if (size) memcpy(r->strings[which], text.data, size);
	r->strings[which][size] = '\0';
}

enum mr_status mr_record_add(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name, mr_slice extra)
{
	struct mr_record *r = mr_calloc(1, sizeof *r);
	mr_table *arguments = request->arguments ? mr_table_copy(request->arguments) : NULL;
	enum mr_status st = MR_NO_MEMORY;
	if (r && (arguments || !request->arguments)) {
		r->id = ++t->ids;
		r->channel = channel;
		r->request = *request;
		r->request.arguments = arguments;
		put_string(r, MR_RECORD_NAME, name);
		put_string(r, MR_RECORD_EXTRA, extra);
		put_string(r, MR_RECORD_KEY, request->routing_key);
		st = index_record(t, r);
	}
	if (st == MR_OK) {
		mr_list_append(&t->records, &r->node);
		return MR_OK;
	}
	mr_table_free(arguments);
	mr_free(r);
	return st;
}

enum mr_status mr_record_replace(struct mr_record *r, uint16_t channel, const mr_request *request)
{
	mr_table *arguments = request->arguments ? mr_table_copy(request->arguments) : NULL;
	if (request->arguments && !arguments) return MR_NO_MEMORY;
	mr_table_free(r->request.arguments);
	r->request.arguments = arguments;
	r->request.flags = request->flags;
	r->channel = channel;
	r->costs = 0;
	put_string(r, MR_RECORD_EXTRA, request->extra);
	refer(r);
	return MR_OK;
}

bool mr_record_rename(struct mr_topology *t, struct mr_record *r, mr_slice name)
{
	bool key_too = r->request.operation == MR_QUEUE_BIND &&
	               mr_slice_equal(r->request.routing_key, r->request.name);
	unhang(t, r);
	put_string(r, MR_RECORD_NAME, name);
	if (key_too) put_string(r, MR_RECORD_KEY, name);
	if (index_record(t, r) == MR_OK) return true;
	mr_record_forget(t, r);
	return false;
}

static bool is_known(const struct mr_topology *t, const struct mr_record *r)
{
	const mr_request *q = &r->request;
	if (is_binding(r)) return mr_record_binding(t, q->operation, q->name, q) != NULL;
	const struct mr_place *p = mr_record_find_place(t, speaks_of_queue(q->operation), q->name);
	return p && p->declared;
}

bool mr_record_adopt(struct mr_topology *t, struct mr_record *r)
{
	r->id = ++t->ids;
	if (!is_known(t, r) && index_record(t, r) == MR_OK) return true;
	mr_table_free(r->request.arguments);
	mr_free(r->blame);
	mr_free(r);
	return false;
}

/* ---- finding ---- */

struct mr_record *mr_record_binding(const struct mr_topology *t, int operation, mr_slice name,
	const mr_request *request)
{
	uint64_t key = key_of_binding(operation, name, request);
	struct mr_bin_node *at = NULL;
	while ((at = mr_bins_next(&t->keys, key, at))) {
		struct mr_record *r = mr_container(at, struct mr_record, by_key);
		const mr_request *q = &r->request;
		if (q->operation == operation && mr_slice_equal(q->name, name) &&
			mr_slice_equal(q->extra, request->extra) &&
			mr_slice_equal(q->routing_key, request->routing_key) &&
			mr_table_same(q->arguments, request->arguments))
			return r;
	}
	return NULL;
}

struct mr_record *mr_record_tagged(const struct mr_topology *t, uint16_t channel, mr_slice tag)
{
	struct mr_bin_node *at = NULL;
	while ((at = mr_bins_next(&t->keys, key_of_tag(channel, tag), at))) {
		struct mr_record *r = mr_container(at, struct mr_record, by_key);
		if (r->request.operation == MR_BASIC_CONSUME && r->channel == channel &&
			mr_slice_equal(r->request.extra, tag))
			return r;
	}
	return NULL;
}

struct mr_record *mr_record_of_consumer(struct mr_topology *t, uint32_t consumer)
{
	struct mr_bin_node *at = mr_bins_next(&t->consumers, consumer, NULL);
	return at ? mr_container(at, struct mr_record, by_number) : NULL;
}

void mr_record_await(const struct mr_record *r, uint32_t plan)
{
	if (is_declare(r)) r->place->awaited_in = plan;
}

static bool is_awaited(const struct mr_place *p, uint32_t plan)
{
	return p && p->declared && plan && p->awaited_in == plan;
}

bool mr_record_awaits(const struct mr_record *r, uint32_t plan)
{
	return !is_declare(r) && (is_awaited(r->place, plan) || is_awaited(r->source, plan));
}

static const char *noun_of(const struct mr_place *p) { return p->is_queue ? "queue" : "exchange"; }

/* RabbitMQ: "NOT_FOUND - no exchange 'x' in vhost '/'". */
static bool is_about(const char *text, const struct mr_place *p)
{
	char words[300];
	snprintf(words, sizeof words, "no %s '%s' ", noun_of(p), p->name);
	return strstr(text, words) != NULL;
}

void mr_record_missed(const struct mr_record *r, uint32_t plan, const char *text)
{
	if (is_declare(r)) return;
	if (is_about(text, r->place)) r->place->missing_in = plan;
	if (r->source && is_about(text, r->source)) r->source->missing_in = plan;
}

void mr_record_found(const struct mr_record *r) { r->place->missing_in = 0; }

const char *mr_record_missing(const struct mr_record *r, uint32_t since, const char **name)
{
	const struct mr_place *p = NULL;
	if (r->place->missing_in >= since) p = r->place;
	if (r->source && r->source->missing_in >= since) p = r->source;
	if (!p || is_declare(r)) return NULL;
	*name = p->name;
	return noun_of(p);
}

struct mr_record *mr_record_by_id(const struct mr_topology *t, uint64_t id)
{
	struct mr_bin_node *at = mr_bins_next(&t->ids_of, id, NULL);
	return at ? mr_container(at, struct mr_record, by_id) : NULL;
}
