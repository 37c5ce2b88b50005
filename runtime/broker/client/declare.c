/* declare: the methods that declare, bind and delete exchanges and queues.
 * SPDX-License-Identifier: MIT */
#include "broker/client/declare.h"

#include "base/alloc.h"
#include "broker/client/backed.h"
#include "broker/client/chore.h"
#include "broker/client/found.h"
#include "broker/client/there.h"
#include "broker/store/arguments.h"
#include "broker/store/deadline.h"
#include "broker/store/fields.h"
#include "broker/store/headers.h"
#include "broker/store/raze.h"
#include "broker/store/reply_error.h"

enum { X_PASSIVE = 1, X_DURABLE = 2, X_AUTO_DELETE = 4, X_INTERNAL = 8, X_NO_WAIT = 16 };
enum { Q_PASSIVE = 1, Q_DURABLE = 2, Q_EXCLUSIVE = 4, Q_AUTO_DELETE = 8, Q_NO_WAIT = 16 };
enum { DELETE_IF_UNUSED = 1, X_DELETE_NO_WAIT = 2, Q_DELETE_IF_EMPTY = 2, Q_DELETE_NO_WAIT = 4 };
enum { BIND_NO_WAIT = 1, PURGE_NO_WAIT = 1 };

#define SHOWN(s) (int)(s).size, (s).data

static const char *const exchange_arguments[] = {"alternate-exchange", NULL};

/* ---- what many share ---- */

static void answer(struct mr_broker_channel *ch, uint32_t id, bool no_wait)
{
	if (!no_wait) mr_broker_channel_put_simple(ch, id);
}

/* Answers after the end of everything that is deleted with it. */
static void answer_razed(struct mr_broker_channel *ch, const struct mr_method *ok, bool no_wait)
{
	mr_chore_raze(ch, no_wait ? 0 : ok->id, ok->count);
}

static bool is_reserved(mr_slice name)
{
	return name.size >= 4 && memcmp(name.data, "amq.", 4) == 0;
}

/* Names are C strings here; in RabbitMQ they may contain any bytes. */
static enum mr_status check_name(const char *what, mr_slice name, mr_error *error)
{
	if (!name.size || !memchr(name.data, 0, name.size)) return MR_OK;
	return mr_reply_error(error, 406, "%s name '%.*s' contains a zero byte", what, SHOWN(name));
}

static enum mr_status no_exchange(const struct mr_broker_channel *ch, mr_slice name,
	mr_error *error)
{
	return mr_reply_error(error, 404, "no exchange '%.*s' in vhost '%s'", SHOWN(name),
		ch->session->vhost->name);
}

static enum mr_status find_exchange(const struct mr_broker_channel *ch, mr_slice name,
	struct mr_exchange **out, mr_error *error)
{
	*out = mr_vhost_exchange(ch->session->vhost, name);
	return *out ? MR_OK : no_exchange(ch, name, error);
}

static enum mr_status not_the_default(mr_slice name, mr_error *error)
{
	if (name.size) return MR_OK;
	return mr_reply_error(error, 403, "operation not permitted on the default exchange");
}

/* ---- exchanges ---- */

static enum mr_status same_exchange(const struct mr_broker_channel *ch, const struct mr_exchange *x,
	enum mr_exchange_type type, unsigned bits, mr_slice arguments, mr_error *error)
{
	struct mr_thing t = {"exchange", mr_slice_str(x->name), ch->session->vhost->name};
	if (x->type != type)
		return mr_reply_error(error, 406,
			"inequivalent arg 'type' for exchange '%s' in vhost '%s': received '%s' but "
			"current is '%s'",
			x->name, t.vhost, mr_exchange_type_name(type),
			mr_exchange_type_name(x->type));
	enum mr_status st =
		mr_arguments_same_flag(&t, "durable", bits & X_DURABLE, x->durable, error);
	if (st == MR_OK)
		st = mr_arguments_same_flag(&t, "auto_delete", bits & X_AUTO_DELETE, x->auto_delete,
			error);
	if (st == MR_OK)
		st = mr_arguments_same_flag(&t, "internal", bits & X_INTERNAL, x->internal, error);
	if (st == MR_OK)
		st = mr_arguments_same(&t, exchange_arguments, arguments, x->arguments, error);
	return st;
}

