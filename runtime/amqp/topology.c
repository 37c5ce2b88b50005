/* topology: records what the program has declared, bound and consumed, for recovery.
 * SPDX-License-Identifier: MIT */
#include "amqp/topology.h"

#include <stdio.h>

#include "base/alloc.h"

void mr_topology_init(struct mr_topology *t)
{
	*t = (struct mr_topology){0};
	mr_list_init(&t->records);
}

void mr_topology_fini(struct mr_topology *t)
{
	struct mr_channel_record *c;
	size_t at = 0;
	while (t->records.next && !mr_list_is_empty(&t->records))
		mr_record_forget(t, mr_container(t->records.next, struct mr_record, node));
	while ((c = mr_map_next(&t->channels, &at, NULL))) mr_free(c);
	mr_map_fini(&t->channels);
	mr_bins_fini(&t->places);
	mr_bins_fini(&t->ids_of);
	mr_bins_fini(&t->keys);
	mr_bins_fini(&t->consumers);
}

/* ---- channels ---- */

enum mr_status mr_topology_channel(struct mr_topology *t, uint16_t number, uint32_t epoch)
{
	struct mr_channel_record *c = mr_record_of_channel(t, number);
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
	mr_list_init(&c->consumers);
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

struct mr_record *mr_topology_next_on(const struct mr_topology *t, uint16_t channel,
	const struct mr_record *after)
{
	struct mr_channel_record *c = mr_record_of_channel(t, channel);
	if (!c) return NULL;
	struct mr_node *n = after ? after->in_source.next : c->consumers.next;
	return n == &c->consumers ? NULL : mr_container(n, struct mr_record, in_source);
}

struct mr_record *mr_topology_next_of(const struct mr_topology *t, mr_slice queue,
	const struct mr_record *after)
{
	struct mr_place *p = mr_record_find_place(t, true, queue);
	if (!p) return NULL;
	struct mr_node *n = after ? after->in_place.next : p->consumers.next;
	return n == &p->consumers ? NULL : mr_container(n, struct mr_record, in_place);
}

struct mr_record *mr_topology_cancelled(struct mr_topology *t, uint32_t consumer)
{
	struct mr_record *r = mr_record_of_consumer(t, consumer);
	if (r) r->cancelled = true;
	return r;
}

bool mr_topology_has_consumers(const struct mr_topology *t, uint16_t channel)
{
	return mr_topology_next_on(t, channel, NULL) != NULL;
}

static struct mr_record *declared(const struct mr_topology *t, bool is_queue, mr_slice name)
{
	const struct mr_place *p = mr_record_find_place(t, is_queue, name);
	return p ? p->declared : NULL;
}

/* ---- removing, and what goes with it ---- */

static void drop_exchange(struct mr_topology *t, const char *name);

/* In a binding NAME is the destination, EXTRA the source. */
static void drop_binding(struct mr_topology *t, struct mr_record *binding)
{
	char source[256];
	memcpy(source, binding->strings[MR_RECORD_EXTRA], sizeof source);
	mr_record_forget(t, binding);
	const struct mr_place *p = mr_record_find_place(t, false, mr_slice_str(source));
	if (!p || !p->declared || !mr_list_is_empty(&p->out_of)) return;
	if (p->declared->request.flags & MR_AUTO_DELETE) drop_exchange(t, source);
}

/* Drops the records of a place one at a time: dropping one may drop others, and the place
 * itself. */
static bool drop_one(struct mr_topology *t, bool is_queue, const char *name)
{
	struct mr_place *p = mr_record_find_place(t, is_queue, mr_slice_str(name));
	if (!p) return false;
	if (!mr_list_is_empty(&p->out_of))
		drop_binding(t, mr_container(p->out_of.next, struct mr_record, in_source));
	else if (!mr_list_is_empty(&p->into))
		drop_binding(t, mr_container(p->into.next, struct mr_record, in_place));
	else if (!mr_list_is_empty(&p->consumers))
		mr_record_forget(t, mr_container(p->consumers.next, struct mr_record, in_place));
	else
		return false;
	return true;
}

static void drop_place(struct mr_topology *t, bool is_queue, const char *name)
{
	char copy[256]; /* `name` may be in a record that is dropped */
	snprintf(copy, sizeof copy, "%s", name);
	struct mr_record *r = declared(t, is_queue, mr_slice_str(copy));
	if (r) mr_record_forget(t, r);
	while (drop_one(t, is_queue, copy)) {}
}

static void drop_exchange(struct mr_topology *t, const char *name) { drop_place(t, false, name); }

void mr_topology_cancel(struct mr_topology *t, struct mr_record *consumer)
{
	char queue[256];
	memcpy(queue, consumer->strings[MR_RECORD_NAME], sizeof queue);
	mr_record_forget(t, consumer);
	const struct mr_record *q = declared(t, true, mr_slice_str(queue));
	if (!q || !(q->request.flags & MR_AUTO_DELETE)) return;
	if (!mr_topology_next_of(t, mr_slice_str(queue), NULL))
		drop_place(t, true, queue); /* it is deleted with its last consumer */
}

void mr_topology_channel_closed(struct mr_topology *t, uint16_t number)
{
	struct mr_record *r;
	while ((r = mr_topology_next_on(t, number, NULL))) mr_topology_cancel(t, r);
	mr_free(mr_map_take(&t->channels, number));
}

/* ---- noting ---- */

static enum mr_status note_queue(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name)
{
	struct mr_channel_record *c = mr_record_of_channel(t, channel);
	char text[256];
	snprintf(text, sizeof text, "%.*s", (int)name.size, name.data);
	if (c) memcpy(c->last_queue, text, sizeof text);
	if (request->flags & (MR_PASSIVE | MR_UNRECORDED)) return MR_OK;
	struct mr_record *old = declared(t, true, mr_slice_str(text));
	if (old) return mr_record_replace(old, channel, request);
	enum mr_status st = mr_record_add(t, channel, request, name, request->extra);
	if (st == MR_OK && !request->name.size)
		mr_container(t->records.prev, struct mr_record, node)->server_named = true;
	return st;
}

static enum mr_status note_exchange(struct mr_topology *t, uint16_t channel,
	const mr_request *request)
{
	if (request->flags & (MR_PASSIVE | MR_UNRECORDED)) return MR_OK;
	struct mr_record *old = declared(t, false, request->name);
	if (old) return mr_record_replace(old, channel, request);
	return mr_record_add(t, channel, request, request->name, request->extra);
}

static enum mr_status note_binding(struct mr_topology *t, uint16_t channel,
	const mr_request *request, mr_slice name)
{
	bool binds = request->operation == MR_QUEUE_BIND || request->operation == MR_EXCHANGE_BIND;
	bool of_queue =
		request->operation == MR_QUEUE_BIND || request->operation == MR_QUEUE_UNBIND;
	struct mr_record *old =
		mr_record_binding(t, of_queue ? MR_QUEUE_BIND : MR_EXCHANGE_BIND, name, request);
	if (!binds && old) drop_binding(t, old);
	if (binds && old) return mr_record_replace(old, channel, request);
	return binds ? mr_record_add(t, channel, request, name, request->extra) : MR_OK;
}

/* A tag belongs to one consumer: the earlier one has ended. */
static enum mr_status note_consumer(struct mr_topology *t, uint16_t channel,
	const mr_request *request, mr_slice queue, mr_slice tag)
{
	struct mr_record *old = mr_record_tagged(t, channel, tag);
	if (old) mr_record_forget(t, old);
	return mr_record_add(t, channel, request, queue, tag);
}

static void note_mode(struct mr_topology *t, uint16_t channel, const mr_request *request)
{
	struct mr_channel_record *c = mr_record_of_channel(t, channel);
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
	struct mr_record *r = mr_record_tagged(t, channel, tag);
	if (r) mr_topology_cancel(t, r);
}

enum mr_status mr_topology_note(struct mr_topology *t, uint16_t channel, const mr_request *request,
	mr_slice name)
{
	const struct mr_channel_record *c = mr_record_of_channel(t, channel);
	char queue[256]; /* the queue that the request's name means */
	bool is_last = !request->name.size && c;
	snprintf(queue, sizeof queue, "%.*s", (int)request->name.size, request->name.data);
	if (is_last) memcpy(queue, c->last_queue, sizeof queue);
	switch (request->operation) {
	case MR_EXCHANGE_DECLARE: return note_exchange(t, channel, request);
	case MR_EXCHANGE_DELETE: drop_place(t, false, queue); return MR_OK;
	case MR_QUEUE_DECLARE: return note_queue(t, channel, request, name);
	case MR_QUEUE_DELETE: drop_place(t, true, queue); return MR_OK;
	case MR_QUEUE_BIND:
	case MR_QUEUE_UNBIND:
	case MR_EXCHANGE_BIND:
	case MR_EXCHANGE_UNBIND: return note_binding(t, channel, request, mr_slice_str(queue));
	case MR_BASIC_CONSUME: return note_consumer(t, channel, request, mr_slice_str(queue), name);
	case MR_BASIC_CANCEL: note_cancel(t, channel, request->extra); return MR_OK;
	default: note_mode(t, channel, request); return MR_OK;
	}
}

/* A record that refers to a queue, in any order; NULL: none. */
static struct mr_record *any_of(const struct mr_topology *t, mr_slice queue)
{
	struct mr_place *p = mr_record_find_place(t, true, queue);
	if (!p) return NULL;
	if (p->declared) return p->declared;
	if (!mr_list_is_empty(&p->into))
		return mr_container(p->into.next, struct mr_record, in_place);
	return mr_container(p->consumers.next, struct mr_record, in_place);
}

void mr_topology_rename(struct mr_topology *t, const char *old, mr_slice name)
{
	char from[256];
	struct mr_record *r;
	snprintf(from, sizeof from, "%s", old);
	if (mr_slice_equal(mr_slice_str(from), name)) return;
	while ((r = any_of(t, mr_slice_str(from)))) mr_record_rename(t, r, name);
	struct mr_channel_record *c;
	for (size_t at = 0; (c = mr_map_next(&t->channels, &at, NULL));)
		if (strcmp(c->last_queue, from) == 0)
			snprintf(c->last_queue, sizeof c->last_queue, "%.*s", (int)name.size,
				name.data);
}

void mr_topology_inherit(struct mr_topology *t, struct mr_topology *from)
{
	struct mr_node kept;
	mr_list_init(&kept);
	mr_list_splice(&kept, &t->records);
	while (!mr_list_is_empty(&from->records)) {
		struct mr_record *r = mr_container(from->records.next, struct mr_record, node);
		if (r->request.operation == MR_BASIC_CONSUME) {
			mr_record_forget(from, r);
			continue;
		}
		mr_record_unlist(from, r);
		if (mr_record_adopt(t, r)) mr_list_append(&t->records, &r->node);
	}
	mr_list_splice(&t->records, &kept);
}
