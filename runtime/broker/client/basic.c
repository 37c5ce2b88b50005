/* basic: consuming, getting, prefetch.
 * SPDX-License-Identifier: MIT */
#include "broker/client/basic.h"

#include "base/alloc.h"
#include "base/compare.h"
#include "broker/client/chore.h"
#include "broker/client/consumer.h"
#include "broker/client/there.h"
#include "broker/store/deadline.h"
#include "broker/store/fields.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "broker/store/reply_error.h"

enum { CONSUME_NO_ACK = 2, CONSUME_EXCLUSIVE = 4, CONSUME_NO_WAIT = 8 };
enum { GET_NO_ACK = 1, QOS_GLOBAL = 1, CANCEL_NO_WAIT = 1 };

enum mr_status mr_basic_qos(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	if (m->wide) return mr_reply_error(error, 540, "prefetch_size!=0 (%u)", m->wide);
	if (m->bits & QOS_GLOBAL)
		ch->prefetch_all = m->numbers[0];
	else
		ch->prefetch = m->numbers[0];
	mr_broker_channel_put_simple(ch, MR_M_BASIC_QOS_OK);
	if (m->bits & QOS_GLOBAL) mr_consumer_serve(ch);
	return MR_OK;
}

static enum mr_status read_priority(const struct mr_queue *q, mr_slice encoded, int64_t *out,
	mr_error *error)
{
	mr_value v;
	if (!mr_fields_get(encoded, "x-priority", &v)) return MR_OK;
	if (v.type != 'T' && mr_value_integer(&v, out)) return MR_OK;
	return mr_reply_error(error, 406,
		"invalid arg 'x-priority' for queue '%s' in vhost '%s': \"expected integer, got %s\"",
		q->name, q->vhost->name, mr_field_type_name(v.type));
}

/* Checks the other consumer arguments that RabbitMQ knows. */
static enum mr_status check_arguments(const struct mr_queue *q, mr_slice encoded, mr_error *error)
{
	mr_value v;
	if (mr_fields_get(encoded, "x-stream-offset", &v))
		return mr_reply_error(error, 406,
			"invalid arg 'x-stream-offset' for queue '%s' in vhost '%s' of queue type "
			"rabbit_classic_queue",
			q->name, q->vhost->name);
	if (!mr_fields_get(encoded, "x-cancel-on-ha-failover", &v) || v.type == 't') return MR_OK;
	return mr_reply_error(error, 406,
		"invalid arg 'x-cancel-on-ha-failover' for queue '%s' in vhost '%s': "
		"{unacceptable_type,%s}",
		q->name, q->vhost->name, mr_field_type_name(v.type));
}

/* The arguments of a reply consumer are not checked. */
static enum mr_status read_arguments(const struct mr_queue *q, mr_slice encoded,
	struct mr_consume *how, mr_error *error)
{
	enum mr_status st = read_priority(q, encoded, &how->priority, error);
	return st == MR_OK ? check_arguments(q, encoded, error) : st;
}

static enum mr_status may_consume(const struct mr_queue *q, bool exclusive, mr_error *error)
{
	bool taken = q->exclusive_consumer || (exclusive && q->consumer_count) ||
	             (exclusive && q->limits.single_active);
	if (!taken) return MR_OK;
	return mr_reply_error(error, 403, "queue '%s' in vhost '%s' in exclusive use", q->name,
		q->vhost->name);
}

/* Direct reply-to: a queue of this channel, with a name that cannot be guessed. */
static enum mr_status reply_queue(struct mr_broker_channel *ch, bool no_ack, struct mr_queue **out,
	mr_error *error)
{
	static const struct mr_limits none = {.ttl = -1,
		.expires = -1,
		.max_length = -1,
		.max_bytes = -1,
		.deliveries = -1};
	struct mr_vhost *v = ch->session->vhost;
	char name[64];
	if (!no_ack) return mr_reply_error(error, 406, "reply consumer cannot acknowledge");
	if (ch->reply_queue) return mr_reply_error(error, 406, "reply consumer already set");
	size_t size = mr_store_name(&ch->session->broker->store, name, MR_REPLY_QUEUE ".");
	struct mr_queue *q = mr_queue_new(v->store, mr_slice_of(name, size), (mr_slice){0}, &none);
	if (!q) return MR_NO_MEMORY;
	q->auto_delete = q->is_reply = true;
	ch->reply_queue = mr_strdup_n(name, size);
	*out = q;
	return mr_vhost_add_queue(v, q);
}

/* Deletes a reply queue whose consumer could not be created. */
static void undo_reply_queue(struct mr_broker_channel *ch, struct mr_queue *q)
{
	mr_raze_queue(q);
	mr_broker_channel_end_reply(ch);
}

