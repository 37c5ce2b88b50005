/* exchange: exchanges and bindings, and where a message goes.
 * SPDX-License-Identifier: MIT */
#include "broker/exchange.h"

#include "base/alloc.h"
#include "broker/broker.h"
#include "broker/fields.h"
#include "broker/headers.h"
#include "broker/topic.h"

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

void mr_target_init(struct mr_target *t, struct mr_queue *queue, struct mr_exchange *exchange)
{
	*t = (struct mr_target){.queue = queue, .exchange = exchange};
	mr_list_init(&t->inbound);
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
	mr_target_init(&x->target, NULL, x);
	mr_list_init(&x->bindings);
	return x;
}

size_t mr_exchange_weight(const struct mr_exchange *x)
{
	return sizeof *x + strlen(x->name) + x->arguments.size;
}

void mr_exchange_free(struct mr_exchange *x)
{
	if (!x) return;
	if (x->broker) mr_broker_razed(x->broker, mr_exchange_weight(x));
	while (!mr_list_is_empty(&x->bindings))
		mr_unbind(mr_container(x->bindings.next, struct mr_binding, at_source));
	while (!mr_list_is_empty(&x->target.inbound))
		mr_unbind(mr_container(x->target.inbound.next, struct mr_binding, at_target));
	mr_dict_fini(&x->leaves);
	mr_topic_free(x->root);
	mr_free((void *)(uintptr_t)x->arguments.data);
	mr_free(x->alternate);
	mr_free(x->name);
	mr_free(x);
}

/* ---- leaves ---- */

static struct mr_leaf *new_leaf(mr_slice key)
{
	struct mr_leaf *leaf = mr_calloc(1, sizeof *leaf + key.size);
	if (!leaf) return NULL;
	mr_list_init(&leaf->head);
	leaf->size = (uint32_t)key.size;
	if (key.size) memcpy(leaf->key, key.data, key.size);
	return leaf;
}

static mr_slice key_of(const struct mr_leaf *leaf) { return mr_slice_of(leaf->key, leaf->size); }

/* The leaf of a key where one key has one leaf. */
static struct mr_leaf *find_leaf(const struct mr_exchange *x, mr_slice key)
{
	if (x->type == MR_X_DIRECT) return mr_dict_get(&x->leaves, key);
	return x->type == MR_X_TOPIC ? mr_topic_find(x->root, key) : NULL;
}

static struct mr_leaf *get_leaf(struct mr_exchange *x, mr_slice key)
{
	if (x->type == MR_X_TOPIC) return mr_topic_add(&x->root, key);
	struct mr_leaf *leaf = find_leaf(x, key);
	if (leaf) return leaf;
	leaf = new_leaf(key);
	if (leaf && x->type == MR_X_DIRECT &&
		mr_dict_put(&x->leaves, key_of(leaf), leaf) != MR_OK) {
		mr_free(leaf);
		return NULL;
	}
	return leaf;
}

static void put_leaf(struct mr_exchange *x, struct mr_leaf *leaf)
{
	if (leaf->count) return;
	if (x->type == MR_X_TOPIC) {
		mr_topic_remove(&x->root, key_of(leaf));
		return;
	}
	if (x->type == MR_X_DIRECT) mr_dict_take(&x->leaves, key_of(leaf));
	mr_free(leaf);
}

/* ---- bindings ---- */

static bool is_same(const struct mr_binding *b, const struct mr_exchange *source,
	const struct mr_target *target, mr_slice key, mr_slice arguments)
{
	return b->source == source && b->target == target && mr_slice_equal(key_of(b->leaf), key) &&
	       mr_slice_equal(b->arguments, arguments);
}

