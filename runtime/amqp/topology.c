/* topology: what the program has declared, bound and consumed, so that it can be made again.
 * SPDX-License-Identifier: MIT */
#include "amqp/topology.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/compare.h"

enum { NAME, EXTRA, KEY };

void mr_topology_init(struct mr_topology *t)
{
	*t = (struct mr_topology){0};
	mr_list_init(&t->records);
}

void mr_topology_forget(struct mr_topology *t, struct mr_record *r)
{
	(void)t;
	mr_list_remove(&r->node);
	mr_table_free(r->request.arguments);
	mr_free(r->blame);
	mr_free(r);
}

void mr_topology_fini(struct mr_topology *t)
{
	struct mr_channel_record *c;
	size_t at = 0;
	while (t->records.next && !mr_list_is_empty(&t->records))
		mr_topology_forget(t, mr_container(t->records.next, struct mr_record, node));
	while ((c = mr_map_next(&t->channels, &at, NULL))) mr_free(c);
	mr_map_fini(&t->channels);
}

/* ---- channels ---- */

struct mr_channel_record *mr_topology_channel_of(const struct mr_topology *t, uint16_t number)
{
	return mr_map_get(&t->channels, number);
}

enum mr_status mr_topology_channel(struct mr_topology *t, uint16_t number, uint32_t epoch)
{
	struct mr_channel_record *c = mr_topology_channel_of(t, number);
	if (c) {
		c->epoch = epoch;
		return MR_OK;
	}
	c = mr_calloc(1, sizeof *c);
	if (!c || mr_map_put(&t->channels, number, c) != MR_OK) {
		mr_free(c);
		return MR_NO_MEMORY;
	}
	c->number = number;
	c->epoch = epoch;
	return MR_OK;
}

/* ---- finding ---- */

struct mr_record *mr_topology_next(const struct mr_topology *t, int operation,
	const struct mr_record *after)
{
	const struct mr_node *n = after ? after->node.next : t->records.next;
	for (; n != &t->records; n = n->next) {
		struct mr_record *r =
			mr_container((struct mr_node *)(uintptr_t)n, struct mr_record, node);
		if (r->request.operation == operation) return r;
	}
	return NULL;
}

static struct mr_record *find(const struct mr_topology *t, int operation, const char *name)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, operation, r)))
		if (strcmp(r->strings[NAME], name) == 0) return r;
	return NULL;
}

struct mr_record *mr_topology_consumer(struct mr_topology *t, uint32_t consumer)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r)))
		if (r->request.number == consumer) return r;
	return NULL;
}

struct mr_record *mr_topology_cancelled(struct mr_topology *t, uint32_t consumer)
{
	struct mr_record *r = mr_topology_consumer(t, consumer);
	if (r) r->cancelled = true;
	return r;
}

struct mr_record *mr_topology_record(const struct mr_topology *t, uint64_t id)
{
	for (struct mr_node *n = t->records.next; n != &t->records; n = n->next) {
		struct mr_record *r = mr_container(n, struct mr_record, node);
		if (r->id == id) return r;
	}
	return NULL;
}

bool mr_topology_has_consumers(const struct mr_topology *t, uint16_t channel)
{
	const struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r)))
		if (r->channel == channel) return true;
	return false;
}

/* ---- removing, and what goes with it ---- */

static void drop_exchange(struct mr_topology *t, const char *name);

/* Of bindings NAME is what is bound, EXTRA the source. */
static bool has_bindings_from(const struct mr_topology *t, const char *source)
{
	static const int kinds[] = {MR_QUEUE_BIND, MR_EXCHANGE_BIND};
	for (int i = 0; i < 2; i++) {
		const struct mr_record *r = NULL;
		while ((r = mr_topology_next(t, kinds[i], r)))
			if (strcmp(r->strings[EXTRA], source) == 0) return true;
	}
	return false;
}

static void drop_binding(struct mr_topology *t, struct mr_record *binding)
{
	char source[256];
	memcpy(source, binding->strings[EXTRA], sizeof source);
	mr_topology_forget(t, binding);
	const struct mr_record *x = find(t, MR_EXCHANGE_DECLARE, source);
	if (x && x->request.flags & MR_AUTO_DELETE && !has_bindings_from(t, source))
		drop_exchange(t, source);
}

/* One at a time: dropping one may drop others. */
static bool drop_one(struct mr_topology *t, int operation, int which, const char *name)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, operation, r))) {
		if (strcmp(r->strings[which], name) != 0) continue;
		if (operation == MR_BASIC_CONSUME)
			mr_topology_forget(t, r);
		else
			drop_binding(t, r);
		return true;
	}
	return false;
}