static enum mr_status new_exchange(struct mr_broker_channel *ch, mr_slice name,
	enum mr_exchange_type type, unsigned bits, mr_slice arguments, mr_error *error)
{
	struct mr_vhost *v = ch->session->vhost;
	mr_value alternate;
	char *copy = NULL;
	enum mr_status served = mr_backed_check_exchange(ch, name,
		mr_slice_str(mr_exchange_type_name(type)), arguments, error);
	if (served != MR_OK) return served;
	if (is_reserved(name))
		return mr_reply_error(error, 403,
			"exchange name '%.*s' contains reserved prefix 'amq.*'", SHOWN(name));
	if (mr_fields_get(arguments, "alternate-exchange", &alternate)) {
		if (alternate.type != 'S')
			return mr_reply_error(error, 406,
				"invalid type '%s' for arg 'alternate-exchange' in exchange '%.*s' in "
				"vhost '%s'",
				mr_field_type_name(alternate.type), SHOWN(name), v->name);
		copy = mr_strdup_n(alternate.as.bytes.data, alternate.as.bytes.size);
		if (!copy) return MR_NO_MEMORY;
	}
	struct mr_exchange *x = mr_exchange_new(name, type, arguments, copy);
	if (!x) return MR_NO_MEMORY;
	x->durable = bits & X_DURABLE;
	x->auto_delete = bits & X_AUTO_DELETE;
	x->internal = bits & X_INTERNAL;
	return mr_vhost_add_exchange(v, x);
}

static enum mr_status exchange_declare(struct mr_broker_channel *ch,
	const struct mr_client_method *m, mr_error *error)
{
	mr_slice name = m->names[0], type_name = m->names[1];
	enum mr_exchange_type type;
	struct mr_exchange *x = mr_vhost_exchange(ch->session->vhost, name);
	enum mr_status st = mr_broker_declare_fault(ch->session->broker, error);
	if (st != MR_OK) return st;
	if (m->bits & X_PASSIVE) {
		st = not_the_default(name, error);
		if (st == MR_OK && !x) st = no_exchange(ch, name, error);
	} else {
		st = not_the_default(name, error);
		if (st == MR_OK) st = check_name("exchange", name, error);
		if (st == MR_OK && !mr_exchange_type_of(type_name, &type))
			st = mr_reply_error(error, 503, "%s exchange type '%.*s'",
				type_name.size ? "unknown" : "invalid", SHOWN(type_name));
		if (st != MR_OK) return st;
		st = x ? same_exchange(ch, x, type, m->bits, m->table, error)
		       : new_exchange(ch, name, type, m->bits, m->table, error);
	}
	if (st == MR_OK) answer(ch, MR_M_EXCHANGE_DECLARE_OK, m->bits & X_NO_WAIT);
	return st;
}

static enum mr_status exchange_delete(struct mr_broker_channel *ch,
	const struct mr_client_method *m, mr_error *error)
{
	struct mr_vhost *v = ch->session->vhost;
	mr_slice name = m->names[0];
	enum mr_status st = not_the_default(name, error);
	if (st != MR_OK) return st;
	if (is_reserved(name))
		return mr_reply_error(error, 403,
			"deletion of system exchange '%.*s' in vhost '%s' not allowed", SHOWN(name),
			v->name);
	struct mr_exchange *x = mr_vhost_exchange(v, name);
	if (x && m->bits & DELETE_IF_UNUSED && x->binding_count)
		return mr_reply_error(error, 406, "exchange '%s' in vhost '%s' in use", x->name,
			v->name);
	if (x) mr_raze_exchange(x);
	answer_razed(ch, &(struct mr_method){.id = MR_M_EXCHANGE_DELETE_OK},
		m->bits & X_DELETE_NO_WAIT);
	return MR_OK;
}

