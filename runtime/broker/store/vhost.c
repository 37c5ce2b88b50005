/* vhost: a virtual host: the names of exchanges and queues, and a message's way into them.
 * SPDX-License-Identifier: MIT */
#include "broker/store/vhost.h"

#include "base/alloc.h"
#include "broker/client/channel.h"
#include "broker/client/consumer.h"
#include "broker/store/dead_letter.h"
#include "broker/store/spread.h"

#define FEW 32 /* queues that a message gets to in one turn, whatever the turn */

/* ---- names ---- */

static bool predeclare(struct mr_vhost *v, const char *name, enum mr_exchange_type type)
{
	struct mr_exchange *x = mr_exchange_new(mr_slice_str(name), type, (mr_slice){0}, NULL);
	if (!x) return false;
	x->durable = true;
	x->internal = strcmp(name, "amq.rabbitmq.trace") == 0;
	return mr_vhost_add_exchange(v, x) == MR_OK;
}

struct mr_vhost *mr_vhost_new(struct mr_broker *b, mr_slice name)
{
	struct mr_vhost *v = mr_calloc(1, sizeof *v);
	if (!v) return NULL;
	v->broker = b;
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
	while ((item = mr_dict_next(&v->queues, &at))) mr_vhost_remove_queue(item);
	for (at = 0; (item = mr_dict_next(&v->exchanges, &at));) mr_exchange_free(item);
	mr_dict_fini(&v->queues);
	mr_dict_fini(&v->exchanges);
	mr_free(v->name);
	mr_free(v);
}

struct mr_exchange *mr_vhost_exchange(const struct mr_vhost *v, mr_slice name)
{
	return mr_dict_get(&v->exchanges, name);
}

struct mr_queue *mr_vhost_queue(const struct mr_vhost *v, mr_slice name)
{
	return mr_dict_get(&v->queues, name);
}

enum mr_status mr_vhost_add_exchange(struct mr_vhost *v, struct mr_exchange *x)
{
	x->broker = v->broker;
	x->vhost = v;
	mr_broker_built(v->broker, mr_exchange_weight(x));
	enum mr_status st = mr_dict_put(&v->exchanges, mr_slice_str(x->name), x);
	if (st != MR_OK) mr_exchange_free(x);
	return st;
}

enum mr_status mr_vhost_add_queue(struct mr_vhost *v, struct mr_queue *q)
{
	enum mr_status st = mr_dict_put(&v->queues, mr_queue_name(q), q);
	if (st != MR_OK) {
		mr_list_remove(&q->at_owner);
		mr_queue_free(q);
		return st;
	}
	st = mr_bind(v->nameless, &q->target, mr_queue_name(q), (mr_slice){0});
	mr_vhost_queue_used(q);
	if (st != MR_OK) mr_vhost_remove_queue(q);
	return st;
}

/* ---- removal: the rest is in raze.c ---- */

void mr_vhost_unpin(struct mr_queue *q)
{
	if (--q->out == 0 && q->deleted) mr_queue_free(q);
}

void mr_vhost_purge(struct mr_queue *q)
{
	mr_queue_empty(q, &q->vhost->broker->garbage);
	mr_broker_sweep(q->vhost->broker);
}

void mr_vhost_forget(struct mr_queue *q, struct mr_entry *e)
{
	mr_broker_discard(q->vhost->broker, e);
	mr_vhost_unpin(q);
}

/* ---- what time and limits do ---- */

/* False: the turn is over; it is to be seen to again. */
static bool bury_one(struct mr_queue *q, struct mr_entry *e, enum mr_death why)
{
	struct mr_broker *b = q->vhost->broker;
	if (mr_broker_is_spent(b)) {
		mr_broker_is_busy(b, q);
		return false;
	}
	mr_queue_take(q, e);
	mr_dead_letter_die(q, e, why);
	return true;
}

static void bury_expired(struct mr_queue *q)
{
	struct mr_entry *e;
	while ((e = mr_queue_expired(q, q->vhost->broker->now)))
		if (!bury_one(q, e, MR_DEATH_EXPIRED)) return;
}