static void drop_exchange(struct mr_topology *t, const char *name)
{
	char copy[256]; /* `name` may lie in a record that goes */
	snprintf(copy, sizeof copy, "%s", name);
	struct mr_record *x = find(t, MR_EXCHANGE_DECLARE, copy);
	if (x) mr_topology_forget(t, x);
	while (drop_one(t, MR_QUEUE_BIND, EXTRA, copy) ||
		drop_one(t, MR_EXCHANGE_BIND, EXTRA, copy) ||
		drop_one(t, MR_EXCHANGE_BIND, NAME, copy)) {}
}

static void drop_queue(struct mr_topology *t, const char *name)
{
	char copy[256];
	snprintf(copy, sizeof copy, "%s", name);
	struct mr_record *q = find(t, MR_QUEUE_DECLARE, copy);
	if (q) mr_topology_forget(t, q);
	while (drop_one(t, MR_QUEUE_BIND, NAME, copy) ||
		drop_one(t, MR_BASIC_CONSUME, NAME, copy)) {}
}

static void drop_consumer(struct mr_topology *t, struct mr_record *consumer)
{
	char queue[256];
	const struct mr_record *r = NULL;
	memcpy(queue, consumer->strings[NAME], sizeof queue);
	mr_topology_forget(t, consumer);
	const struct mr_record *q = find(t, MR_QUEUE_DECLARE, queue);
	if (!q || !(q->request.flags & MR_AUTO_DELETE)) return;
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r)))
		if (strcmp(r->strings[NAME], queue) == 0) return;
	drop_queue(t, queue); /* the last consumer takes it along */
}

void mr_topology_cancel(struct mr_topology *t, struct mr_record *consumer)
{
	drop_consumer(t, consumer);
}

void mr_topology_channel_closed(struct mr_topology *t, uint16_t number)
{
	struct mr_record *r = NULL;
	mr_free(mr_map_take(&t->channels, number));
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r))) {
		if (r->channel != number) continue;
		drop_consumer(t, r);
		r = NULL; /* others may have gone with it */
	}
}

/* ---- noting ---- */

static void put_string(struct mr_record *r, int which, mr_slice text)
{
	size_t size = text.size < 255 ? text.size : 255;
	if (size) memcpy(r->strings[which], text.data, size);
	r->strings[which][size] = '\0';
}

static void refer(struct mr_record *r)
{
	r->request.name = mr_slice_str(r->strings[NAME]);
	r->request.extra = mr_slice_str(r->strings[EXTRA]);
	r->request.routing_key = mr_slice_str(r->strings[KEY]);
}

static enum mr_status add(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name, mr_slice extra)
{
	struct mr_record *r = mr_calloc(1, sizeof *r);
	mr_table *arguments = request->arguments ? mr_table_copy(request->arguments) : NULL;
	if (!r || (request->arguments && !arguments)) {
		mr_table_free(arguments);
		mr_free(r);
		return MR_NO_MEMORY;
	}
	r->id = ++t->ids;
	r->channel = channel;
	r->request = *request;
	r->request.arguments = arguments;
	put_string(r, NAME, name);
	put_string(r, EXTRA, extra);
	put_string(r, KEY, request->routing_key);
	refer(r);
	mr_list_append(&t->records, &r->node);
	return MR_OK;
}

static struct mr_record *find_binding(const struct mr_topology *t, int operation, const char *name,
	const mr_request *request)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, operation, r)))
		if (strcmp(r->strings[NAME], name) == 0 &&
			mr_slice_equal(r->request.extra, request->extra) &&
			mr_slice_equal(r->request.routing_key, request->routing_key) &&
			mr_table_same(r->request.arguments, request->arguments))
			return r;
	return NULL;
}

static enum mr_status note_queue(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name)
{
	struct mr_channel_record *c = mr_topology_channel_of(t, channel);
	char text[256];
	snprintf(text, sizeof text, "%.*s", (int)name.size, name.data);
	if (c) memcpy(c->last_queue, text, sizeof text);
	if (request->flags & (MR_PASSIVE | MR_UNRECORDED)) return MR_OK;
	struct mr_record *old = find(t, MR_QUEUE_DECLARE, text);
	if (old) return MR_OK; /* the same again: its place is its first */
	enum mr_status st = add(t, channel, request, name, request->extra);
	if (st == MR_OK && !request->name.size)
		mr_container(t->records.prev, struct mr_record, node)->server_named = true;
	return st;
}