enum mr_status mr_basic_consume(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_consume how = {.tag = m->names[1],
		.prefetch = ch->prefetch,
		.no_ack = m->bits & CONSUME_NO_ACK,
		.exclusive = m->bits & CONSUME_EXCLUSIVE};
	struct mr_queue *q;
	char given[64];
	bool is_reply = mr_slice_equal(m->names[0], mr_slice_str(MR_REPLY_QUEUE));
	enum mr_status st = is_reply ? reply_queue(ch, how.no_ack, &q, error)
	                             : mr_broker_channel_queue(ch, m->names[0], &q, error);
	if (st != MR_OK) return st;
	if (mr_consumer_find(ch, how.tag))
		st = mr_reply_error(error, 530, "attempt to reuse consumer tag '%.*s'",
			(int)how.tag.size, how.tag.data);
	if (st == MR_OK) st = may_consume(q, how.exclusive, error);
	if (st == MR_OK && !is_reply) st = read_arguments(q, m->table, &how, error);
	if (!how.tag.size)
		how.tag = mr_slice_of(given,
			mr_store_name(&ch->session->broker->store, given, "amq.ctag-"));
	struct mr_consumer *c = st == MR_OK ? mr_consumer_new(ch, q, &how) : NULL;
	if (st == MR_OK && !c) st = MR_NO_MEMORY;
	if (st != MR_OK && is_reply) undo_reply_queue(ch, q);
	if (st != MR_OK) return st;
	struct mr_method ok = {.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str(c->tag)};
	if (!(m->bits & CONSUME_NO_WAIT)) mr_broker_channel_put(ch, &ok);
	mr_deadline_renew(q);
	mr_pump(q);
	return MR_OK;
}

enum mr_status mr_basic_cancel(struct mr_broker_channel *ch, const struct mr_client_method *m)
{
	struct mr_method ok = {.id = MR_M_BASIC_CANCEL_OK, .name = m->names[0]};
	struct mr_consumer *c = mr_consumer_find(ch, m->names[0]);
	if (c) {
		struct mr_queue *q = c->receiver.queue;
		q->out++;
		mr_consumer_end(c);
		if (!q->deleted) mr_pump(q); /* the next consumer may be active now */
		mr_queue_unpin(q);
	}
	if (!(m->bits & CANCEL_NO_WAIT)) mr_broker_channel_put(ch, &ok);
	if (!mr_list_is_empty(
		    &ch->session->broker->store.fresh_ruins)) /* of a deleted auto-delete queue */
		mr_chore_raze(ch, 0, 0);
	return MR_OK;
}

static bool give(struct mr_broker_channel *ch, struct mr_queue *q, struct mr_entry *e, bool no_ack,
	size_t left_there)
{
	struct mr_method m = {.id = MR_M_BASIC_GET_OK,
		.tag = ch->next_tag,
		.flags = e->redelivered,
		.name = mr_message_exchange(e->message),
		.key = mr_message_key(e->message),
		.count = (uint32_t)(q->ready + left_there)};
	if (!no_ack && !mr_broker_channel_has_room(ch)) return false;
	if (!mr_broker_channel_put_message(ch, &m, e->message)) return false;
	if (no_ack) {
		ch->next_tag++;
		mr_queue_forget(q, e);
	} else {
		mr_broker_channel_hold(ch, NULL, q, e);
	}
	return true;
}

/* `left_there`: messages that the backing has still. */
static enum mr_status get_here(struct mr_broker_channel *ch, struct mr_queue *q, bool no_ack,
	size_t left_there)
{
	struct mr_entry *e = mr_queue_head(q);
	if (!e) {
		mr_broker_channel_put_simple(ch, MR_M_BASIC_GET_EMPTY);
		return MR_OK;
	}
	mr_queue_take(q, e);
	if (!give(ch, q, e, no_ack, left_there)) {
		mr_queue_requeue(q, e);
		return MR_NO_MEMORY;
	}
	mr_deadline_set(q);
	return MR_OK;
}

static void got(struct mr_broker_channel *ch, struct mr_await *a)
{
	struct mr_queue *q = a->queue;
	mr_pump(q);
	bool had_expired =
		a->promise.count && !mr_queue_head(q) && !q->deleted; /* there are more */
	enum mr_status st = had_expired ? mr_there_get(ch, q, a->no_ack, got)
	                                : get_here(ch, q, a->no_ack, a->promise.count);
	if (st != MR_OK) mr_broker_session_end(ch->session);
}

enum mr_status mr_basic_get(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_queue *q;
	enum mr_status st = mr_broker_channel_queue(ch, m->names[0], &q, error);
	if (st != MR_OK) return st;
	mr_deadline_renew(q);
	bool is_backed = ch->session->broker->store.backing != NULL;
	if (q->own || !is_backed) mr_pump(q); /* expired messages are not delivered */
	if (!q->own && is_backed) return mr_there_get(ch, q, m->bits & GET_NO_ACK, got);
	return get_here(ch, q, m->bits & GET_NO_ACK, 0);
}