/* `arguments` in the order of their keys. */
static struct mr_binding *find_binding(struct mr_exchange *source, struct mr_target *target,
	mr_slice key, mr_slice arguments)
{
	struct mr_leaf *leaf = find_leaf(source, key);
	bool has_leaves = source->type == MR_X_DIRECT || source->type == MR_X_TOPIC;
	if (has_leaves && !leaf) return NULL;
	/* The shorter list of the two. */
	if (leaf && leaf->count < target->inbound_count) {
		for (struct mr_node *n = leaf->head.next; n != &leaf->head; n = n->next) {
			struct mr_binding *b = mr_container(n, struct mr_binding, at_leaf);
			if (is_same(b, source, target, key, arguments)) return b;
		}
		return NULL;
	}
	for (struct mr_node *n = target->inbound.next; n != &target->inbound; n = n->next) {
		struct mr_binding *b = mr_container(n, struct mr_binding, at_target);
		if (is_same(b, source, target, key, arguments)) return b;
	}
	return NULL;
}

static void free_bytes(mr_slice bytes) { mr_free((void *)(uintptr_t)bytes.data); }

enum mr_status mr_binding_find(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments, struct mr_binding **out)
{
	mr_slice sorted;
	enum mr_status st = mr_fields_sorted(arguments, &sorted);
	if (st != MR_OK) return st;
	*out = find_binding(source, target, key, sorted);
	free_bytes(sorted);
	return MR_OK;
}

/* A key may be shared; the words of a topic take more than it. */
static size_t weight_of(const struct mr_binding *b)
{
	return sizeof *b + sizeof *b->leaf + b->leaf->size + b->arguments.size;
}

enum mr_status mr_bind(struct mr_exchange *source, struct mr_target *target, mr_slice key,
	mr_slice arguments)
{
	mr_slice sorted;
	enum mr_status st = mr_fields_sorted(arguments, &sorted);
	if (st != MR_OK) return st;
	if (find_binding(source, target, key, sorted)) {
		free_bytes(sorted);
		return MR_OK;
	}
	struct mr_binding *b = mr_calloc(1, sizeof *b);
	struct mr_leaf *leaf = b ? get_leaf(source, key) : NULL;
	if (!leaf) {
		mr_free(b);
		free_bytes(sorted);
		return MR_NO_MEMORY;
	}
	b->source = source;
	b->target = target;
	b->leaf = leaf;
	b->arguments = sorted;
	mr_list_append(&source->bindings, &b->at_source);
	mr_list_append(&leaf->head, &b->at_leaf);
	mr_list_append(&target->inbound, &b->at_target);
	if (source->broker) mr_broker_built(source->broker, weight_of(b));
	source->binding_count++;
	leaf->count++;
	target->inbound_count++;
	return MR_OK;
}

void mr_unbind(struct mr_binding *b)
{
	if (b->source->broker) mr_broker_razed(b->source->broker, weight_of(b));
	mr_list_remove(&b->at_source);
	mr_list_remove(&b->at_leaf);
	mr_list_remove(&b->at_target);
	b->source->binding_count--;
	b->leaf->count--;
	b->target->inbound_count--;
	put_leaf(b->source, b->leaf);
	free_bytes(b->arguments);
	mr_free(b);
}

/* ---- routing ---- */

struct walk {
	const struct mr_addresses *to;
	struct mr_route *route;
};

void mr_route_begin(struct mr_route *route)
{
	route->count = 0;
	route->failed = false;
	route->mark = ++route->last;
}

void mr_route_add(struct mr_route *route, struct mr_queue *queue, struct mr_target *target)
{
	if (target->mark == route->mark) return;
	target->mark = route->mark;
	if (route->count == route->capacity) {
		size_t capacity = route->capacity ? route->capacity * 2 : 16;
		struct mr_queue **queues = mr_realloc(route->queues, capacity * sizeof *queues);
		if (!queues) {
			route->failed = true;
			return;
		}
		route->queues = queues;
		route->capacity = capacity;
	}
	route->queues[route->count++] = queue;
}

/* Exchanges wait in a list: a chain of thousands of them must not use up the stack. */
static void follow(const struct walk *w, struct mr_target *target)
{
	struct mr_route *route = w->route;
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
		struct mr_leaf *leaf = mr_dict_get(&x->leaves, key);
		if (leaf) follow_leaf(owner, leaf);
	} else if (x->root && !mr_topic_match(x->root, key, follow_leaf, owner)) {
		w->route->failed = true;
	}
}

/* The keys of CC or BCC: what else is in such a list leads nowhere. */
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
		mr_dict_get(w->route->exchanges, mr_slice_str(x->alternate));
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
