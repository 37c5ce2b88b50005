/* exchange: exchanges, bindings, and the routing of messages.
 * SPDX-License-Identifier: MIT */
#include "broker/store/exchange.h"

#include "base/alloc.h"
#include "broker/store/backing.h"
#include "broker/store/fields.h"
#include "broker/store/headers.h"

static const char *const type_names[] = {"direct", "fanout", "topic", "headers"};

const char *mr_exchange_type_name(enum mr_exchange_type type) { return type_names[type]; }

bool mr_exchange_type_of(mr_slice name, enum mr_exchange_type *out)
{
	for (int i = 0; i < 4; i++) {
		if (!mr_slice_equal(name, mr_slice_str(type_names[i]))) continue;
		*out = (enum mr_exchange_type)i;
		return true;
	}
	return false;
}

static mr_slice id_of(const void *binding)
{
	const struct mr_binding *b = binding;
	return mr_slice_of(b->id, b->id_size);
}

static mr_slice key_of(const void *of)
{
	const struct mr_leaf *leaf = of;
	return mr_slice_of(leaf->key, leaf->size);
}

struct mr_exchange *mr_exchange_new(mr_slice name, enum mr_exchange_type type, mr_slice arguments,
	char *alternate)
{
	struct mr_exchange *x = mr_calloc(1, sizeof *x);
	char *copy = mr_strdup_n(name.data, name.size);
	if (!x || !copy || mr_fields_copy(arguments, &x->arguments) != MR_OK) {
		mr_free(alternate);
		mr_free(copy);
		mr_free(x);
		return NULL;
	}
	x->name = copy;
	x->type = type;
	x->alternate = alternate;
	mr_route_target(&x->target, NULL, x);
	mr_list_init(&x->bindings);
	x->known.name_of = id_of;
	x->leaves.name_of = key_of;
	return x;
}

size_t mr_exchange_weight(const struct mr_exchange *x)
{
	return sizeof *x + strlen(x->name) + x->arguments.size;
}

void mr_exchange_free(struct mr_exchange *x)
{
	if (!x) return;
	if (x->store) mr_store_razed(x->store, mr_exchange_weight(x));
	while (!mr_list_is_empty(&x->bindings))
		mr_exchange_unbind(mr_container(x->bindings.next, struct mr_binding, at_source));
	while (!mr_list_is_empty(&x->target.inbound))
		mr_exchange_unbind(
			mr_container(x->target.inbound.next, struct mr_binding, at_target));
	mr_map_fini(&x->known);
	mr_map_fini(&x->leaves);
	mr_topic_free(x->root);
	mr_free((void *)(uintptr_t)x->arguments.data);
	mr_free(x->alternate);
	mr_free(x->name);
	mr_free(x);
}

/* ---- leaves: the bindings of a key, where one key leads somewhere ---- */

static bool has_leaves(const struct mr_exchange *x)
{
	return x->type == MR_X_DIRECT || x->type == MR_X_TOPIC;
}

static struct mr_leaf *get_leaf(struct mr_exchange *x, mr_slice key)
{
	if (x->type == MR_X_TOPIC) return mr_topic_add(&x->root, key);
	struct mr_leaf *leaf = mr_map_get_named(&x->leaves, key);
	if (leaf) return leaf;
	leaf = mr_calloc(1, sizeof *leaf + key.size);
	if (!leaf) return NULL;
	mr_list_init(&leaf->head);
	leaf->size = (uint32_t)key.size;
	if (key.size) memcpy(leaf->key, key.data, key.size);
	if (mr_map_put_named(&x->leaves, leaf) == MR_OK) return leaf;
	mr_free(leaf);
	return NULL;
}

static void put_leaf(struct mr_exchange *x, struct mr_leaf *leaf)
{
	if (leaf->count) return;
	if (x->type == MR_X_TOPIC) {
		mr_topic_remove(&x->root, key_of(leaf));
		return;
	}
	mr_map_take_named(&x->leaves, key_of(leaf));
	mr_free(leaf);
}

/* ---- bindings ---- */

static char *append(char *at, const void *data, size_t size)
{
	if (size) memcpy(at, data, size);
	return at + size;
}

/* *gives* a binding that is not in effect yet; NULL if out of memory. */
static struct mr_binding *describe(struct mr_exchange *source, struct mr_target *target,
	mr_slice key, mr_slice arguments)
{
	mr_slice sorted;
	uint8_t key_size = (uint8_t)key.size;
	if (mr_fields_sorted(arguments, &sorted) != MR_OK) return NULL;
	size_t size = sizeof target + 1 + key.size + sorted.size;
	struct mr_binding *b = mr_malloc(sizeof *b + size);
	if (b) {
		*b = (struct mr_binding){.source = source, .target = target, .id_size = size};
		char *at = append(append(b->id, &target, sizeof target), &key_size, 1);
		b->key = mr_slice_of(at, key.size);
		at = append(at, key.data, key.size);
		b->arguments = mr_slice_of(at, sorted.size);
		append(at, sorted.data, sorted.size);
	}
	mr_free((void *)(uintptr_t)sorted.data);
	return b;
}

enum mr_status mr_exchange_find_binding(struct mr_exchange *source, struct mr_target *target,
	mr_slice key, mr_slice arguments, struct mr_binding **out)
{
	struct mr_binding *like = describe(source, target, key, arguments);
	if (!like) return MR_NO_MEMORY;
	*out = mr_map_get_named(&source->known, id_of(like));
	mr_free(like);
	return MR_OK;
}