static enum mr_status note_binding(struct mr_topology *t, uint16_t channel,
	const mr_request *request, const char *name)
{
	bool binds = request->operation == MR_QUEUE_BIND || request->operation == MR_EXCHANGE_BIND;
	bool of_queue =
		request->operation == MR_QUEUE_BIND || request->operation == MR_QUEUE_UNBIND;
	struct mr_record *old =
		find_binding(t, of_queue ? MR_QUEUE_BIND : MR_EXCHANGE_BIND, name, request);
	if (!binds && old) drop_binding(t, old);
	if (!binds || old) return MR_OK;
	return add(t, channel, request, mr_slice_str(name), request->extra);
}

static void note_mode(struct mr_topology *t, uint16_t channel, const mr_request *request)
{
	struct mr_channel_record *c = mr_topology_channel_of(t, channel);
	if (!c) return;
	if (request->operation == MR_CONFIRM_SELECT) c->confirming = true;
	if (request->operation == MR_TX_SELECT) c->transacting = true;
	if (request->operation != MR_BASIC_QOS) return;
	if (request->flags & MR_GLOBAL) {
		c->has_global_qos = true;
		c->global_prefetch = request->number;
	} else {
		c->has_qos = true;
		c->prefetch = request->number;
	}
}

static void note_cancel(struct mr_topology *t, uint16_t channel, mr_slice tag)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r))) {
		if (r->channel != channel || !mr_slice_equal(r->request.extra, tag)) continue;
		drop_consumer(t, r);
		return;
	}
}

enum mr_status mr_topology_note(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name)
{
	const struct mr_channel_record *c = mr_topology_channel_of(t, channel);
	char queue[256]; /* what the request's name means */
	bool is_last = !request->name.size && c;
	snprintf(queue, sizeof queue, "%.*s", (int)request->name.size, request->name.data);
	if (is_last) memcpy(queue, c->last_queue, sizeof queue);
	switch (request->operation) {
	case MR_EXCHANGE_DECLARE:
		if (request->flags & (MR_PASSIVE | MR_UNRECORDED)) return MR_OK;
		if (find(t, MR_EXCHANGE_DECLARE, queue)) return MR_OK;
		return add(t, channel, request, request->name, request->extra);
	case MR_EXCHANGE_DELETE: drop_exchange(t, queue); return MR_OK;
	case MR_QUEUE_DECLARE: return note_queue(t, channel, request, name);
	case MR_QUEUE_DELETE: drop_queue(t, queue); return MR_OK;
	case MR_QUEUE_BIND:
	case MR_QUEUE_UNBIND:
	case MR_EXCHANGE_BIND:
	case MR_EXCHANGE_UNBIND: return note_binding(t, channel, request, queue);
	case MR_BASIC_CONSUME: return add(t, channel, request, mr_slice_str(queue), name);
	case MR_BASIC_CANCEL: note_cancel(t, channel, request->extra); return MR_OK;
	default: note_mode(t, channel, request); return MR_OK;
	}
}

void mr_topology_rename(struct mr_topology *t, const char *old, mr_slice name)
{
	char from[256];
	snprintf(from, sizeof from, "%s", old);
	for (struct mr_node *n = t->records.next; n != &t->records; n = n->next) {
		struct mr_record *r = mr_container(n, struct mr_record, node);
		int op = r->request.operation;
		bool names_queue =
			op == MR_QUEUE_DECLARE || op == MR_QUEUE_BIND || op == MR_BASIC_CONSUME;
		if (!names_queue || strcmp(r->strings[NAME], from) != 0) continue;
		bool key_too = op == MR_QUEUE_BIND && strcmp(r->strings[KEY], from) == 0;
		put_string(r, NAME, name);
		if (key_too) put_string(r, KEY, name);
		refer(r);
	}
	struct mr_channel_record *c;
	for (size_t at = 0; (c = mr_map_next(&t->channels, &at, NULL));)
		if (strcmp(c->last_queue, from) == 0)
			snprintf(c->last_queue, sizeof c->last_queue, "%.*s", (int)name.size,
				name.data);
}

void mr_topology_inherit(struct mr_topology *t, struct mr_topology *from)
{
	struct mr_node kept, *node;
	mr_list_init(&kept);
	while ((node = mr_list_shift(&t->records))) mr_list_append(&kept, node);
	while ((node = mr_list_shift(&from->records))) {
		struct mr_record *r = mr_container(node, struct mr_record, node);
		if (r->request.operation == MR_BASIC_CONSUME) {
			mr_topology_forget(from, r);
			continue;
		}
		r->id = ++t->ids;
		mr_list_append(&t->records, &r->node);
	}
	while ((node = mr_list_shift(&kept))) mr_list_append(&t->records, node);
}
