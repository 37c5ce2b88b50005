/* vhost: a virtual host: the names of exchanges and queues.
 * SPDX-License-Identifier: MIT */
#include "broker/store/vhost.h"

#include "base/alloc.h"
#include "broker/store/deadline.h"

/* ---- names ---- */

static bool predeclare(struct mr_vhost *v, const char *name, enum mr_exchange_type type)
{
	struct mr_exchange *x = mr_exchange_new(mr_slice_str(name), type, (mr_slice){0}, NULL);
	if (!x) return false;
	x->durable = true;
	x->internal = strcmp(name, "amq.rabbitmq.trace") == 0;
	return mr_vhost_add_exchange(v, x) == MR_OK;
}

static mr_slice name_of_exchange(const void *x)
{
	return mr_slice_str(((const struct mr_exchange *)x)->name);
}

static mr_slice name_of_queue(const void *q) { return mr_queue_name(q); }

struct mr_vhost *mr_vhost_new(struct mr_store *s, mr_slice name)
{
	struct mr_vhost *v = mr_calloc(1, sizeof *v);
	if (!v) return NULL;
	v->store = s;
	v->exchanges.name_of = name_of_exchange;
	v->queues.name_of = name_of_queue;
	v->name = mr_strdup_n(name.data, name.size);
	if (v->name && predeclare(v, "", MR_X_DIRECT) && predeclare(v, "amq.direct", MR_X_DIRECT) &&
		predeclare(v, "amq.fanout", MR_X_FANOUT) &&
		predeclare(v, "amq.topic", MR_X_TOPIC) &&
		predeclare(v, "amq.headers", MR_X_HEADERS) &&
		predeclare(v, "amq.match", MR_X_HEADERS) &&
		predeclare(v, "amq.rabbitmq.trace", MR_X_TOPIC)) {
		v->nameless = mr_vhost_exchange(v, mr_slice_str(""));
		return v;
	}
	mr_vhost_free(v);
	return NULL;
}

void mr_vhost_free(struct mr_vhost *v)
{
	void *item;
	size_t at = 0;
	if (!v) return;
	while ((item = mr_map_next(&v->exchanges, &at, NULL))) mr_exchange_free(item);
	mr_map_fini(&v->queues);
	mr_map_fini(&v->exchanges);
	mr_free(v->name);
	mr_free(v);
}

struct mr_exchange *mr_vhost_exchange(const struct mr_vhost *v, mr_slice name)
{
	return mr_map_get_named(&v->exchanges, name);
}

struct mr_queue *mr_vhost_queue(const struct mr_vhost *v, mr_slice name)
{
	return mr_map_get_named(&v->queues, name);
}

enum mr_status mr_vhost_add_exchange(struct mr_vhost *v, struct mr_exchange *x)
{
	x->store = v->store;
	x->vhost = v;
	mr_store_built(v->store, mr_exchange_weight(x));
	enum mr_status st = mr_map_put_named(&v->exchanges, x);
	if (st != MR_OK) mr_exchange_free(x);
	return st;
}

enum mr_status mr_vhost_add_queue(struct mr_vhost *v, struct mr_queue *q)
{
	q->vhost = v;
	enum mr_status st = mr_map_put_named(&v->queues, q);
	if (st == MR_OK) {
		st = mr_exchange_bind(v->nameless, &q->target, mr_queue_name(q), (mr_slice){0});
		if (st != MR_OK) mr_map_take_named(&v->queues, mr_queue_name(q));
	}
	if (st == MR_OK) {
		mr_deadline_renew(q);
	} else {
		mr_list_remove(&q->at_owner);
		mr_queue_free(q);
	}
	return st;
}

/* ---- publishing ---- */

enum mr_status mr_vhost_route(struct mr_vhost *v, struct mr_exchange *x, const struct mr_message *m)
{
	struct mr_route *route = &v->store->route;
	struct mr_addresses to = mr_message_addresses(m);
	mr_route_begin(route);
	route->exchanges = &v->exchanges;
	route->steps = 0;
	mr_exchange_route(x, &to, route);
	v->store->work += route->steps / 4;
	return route->failed ? MR_NO_MEMORY : MR_OK;
}