/* ---- bindings ---- */

/* An unbind of a missing binding succeeds. A backing is asked first: the exchange may end with its binding. */
static enum mr_status unbind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	struct mr_target *target, mr_slice key, mr_error *error)
{
	struct mr_exchange *source = mr_vhost_exchange(ch->session->vhost, m->names[1]);
	struct mr_binding *b = NULL;
	if (!source || !target) return MR_OK;
	struct mr_queue *q = target->queue;
	enum mr_status st = mr_exchange_find_binding(source, target, key, m->table, &b);
	if (st != MR_OK) return st;
	if (b && q && q->owner && q->owner != ch->session)
		return mr_broker_channel_locked(q, error);
	if (q && q->store->backing) st = mr_there_bind(ch, m, source, q, key, false);
	if (b) mr_raze_binding(b);
	return st;
}

static enum mr_status bind(const struct mr_client_method *m, struct mr_exchange *source,
	struct mr_target *target, mr_slice key, mr_error *error)
{
	enum mr_status st =
		source->type == MR_X_HEADERS ? mr_headers_check(m->table, error) : MR_OK;
	return st == MR_OK ? mr_exchange_bind(source, target, key, m->table) : st;
}

static enum mr_status exchange_bind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_exchange *destination, *source;
	enum mr_status st = mr_backed_check_exchange_binding(ch, error);
	if (st == MR_OK) st = not_the_default(m->names[0], error);
	if (st == MR_OK) st = not_the_default(m->names[1], error);
	if (st == MR_OK) st = find_exchange(ch, m->names[1], &source, error);
	if (st == MR_OK) st = find_exchange(ch, m->names[0], &destination, error);
	if (st == MR_OK) st = bind(m, source, &destination->target, m->names[2], error);
	if (st == MR_OK) answer(ch, MR_M_EXCHANGE_BIND_OK, m->bits & BIND_NO_WAIT);
	return st;
}

static enum mr_status exchange_unbind(struct mr_broker_channel *ch,
	const struct mr_client_method *m, mr_error *error)
{
	struct mr_exchange *x = mr_vhost_exchange(ch->session->vhost, m->names[0]);
	enum mr_status st = not_the_default(m->names[0], error);
	if (st == MR_OK) st = not_the_default(m->names[1], error);
	if (st == MR_OK) st = unbind(ch, m, x ? &x->target : NULL, m->names[2], error);
	if (st == MR_OK)
		answer_razed(ch, &(struct mr_method){.id = MR_M_EXCHANGE_UNBIND_OK},
			m->bits & BIND_NO_WAIT);
	return st;
}

/* An empty queue name is the last declared one; then an empty key is its name, too (AMQP 0-9-1). */
static enum mr_status binding_names(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_slice *queue, mr_slice *key, mr_error *error)
{
	*queue = m->names[0];
	*key = m->names[2];
	if (queue->size) return MR_OK;
	if (!ch->last_queue) return mr_reply_error(error, 404, "no previously declared queue");
	*queue = mr_slice_str(ch->last_queue);
	if (!key->size) *key = *queue;
	return MR_OK;
}

static enum mr_status queue_bind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_queue *q;
	struct mr_exchange *source;
	mr_slice name, key;
	enum mr_status st = binding_names(ch, m, &name, &key, error);
	if (st == MR_OK) st = not_the_default(m->names[1], error);
	if (st == MR_OK) st = find_exchange(ch, m->names[1], &source, error);
	if (st == MR_OK) st = mr_broker_channel_queue(ch, name, &q, error);
	if (st == MR_OK) st = mr_backed_check_binding(ch, q, error);
	if (st == MR_OK) st = bind(m, source, &q->target, key, error);
	if (st == MR_OK && q->store->backing) return mr_there_bind(ch, m, source, q, key, true);
	if (st == MR_OK) answer(ch, MR_M_QUEUE_BIND_OK, m->bits & BIND_NO_WAIT);
	return st;
}

