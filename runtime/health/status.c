/* status: the page /status: what the program is at: connections, channels, consumers, queues, publishes.
 * SPDX-License-Identifier: MIT */
#include "health/status.h"

#include <unistd.h>

#include "amqp/topology.h"
#include "base/list.h"
#include "health/fields.h"
#include "health/stall.h"
#include "link/state.h"

struct list { /* an array that is being written, with an end */
	mr_table *array;
	uint32_t left_out;
};

/* A table for the next entry; NULL: it is left out, or there is no memory. */
static mr_table *entry(struct list *l)
{
	if (!l->array) return NULL;
	if (l->array->count < MR_STATUS_MAX) return mr_fields_nest(l->array, "", 'F');
	l->left_out++;
	return NULL;
}

static void tell_left_out(mr_table *page, const char *key, const struct list *l)
{
	if (l->left_out) mr_fields_count(page, key, l->left_out);
}

/* ---- durations ---- */

/* The bound of the bucket with the share-th duration, in seconds; 0: there is none. The real one is
 * at most 2.5 times smaller. */
static double quantile(const struct mr_histogram *h, double share)
{
	uint64_t all = mr_histogram_count(h), seen = 0;
	if (!all) return 0;
	for (size_t i = 0; i < MR_HISTOGRAM_BOUNDS; i++) {
		seen += h->counts[i];
		if ((double)seen >= share * (double)all) return (double)mr_histogram_bound(i) / 1e9;
	}
	return (double)mr_histogram_bound(MR_HISTOGRAM_BOUNDS - 1) / 1e9;
}

static void add_exact(mr_table *t, const char *key, double seconds)
{
	mr_value v = {.type = 'd', .as.real = seconds};
	if (t) mr_table_add(t, key, strlen(key), &v);
}

static void add_durations(mr_table *t, const struct mr_histogram *h)
{
	uint64_t count = mr_histogram_count(h);
	if (!count) return;
	add_exact(t, "mean", (double)h->sum / 1e9 / (double)count);
	add_exact(t, "p50", quantile(h, 0.5));
	add_exact(t, "p99", quantile(h, 0.99));
}

/* ---- connections ---- */

static const char *const state_names[MR_LINK_STATE_COUNT] = {[MR_LINK_IDLE] = "closed",
	[MR_LINK_CONNECTING] = "connecting",
	[MR_LINK_OPEN] = "open",
	[MR_LINK_CLOSING] = "closing",
	[MR_LINK_PARTING] = "closing",
	[MR_LINK_BACKOFF] = "waiting"};

static void add_consumer(mr_table *t, const struct mr_link *link, const struct mr_record *r)
{
	bool is_there = link->session &&
	                mr_session_has_consumer(link->session, r->channel, r->request.number);
	mr_fields_count(t, "connection", link->number);
	mr_fields_count(t, "channel", r->channel);
	mr_fields_count(t, "number", r->request.number);
	mr_fields_text(t, "queue", r->strings[MR_RECORD_NAME]);
	mr_fields_text(t, "tag", r->strings[MR_RECORD_EXTRA]);
	mr_fields_text(t, "state", is_there ? "consuming" : "away");
	struct mr_consumer_view view;
	if (!is_there ||
		!mr_session_view_consumer(link->session, r->channel, r->request.number, &view))
		return;
	mr_fields_count(t, "delivered", view.delivered);
	if (!view.is_alone) return; /* settles of a channel are not counted by consumer */
	mr_fields_count(t, "in_flight", view.in_flight);
	mr_fields_count(t, "settled",
		view.delivered > view.in_flight ? view.delivered - view.in_flight : 0);
}

static void add_channels(mr_table *t, const struct mr_link *link)
{
	const struct mr_topology *top = &link->recovery.topology;
	struct list channels = {mr_fields_nest(t, "channels", 'A'), 0};
	struct mr_channel_record *ch;
	for (size_t at = 0; (ch = mr_map_next(&top->channels, &at, NULL));) {
		mr_table *one = entry(&channels);
		mr_fields_count(one, "number", ch->number);
		if (ch->has_qos) mr_fields_count(one, "prefetch", ch->prefetch);
		if (ch->has_global_qos)
			mr_fields_count(one, "global_prefetch", ch->global_prefetch);
		if (ch->confirming) mr_fields_flag(one, "confirms", true);
	}
	tell_left_out(t, "channels_left_out", &channels);
}

