/* report: a snapshot of the broker as a table.
 * SPDX-License-Identifier: MIT */
#include "broker/server/report.h"

#include "base/value.h"
#include "broker/client/session.h"
#include "broker/store/vhost.h"

static const char *const states[] = {"hello", "started", "tuning", "opening", "running", "closing",
	"ended"};

static void add_text(mr_table *t, const char *key, const char *text)
{
	mr_table_add_string(t, key, mr_slice_str(text ? text : ""));
}

static void add_number(mr_table *t, const char *key, uint64_t n)
{
	mr_value v = {.type = 'l', .as.integer = (int64_t)n};
	mr_table_add(t, key, strlen(key), &v);
}

static void add_flag(mr_table *t, const char *key, bool flag)
{
	mr_value v = {.type = 't', .as.boolean = flag};
	mr_table_add(t, key, strlen(key), &v);
}

static mr_table *add_row(mr_table *list) { return list ? mr_table_nest(list, "", 0, 'F') : NULL; }

static mr_table *add_list(mr_table *t, const char *key)
{
	return mr_table_nest(t, key, strlen(key), 'A');
}

static void add_session(mr_table *list, const struct mr_broker_session *s)
{
	mr_table *row = add_row(list);
	if (!row) return;
	add_number(row, "number", s->number);
	add_text(row, "user", s->user);
	add_text(row, "vhost", s->vhost ? s->vhost->name : "");
	add_text(row, "state", s->is_blocked ? "blocked" : states[s->state]);
	add_number(row, "channels", s->channels.count);
	add_number(row, "timeout", (uint64_t)s->heartbeat / 1000);
	mr_table *properties = mr_table_nest(row, "client_properties", 17, 'F');
	if (properties && s->client_properties) mr_table_merge(properties, s->client_properties);
}

static void add_queue(mr_table *list, const struct mr_queue *q)
{
	mr_table *row = add_row(list);
	if (!row) return;
	add_text(row, "name", q->name);
	add_text(row, "vhost", q->vhost->name);
	add_number(row, "messages_ready", q->ready);
	add_number(row, "messages_unacknowledged", q->out);
	add_number(row, "consumers", q->consumer_count);
	add_flag(row, "durable", q->durable);
	add_flag(row, "exclusive", q->exclusive);
	add_flag(row, "auto_delete", q->auto_delete);
}

static void add_exchange(mr_table *list, const struct mr_exchange *x, const struct mr_vhost *v)
{
	mr_table *row = add_row(list);
	if (!row) return;
	add_text(row, "name", x->name);
	add_text(row, "vhost", v->name);
	add_text(row, "type", mr_exchange_type_name(x->type));
	add_number(row, "bindings", x->binding_count);
}

mr_table *mr_broker_report(const struct mr_broker *b)
{
	mr_table *t = mr_table_new();
	if (!t) return NULL;
	add_number(t, "memory", mr_store_memory(&b->store));
	add_flag(t, "blocked", mr_broker_is_blocked(b));
	mr_table *connections = add_list(t, "connections"), *queues = add_list(t, "queues");
	mr_table *exchanges = add_list(t, "exchanges");
	for (struct mr_node *n = b->sessions.next; n != &b->sessions; n = n->next)
		add_session(connections, mr_container(n, struct mr_broker_session, node));
	struct mr_vhost *v;
	size_t at = 0;
	while ((v = mr_map_next(&b->vhosts, &at, NULL))) {
		size_t i = 0;
		void *item;
		while ((item = mr_map_next(&v->queues, &i, NULL))) add_queue(queues, item);
		for (i = 0; (item = mr_map_next(&v->exchanges, &i, NULL));)
			add_exchange(exchanges, item, v);
	}
	return t;
}