static enum mr_status queue_unbind(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	mr_slice name, key;
	enum mr_status st = binding_names(ch, m, &name, &key, error);
	if (st == MR_OK) st = not_the_default(m->names[1], error);
	if (st != MR_OK) return st;
	struct mr_queue *q = mr_vhost_queue(ch->session->vhost, name);
	bool is_there = q && q->store->backing && mr_vhost_exchange(q->vhost, m->names[1]);
	st = unbind(ch, m, q ? &q->target : NULL, key, error);
	if (st != MR_OK || is_there) return st; /* it is answered there */
	answer_razed(ch, &(struct mr_method){.id = MR_M_QUEUE_UNBIND_OK}, false);
	return MR_OK;
}

/* ---- queues ---- */

static enum mr_status declared(struct mr_broker_channel *ch, struct mr_queue *q, bool no_wait)
{
	struct mr_method ok = {.id = MR_M_QUEUE_DECLARE_OK,
		.name = mr_queue_name(q),
		.count = (uint32_t)q->ready,
		.consumers = (uint32_t)q->consumer_count};
	mr_broker_channel_note(ch, q);
	if (no_wait) return MR_OK;
	if (ch->session->broker->store.backing) return mr_there_count(ch, &ok, q);
	mr_broker_channel_put(ch, &ok);
	return MR_OK;
}

/* An exclusive queue is never durable, even if its declare asks for it. */
static bool is_durable(unsigned bits) { return bits & Q_DURABLE && !(bits & Q_EXCLUSIVE); }

static enum mr_status same_queue(const struct mr_broker_channel *ch, const struct mr_queue *q,
	unsigned bits, mr_slice arguments, mr_error *error)
{
	struct mr_thing t = {"queue", mr_queue_name(q), ch->session->vhost->name};
	if (q->owner && q->owner != ch->session) return mr_broker_channel_locked(q, error);
	if (!(bits & Q_EXCLUSIVE) != !q->exclusive) return mr_broker_channel_locked(q, error);
	enum mr_status st =
		mr_arguments_same_flag(&t, "durable", is_durable(bits), q->durable, error);
	if (st == MR_OK)
		st = mr_arguments_same_flag(&t, "auto_delete", bits & Q_AUTO_DELETE, q->auto_delete,
			error);
	if (st == MR_OK)
		st = mr_arguments_same(&t, mr_queue_arguments, arguments, q->arguments, error);
	return st;
}

/* What a quorum queue cannot be. */
static enum mr_status check_quorum(const struct mr_vhost *v, mr_slice name, bool is_named,
	unsigned bits, mr_error *error)
{
	const char *property = !is_durable(bits) && !(bits & Q_EXCLUSIVE) ? "non-durable"
	                       : bits & Q_AUTO_DELETE                     ? "auto-delete"
	                       : bits & Q_EXCLUSIVE                       ? "exclusive-owner"
	                                                                  : NULL;
	if (property)
		return mr_reply_error(error, 406,
			"invalid property '%s' for queue '%.*s' in vhost '%s'", property,
			SHOWN(name), v->name);
	if (is_named) return MR_OK;
	return mr_reply_error(error, 406,
		"Cannot declare a server-named queue for type rabbit_quorum_queue");
}