static void add_connection(mr_table *t, const struct mr_link *link)
{
	char host[300];
	mr_dial_host(&link->dial, host, sizeof host);
	mr_fields_count(t, "number", link->number);
	mr_fields_text(t, "name", link->config->name ? link->config->name : "");
	mr_fields_text(t, "state", state_names[link->state]);
	if (link->entered) /* it has left the state that it was made in */
		mr_fields_seconds(t, "since", (double)(mr_clock_now() - link->entered) / 1000);
	mr_fields_text(t, "host", host);
	mr_fields_text(t, "virtual_host", link->config->vhost);
	mr_fields_text(t, "user", link->config->user);
	mr_fields_count(t, "opened", link->opened);
	mr_fields_count(t, "outbound", link->io.published - mr_gauge_gone(link->io.gauge));
	if (link->session) mr_fields_count(t, "unconfirmed", mr_session_unconfirmed(link->session));
	mr_fields_count(t, "bytes_in", link->io.received);
	mr_fields_count(t, "bytes_out", link->io.sent);
	if (link->error && link->state != MR_LINK_OPEN)
		mr_fields_said(t, "error", link->error->text);
	if (link->is_blocked) mr_fields_said(t, "blocked", link->blocked_why);
	if (link->outage.tries) mr_fields_count(t, "tries", (uint64_t)link->outage.tries);
	add_channels(t, link);
}

static void add_links(mr_table *page, struct mr_services *services)
{
	struct list connections = {mr_fields_nest(page, "connections", 'A'), 0};
	struct list consumers = {mr_fields_nest(page, "consumers", 'A'), 0};
	struct mr_link *link;
	for (size_t at = 0; (link = mr_map_next(&services->links, &at, NULL));) {
		const struct mr_record *r = NULL;
		mr_table *one = entry(&connections);
		if (one) add_connection(one, link);
		while ((r = mr_topology_next(&link->recovery.topology, MR_BASIC_CONSUME, r))) {
			if (r->request.number & MR_CONSUMER_OWN) continue;
			one = entry(&consumers);
			if (one) add_consumer(one, link, r);
		}
	}
	tell_left_out(page, "connections_left_out", &connections);
	tell_left_out(page, "consumers_left_out", &consumers);
}

/* ---- queues ---- */

static void add_queue(mr_table *t, const struct mr_meter *m, double now)
{
	struct mr_histogram h;
	double oldest = mr_meter_oldest_began(m);
	int64_t messages = mr_meter_messages_seen(m);
	mr_meter_read(m, &h);
	mr_fields_text(t, "queue", m->queue);
	mr_fields_count(t, "handled", mr_histogram_count(&h));
	mr_fields_count(t, "failed", mr_meter_counted(m, MR_METER_FAILURES));
	mr_fields_count(t, "retried", mr_meter_counted(m, MR_METER_RETRIES));
	mr_fields_count(t, "dead", mr_meter_counted(m, MR_METER_DEAD));
	if (mr_meter_paused_seen(m)) mr_fields_count(t, "paused", mr_meter_paused_seen(m));
	if (oldest > 0) mr_fields_seconds(t, "oldest", now - oldest);
	if (messages >= 0) mr_fields_count(t, "messages", (uint64_t)messages);
	add_durations(mr_fields_nest(t, "handler", 'F'), &h);
}

static void add_queues(mr_table *page, const struct mr_health_state *c)
{
	mr_table *queues = mr_fields_nest(page, "queues", 'A');
	for (size_t i = 0; i < c->meter_count; i++)
		add_queue(mr_fields_nest(queues, "", 'F'), c->meters[i], c->vitals->now);
}

/* ---- publishers ---- */

static void add_publishers(mr_table *page, const struct mr_health_state *c)
{
	mr_table *publishers = mr_fields_nest(page, "publishers", 'A');
	for (size_t i = 0; i < c->backlog_count; i++) {
		mr_backlog words;
		mr_table *t = mr_fields_nest(publishers, "", 'F');
		mr_backlog_read(c->backlogs[i], &words);
		mr_fields_text(t, "publisher", c->backlogs[i]->publisher);
		mr_fields_count(t, "accepted", (uint64_t)words.accepted);
		mr_fields_count(t, "in_line", (uint64_t)words.in_line);
		mr_fields_count(t, "in_flight", (uint64_t)words.in_flight);
		mr_fields_count(t, "aside", (uint64_t)words.aside);
	}
}