static void bury_surplus(struct mr_queue *q)
{
	struct mr_entry *e;
	while (q->limits.overflow == MR_DROP_HEAD && (e = mr_queue_surplus(q)))
		if (!bury_one(q, e, MR_DEATH_MAXLEN)) return;
}

void mr_vhost_queue_used(struct mr_queue *q)
{
	q->used = q->vhost->broker->now;
	mr_broker_schedule(q->vhost->broker, q);
}

/* A message whose time to live is 0 still goes to a consumer that waits for it, so delivery comes
 * before expiry only for what is not due yet: RabbitMQ drops it unless it can be handed on at once. */
void mr_vhost_queue_moved(struct mr_queue *q) { mr_vhost_queue_step(q, SIZE_MAX); }

void mr_vhost_queue_step(struct mr_queue *q, size_t most)
{
	if (q->deleted) return;
	bury_expired(q);
	mr_queue_pump(q, false, most);
	bury_surplus(q);
	mr_broker_schedule(q->vhost->broker, q);
}

void mr_vhost_queue_back(struct mr_queue *q)
{
	if (q->deleted) return;
	bury_surplus(q);
	mr_vhost_queue_moved(q);
}

void mr_vhost_queue_due(struct mr_queue *q)
{
	mr_msec now = q->vhost->broker->now;
	bool is_unused =
		q->limits.expires >= 0 && !q->consumer_count && q->used + q->limits.expires <= now;
	if (is_unused)
		mr_vhost_remove_queue(q);
	else
		mr_vhost_queue_moved(q);
}

/* ---- publishing ---- */

enum mr_status mr_vhost_route(struct mr_vhost *v, struct mr_exchange *x, const struct mr_message *m)
{
	struct mr_route *route = &v->broker->route;
	struct mr_addresses to = mr_message_addresses(m);
	mr_route_begin(route);
	route->exchanges = &v->exchanges;
	route->steps = 0;
	mr_exchange_route(x, &to, route);
	v->broker->work += route->steps / 4;
	return route->failed ? MR_NO_MEMORY : MR_OK;
}

bool mr_vhost_enqueue_one(struct mr_queue *q, struct mr_message *m)
{
	if (mr_queue_refuses(q, m->body_size)) {
		if (q->limits.overflow == MR_REJECT_PUBLISH_DLX) mr_dead_letter_die_unborn(q, m);
		return false;
	}
	q->vhost->broker->work++;
	if (!mr_queue_push(q, m, q->vhost->broker->now)) return false;
	mr_broker_grew(q->vhost->broker, sizeof(struct mr_entry));
	bool is_plain = q->ready == 1 && q->limits.max_length < 0 && q->limits.max_bytes < 0;
	if (is_plain) mr_queue_pump(q, true, SIZE_MAX);
	mr_vhost_queue_moved(q);
	return true;
}

void mr_vhost_reply(struct mr_vhost *v, struct mr_message *m)
{
	struct mr_broker *b = v->broker;
	struct mr_route *r = &b->route;
	size_t kept = 0;
	bool outer = !b->routing;
	b->routing = true;
	for (size_t i = 0; i < r->count; i++) {
		if (r->queues[i]->is_reply)
			mr_vhost_enqueue_one(r->queues[i], m);
		else
			r->queues[kept++] = r->queues[i];
	}
	r->count = kept;
	if (outer) b->routing = false;
}

bool mr_vhost_enqueue(struct mr_vhost *v, struct mr_message *m, struct mr_spread **rest)
{
	struct mr_broker *b = v->broker;
	bool taken = true, outer = !b->routing;
	size_t count = b->route.count;
	b->routing = true;
	for (size_t i = 0; i < count; i++) {
		bool is_over = count - i > FEW && mr_broker_is_spent(b);
		if (is_over && (*rest = mr_spread_new(b, m, i, taken))) break;
		if (!mr_vhost_enqueue_one(b->route.queues[i], m)) taken = false;
	}
	if (outer) {
		b->routing = false;
		mr_dead_letter_bury(b);
	}
	return taken;
}