static enum mr_status new_queue(struct mr_broker_channel *ch, mr_slice name, unsigned bits,
	mr_slice table, struct mr_queue **out, mr_error *error)
{
	struct mr_vhost *v = ch->session->vhost;
	struct mr_limits limits;
	char given[64];
	bool is_named = name.size > 0;
	if (!is_named) name = mr_slice_of(given, mr_store_name(v->store, given, "amq.gen-"));
	mr_slice arguments;
	enum mr_status st = mr_backed_check_queue(ch, name, table, error);
	if (st != MR_OK) return st;
	st = mr_fields_copy(table, &arguments); /* the limits borrow from it */
	if (st == MR_OK) st = mr_arguments_read(&limits, arguments, name, v->name, error);
	if (st == MR_OK && limits.is_quorum) st = check_quorum(v, name, is_named, bits, error);
	if (st != MR_OK) {
		mr_free((void *)(uintptr_t)arguments.data);
		return st;
	}
	struct mr_queue *q = mr_queue_new(v->store, name, arguments, &limits);
	if (!q) return MR_NO_MEMORY;
	q->durable = is_durable(bits);
	q->exclusive = bits & Q_EXCLUSIVE;
	q->auto_delete = bits & Q_AUTO_DELETE;
	if (q->exclusive) {
		q->owner = ch->session;
		mr_list_append(&ch->session->queues, &q->at_owner);
	}
	*out = q;
	return mr_vhost_add_queue(v, q);
}

static enum mr_status queue_passive(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_queue *q;
	if (!m->names[0].size)
		return mr_reply_error(error, 404, "no queue '' in vhost '%s'",
			ch->session->vhost->name);
	enum mr_status st = mr_broker_channel_queue(ch, m->names[0], &q, error);
	if (st == MR_NOT_FOUND && ch->session->broker->store.backing)
		return mr_found_ask(ch, m->names[0], m->bits & Q_NO_WAIT, error);
	if (st != MR_OK) return st;
	mr_deadline_renew(q);
	return declared(ch, q, m->bits & Q_NO_WAIT);
}

/* Direct reply-to: the general name always exists, and a channel's own name as long as its
 * consumer. Neither is created by a declare. */
static enum mr_status reply_queue(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_slice name, mr_error *error)
{
	const struct mr_vhost *v = ch->session->vhost;
	struct mr_method ok = {.id = MR_M_QUEUE_DECLARE_OK, .name = name, .consumers = 1};
	bool is_any = mr_slice_equal(name, mr_slice_str(MR_REPLY_QUEUE));
	if (!is_any && !mr_vhost_queue(v, name))
		return mr_reply_error(error, 404, "no queue '%.*s' in vhost '%s'", SHOWN(name),
			v->name);
	if (!(m->bits & Q_NO_WAIT)) mr_broker_channel_put(ch, &ok);
	return MR_OK;
}

static bool is_of_reply(mr_slice name)
{
	size_t size = strlen(MR_REPLY_QUEUE);
	return name.size >= size && memcmp(name.data, MR_REPLY_QUEUE, size) == 0;
}

static enum mr_status queue_declare(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	mr_slice name = m->names[0];
	struct mr_queue *q = name.size ? mr_vhost_queue(ch->session->vhost, name) : NULL;
	enum mr_status st = mr_broker_declare_fault(ch->session->broker, error);
	if (st != MR_OK) return st;
	if (is_of_reply(name)) return reply_queue(ch, m, name, error);
	if (m->bits & Q_PASSIVE) return queue_passive(ch, m, error);
	if (is_reserved(name))
		return mr_reply_error(error, 403,
			"queue name '%.*s' contains reserved prefix 'amq.*'", SHOWN(name));
	st = check_name("queue", name, error);
	if (st == MR_OK && q && q->is_found) st = mr_found_yield(&q, error);
	if (st != MR_OK) return st;
	if (!q) {
		st = new_queue(ch, name, m->bits, m->table, &q, error);
	} else {
		st = same_queue(ch, q, m->bits, m->table, error);
		if (st == MR_OK) mr_deadline_renew(q);
	}
	return st == MR_OK ? declared(ch, q, m->bits & Q_NO_WAIT) : st;
}