/* ---- pools ---- */

static void add_pools(mr_table *page, const struct mr_health_state *c)
{
	mr_table *pools = mr_fields_nest(page, "pools", 'A');
	for (size_t i = 0; i < c->loans_count; i++) {
		mr_pool_counts counts;
		int strategy;
		if (!mr_loans_read(c->loans[i], &strategy, &counts)) continue;
		mr_table *t = mr_fields_nest(pools, "", 'F');
		mr_fields_text(t, "strategy", strategy == MR_SHARED ? "shared" : "pooled");
		mr_fields_count(t, "active", counts.active);
		mr_fields_count(t, "idle", counts.idle);
		mr_fields_count(t, "limit", counts.limit);
		mr_fields_count(t, "waiting", counts.waiting);
	}
}

/* ---- the program ---- */

static void add_script(mr_table *t, const struct mr_vitals *v)
{
	mr_fields_text(t, "state", v->stalled ? "stalled" : v->busy > 0 ? "busy" : "idle");
	mr_fields_seconds(t, "busy", v->busy);
	if (v->where[0]) mr_fields_text(t, "where", v->where);
	if (v->busy_queue[0]) mr_fields_text(t, "queue", v->busy_queue);
	if (v->traceback[0]) mr_fields_text(t, "traceback", v->traceback);
	mr_fields_count(t, "memory", v->host_memory > 0 ? (uint64_t)v->host_memory : 0);
}

static void add_messages(mr_table *t, const struct mr_vitals *v)
{
	mr_fields_count(t, "delivered", v->stats.delivered);
	mr_fields_count(t, "redelivered", v->stats.redelivered);
	mr_fields_count(t, "settled", v->stats.settled);
	mr_fields_count(t, "in_flight", v->stats.in_flight);
	if (v->last_delivery >= 0) mr_fields_seconds(t, "last", v->last_delivery);
}

static void add_publishes(mr_table *t, const struct mr_vitals *v,
	const struct mr_histogram *confirms)
{
	mr_fields_count(t, "published", v->stats.published);
	mr_fields_count(t, "confirmed", v->stats.confirmed);
	mr_fields_count(t, "returned", v->stats.returned);
	mr_fields_count(t, "lost", v->stats.lost);
	mr_fields_count(t, "outbound", v->stats.outbound);
	add_durations(mr_fields_nest(t, "confirm", 'F'), confirms);
}

static void add_totals(mr_table *page, const struct mr_vitals *v)
{
	mr_fields_count(page, "connects", v->connects);
	mr_fields_count(page, "losses", v->losses);
	mr_fields_count(page, "retries", v->retries);
	mr_fields_count(page, "bytes_in", v->stats.bytes_in);
	mr_fields_count(page, "bytes_out", v->stats.bytes_out);
	mr_fields_count(page, "log_dropped", v->stats.log_dropped);
}

mr_table *mr_status_page(const struct mr_health_state *c, const mr_health *health)
{
	const struct mr_vitals *v = c->vitals;
	mr_table *page = mr_table_new();
	mr_fields_text(page, "version", mr_version());
	mr_fields_count(page, "pid", (uint64_t)getpid());
	mr_fields_seconds(page, "time", v->unix_time);
	mr_fields_seconds(page, "uptime", v->uptime);
	mr_fields_text(page, "status", health->healthy ? "healthy" : "unhealthy");
	const mr_value *reasons = mr_table_find(health->report, "reasons");
	mr_table *why = reasons ? mr_fields_nest(page, "reasons", 'A') : NULL;
	for (uint32_t i = 0; why && i < reasons->as.nested->count; i++)
		mr_table_add_copy(why, &reasons->as.nested->fields[i]);
	mr_fields_flag(page, "stopping", v->stopping);
	add_script(mr_fields_nest(page, "script", 'F'), v);
	add_messages(mr_fields_nest(page, "messages", 'F'), v);
	add_publishes(mr_fields_nest(page, "publishes", 'F'), v, &c->history->confirms);
	add_totals(mr_fields_nest(page, "totals", 'F'), v);
	add_queues(page, c);
	add_publishers(page, c);
	add_pools(page, c);
	add_links(page, c->services);
	mr_stores_report(page, &v->stores);
	return page;
}