#define PLACE 64 /* bytes, approximately, of a binding in the table of all bindings */

/* A key may be shared; the nodes of a topic pattern take more memory than the key. */
static size_t weight_of(const struct mr_binding *b)
{
	size_t leaf = b->leaf ? sizeof *b->leaf + b->leaf->size : 0;
	return sizeof *b + b->id_size + leaf + PLACE;
}

static void enforce(struct mr_binding *b)
{
	mr_list_append(&b->source->bindings, &b->at_source);
	mr_list_append(&b->target->inbound, &b->at_target);
	if (b->leaf) {
		mr_list_append(&b->leaf->head, &b->at_leaf);
		b->leaf->count++;
	}
	if (b->source->store) mr_store_built(b->source->store, weight_of(b));
	b->source->binding_count++;
	b->target->inbound_count++;
}

enum mr_status mr_exchange_bind(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments)
{
	struct mr_binding *b = describe(source, target, key, arguments);
	if (!b) return MR_NO_MEMORY;
	if (mr_map_get_named(&source->known, id_of(b))) {
		mr_free(b);
		return MR_OK;
	}
	bool ok = mr_map_put_named(&source->known, b) == MR_OK;
	if (ok && has_leaves(source)) {
		b->leaf = get_leaf(source, key);
		ok = b->leaf != NULL;
		if (!ok) mr_map_take_named(&source->known, id_of(b));
	}
	if (ok)
		enforce(b);
	else
		mr_free(b);
	return ok ? MR_OK : MR_NO_MEMORY;
}

void mr_exchange_unbind(struct mr_binding *b)
{
	struct mr_exchange *x = b->source;
	struct mr_backing *backing = x->store ? x->store->backing : NULL;
	if (b->is_noted && backing) backing->class->unbound(backing, b);
	if (x->store) mr_store_razed(x->store, weight_of(b));
	mr_map_take_named(&x->known, id_of(b));
	mr_list_remove(&b->at_source);
	mr_list_remove(&b->at_target);
	x->binding_count--;
	b->target->inbound_count--;
	if (b->leaf) {
		mr_list_remove(&b->at_leaf);
		b->leaf->count--;
		put_leaf(x, b->leaf);
	}
	mr_free(b);
}

/* ---- routing ---- */

struct walk {
	const struct mr_addresses *to;
	struct mr_route *route;
};

/* Exchanges are put in a list: a chain of thousands of them must not overflow the stack. */
static void follow(const struct walk *w, struct mr_target *target)
{
	struct mr_route *route = w->route;
	if (target->gone) return;
	route->matched++;
	route->steps++;
	if (target->queue) {
		mr_route_add(route, target->queue, target);
	} else if (target->mark != route->walk) {
		target->mark = route->walk; /* cycles end here */
		target->exchange->next = route->pending;
		route->pending = target->exchange;
	}
}

static void follow_leaf(void *owner, struct mr_leaf *leaf)
{
	for (struct mr_node *n = leaf->head.next; n != &leaf->head; n = n->next)
		follow(owner, mr_container(n, struct mr_binding, at_leaf)->target);
}

static void follow_all(const struct walk *w, const struct mr_exchange *x)
{
	for (struct mr_node *n = x->bindings.next; n != &x->bindings; n = n->next) {
		const struct mr_binding *b = mr_container(n, struct mr_binding, at_source);
		w->route->steps++;
		if (x->type == MR_X_FANOUT || mr_headers_match(b->arguments, w->to->headers))
			follow(w, b->target);
	}
}

static void follow_key(const struct walk *w, struct mr_exchange *x, mr_slice key)
{
	void *owner = (void *)(uintptr_t)w;
	if (x->type == MR_X_DIRECT) {
		struct mr_leaf *leaf = mr_map_get_named(&x->leaves, key);
		if (leaf) follow_leaf(owner, leaf);
	} else if (x->root && !mr_topic_match(x->root, key, follow_leaf, owner)) {
		w->route->failed = true;
	}
}

/* Routes by the keys of CC or BCC: other values in such a list are ignored. */
static void follow_list(const struct walk *w, struct mr_exchange *x, mr_slice list)
{
	struct mr_walk keys = mr_walk_array(list);
	struct mr_walk_field f;
	while (mr_walk_next(&keys, &f))
		if (f.type == 'S') follow_key(w, x, mr_walk_text(&f));
}

static void route_one(const struct walk *w, struct mr_exchange *x)
{
	w->route->matched = 0;
	if (x->type == MR_X_FANOUT || x->type == MR_X_HEADERS) {
		follow_all(w, x);
	} else {
		follow_key(w, x, w->to->key);
		follow_list(w, x, w->to->cc);
		follow_list(w, x, w->to->bcc);
	}
	if (w->route->matched || !x->alternate) return;
	struct mr_exchange *alternate =
		mr_map_get_named(w->route->exchanges, mr_slice_str(x->alternate));
	if (alternate) follow(w, &alternate->target);
}

void mr_exchange_route(struct mr_exchange *x, const struct mr_addresses *to, struct mr_route *route)
{
	struct walk w = {to, route};
	route->walk = ++route->last;
	follow(&w, &x->target);
	while (route->pending) {
		struct mr_exchange *next = route->pending;
		route->pending = next->next;
		route_one(&w, next);
	}
}