static enum mr_status queue_purge(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_QUEUE_PURGE_OK};
	struct mr_queue *q;
	enum mr_status st = mr_broker_channel_queue(ch, m->names[0], &q, error);
	if (st != MR_OK) return st;
	if (ch->session->broker->store.backing)
		return mr_there_purge(ch, m, q, m->bits & PURGE_NO_WAIT ? 0 : ok.id, false);
	ok.count = (uint32_t)q->ready;
	mr_queue_purge(q);
	mr_deadline_set(q);
	if (!(m->bits & PURGE_NO_WAIT)) mr_broker_channel_put(ch, &ok);
	return MR_OK;
}

static enum mr_status queue_delete(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_QUEUE_DELETE_OK};
	struct mr_queue *q = NULL;
	const char *vhost = ch->session->vhost->name;
	enum mr_status st = mr_broker_channel_queue(ch, m->names[0], &q, error);
	if (st == MR_NOT_FOUND && m->names[0].size) { /* deleting a missing queue succeeds */
		memset(error, 0, sizeof *error);
	} else if (st != MR_OK) {
		return st;
	} else {
		if (m->bits & DELETE_IF_UNUSED && q->consumer_count)
			return mr_reply_error(error, 406, "queue '%s' in vhost '%s' in use",
				q->name, vhost);
		if (m->bits & Q_DELETE_IF_EMPTY && ch->session->broker->store.backing)
			return mr_reply_error(error, 406,
				"queue '%s': Redis has no if-empty of a delete", q->name);
		if (m->bits & Q_DELETE_IF_EMPTY && q->ready)
			return mr_reply_error(error, 406, "queue '%s' in vhost '%s' not empty",
				q->name, vhost);
		ok.count = (uint32_t)q->ready;
		if (ch->session->broker->store.backing) {
			uint32_t id = m->bits & Q_DELETE_NO_WAIT ? 0 : ok.id;
			st = mr_there_purge(ch, m, q, id, true);
			if (st == MR_OK) mr_raze_queue(q);
			return st;
		}
		mr_raze_queue(q);
	}
	answer_razed(ch, &ok, m->bits & Q_DELETE_NO_WAIT);
	return MR_OK;
}

/* RabbitMQ removes line ends from names in declares, binds and deletes, and from no others. */
static mr_slice strip_line_ends(mr_slice name, char room[256])
{
	size_t kept = 0;
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] != '\n' && name.data[i] != '\r') room[kept++] = name.data[i];
	return mr_slice_of(room, kept);
}

static bool is_binding(uint32_t id)
{
	return id == MR_M_QUEUE_BIND || id == MR_M_QUEUE_UNBIND || id == MR_M_EXCHANGE_BIND ||
	       id == MR_M_EXCHANGE_UNBIND;
}

static enum mr_status act(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_EXCHANGE_DECLARE: return exchange_declare(ch, m, error);
	case MR_M_EXCHANGE_DELETE: return exchange_delete(ch, m, error);
	case MR_M_EXCHANGE_BIND: return exchange_bind(ch, m, error);
	case MR_M_EXCHANGE_UNBIND: return exchange_unbind(ch, m, error);
	case MR_M_QUEUE_DECLARE: return queue_declare(ch, m, error);
	case MR_M_QUEUE_BIND: return queue_bind(ch, m, error);
	case MR_M_QUEUE_UNBIND: return queue_unbind(ch, m, error);
	case MR_M_QUEUE_PURGE: return queue_purge(ch, m, error);
	default: return queue_delete(ch, m, error);
	}
}

enum mr_status mr_declare_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	char room[2][256];
	struct mr_client_method clean = *m;
	if (m->id != MR_M_QUEUE_PURGE) clean.names[0] = strip_line_ends(m->names[0], room[0]);
	if (is_binding(m->id)) clean.names[1] = strip_line_ends(m->names[1], room[1]);
	return act(ch, &clean, error);
}
