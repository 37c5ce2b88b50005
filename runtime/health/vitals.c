/* vitals: a snapshot of a runtime for health checks and metrics.
 * SPDX-License-Identifier: MIT */
#include "health/vitals.h"

#include <stdio.h>
#include <time.h>

#include "health/stall.h"
#include "link/state.h"

/* True if the program wants it to be open. The failure of one that was never open was reported to
 * the program. */
static bool is_wanted(const struct mr_link *link)
{
	int kind = mr_error_kept(link->error)->kind;
	switch (link->state) {
	case MR_LINK_CLOSING: return false;
	case MR_LINK_IDLE:
	case MR_LINK_PARTING: return link->opened && kind != MR_OK && kind != MR_CLOSED;
	default: return true;
	}
}

static void describe(const struct mr_link *link, char *out, const char *why)
{
	char host[300];
	mr_dial_host((struct mr_dial *)(uintptr_t)&link->dial, host, sizeof host);
	size_t size = (size_t)snprintf(out, MR_WORDS, "%s%s", host, *why ? ": " : "");
	size_t more = strlen(why), room = MR_WORDS - 1 - size;
	if (more > room) more = room;
	memcpy(out + size, why, more);
	out[size + more] = '\0';
}

static void describe_trouble(char *out, const struct mr_link *link)
{
	const mr_error *error = mr_error_kept(link->error);
	char store[MR_WORDS - 300];
	bool has_failed = error->kind && error->kind != MR_CLOSED;
	bool is_store = mr_stores_trouble(link, store, sizeof store);
	describe(link, out, is_store ? store : has_failed ? error->text : "connecting");
}

static void count_link(struct mr_vitals *v, const struct mr_link *link)
{
	switch (link->state) {
	case MR_LINK_OPEN: v->open++; break;
	case MR_LINK_CONNECTING: v->connecting++; break;
	case MR_LINK_CLOSING: v->closing++; break;
	case MR_LINK_BACKOFF: v->retrying++; break;
	case MR_LINK_PARTING:
	case MR_LINK_IDLE: v->lost += is_wanted(link); break;
	default: break;
	}
	v->wanted += is_wanted(link);
	if (is_wanted(link)) mr_stores_add(&v->stores, link);
	bool forgets = link->config->memory && !link->config->gateway;
	v->embedded += is_wanted(link) && forgets;
	v->own += is_wanted(link) && forgets && !*link->config->hosts[0].name;
	v->stats.outbound += link->io.published - mr_gauge_gone(link->io.gauge);
	if (is_wanted(link) && link->state != MR_LINK_OPEN && !v->trouble[0])
		describe_trouble(v->trouble, link);
	if (link->state != MR_LINK_OPEN || !link->is_blocked) return;
	v->blocked++;
	if (!v->blocker[0]) describe(link, v->blocker, link->blocked_why);
}

static void count_consumer(struct mr_vitals *v, mr_slice queue, uint32_t consuming, uint32_t away)
{
	struct mr_vitals_queue *q = NULL;
	mr_slice label = mr_meter_label(queue);
	if (!consuming && !away) return;
	v->consumers += consuming + away;
	v->consuming += consuming;
	for (size_t i = 0; i < v->queue_count && !q; i++)
		if (mr_slice_equal(mr_slice_str(v->queues[i].label), label)) q = &v->queues[i];
	if (!q && v->queue_count > MR_METERS_MAX) q = &v->queues[MR_METERS_MAX];
	if (!q) {
		q = &v->queues[v->queue_count++];
		if (v->queue_count > MR_METERS_MAX) label = mr_slice_str("(other)");
		snprintf(q->label, sizeof q->label, "%.*s", (int)label.size, label.data);
	}
	q->consuming += consuming;
	q->away += away;
}

static void miss(struct mr_vitals *v, const char *queue, const char *why)
{
	if (v->missing[0]) return;
	snprintf(v->missing, sizeof v->missing, "queue \"%s\": %s", queue, why);
}

static void count_consumers(struct mr_vitals *v, const struct mr_link *link)
{
	const struct mr_topology *t = &link->recovery.topology;
	const struct mr_session *s = link->state == MR_LINK_OPEN ? link->session : NULL;
	const struct mr_record *r = NULL;
	if (!link->config->recover) { /* then nothing is recorded, not even the queues */
		if (s)
			count_consumer(v, mr_slice_str("(unknown)"),
				(uint32_t)mr_session_consumers(s), 0);
		return;
	}
	while ((r = mr_topology_next(t, MR_BASIC_CONSUME, r))) {
		if (r->request.number & MR_CONSUMER_OWN) continue;
		bool is_there = s && mr_session_has_consumer(s, r->channel, r->request.number);
		count_consumer(v, r->request.name, is_there, !is_there);
		if (is_there) continue;
		miss(v, r->strings[0],
			!s             ? "its connection is away"
			: r->cancelled ? "cancelled by the broker, asked for again and again"
				       : "on its way back");
	}
}

static bool is_consumed_again(struct mr_services *s, const char *queue)
{
	struct mr_link *link;
	for (size_t at = 0; (link = mr_map_next(&s->links, &at, NULL));) {
		if (mr_topology_next_of(&link->recovery.topology, mr_slice_str(queue), NULL))
			return true;
	}
	return false;
}

/* Consumers that failed permanently count until the program consumes the queue again or closes the
 * connection. */
static void count_failed(struct mr_vitals *v, struct mr_services *s)
{
	struct mr_node *all = &s->history->failed, *next;
	for (struct mr_node *n = all->next; n != all; n = next) {
		struct mr_failed_consumer *f = mr_container(n, struct mr_failed_consumer, node);
		struct mr_link *link = mr_map_get(&s->links, f->connection);
		next = n->next;
		if (!link || !is_wanted(link) || is_consumed_again(s, f->queue)) {
			mr_history_forget(f);
			continue;
		}
		count_consumer(v, mr_slice_str(f->queue), 0, 1);
		miss(v, f->queue, f->why);
	}
}

/* The host, as the watchdog sees it. */
static void look_at_host(struct mr_vitals *v, struct mr_stall *stall)
{
	struct mr_stall_view view;
	mr_stall_view(stall, &view);
	v->host_memory = mr_mark_memory(&stall->bridge->progress);
	if (view.idle) return;
	v->busy = (double)view.busy_for / 1000;
	v->stalled = view.stalled;
	snprintf(v->busy_queue, sizeof v->busy_queue, "%s", view.queue);
	if (*view.queue)
		snprintf(v->where, sizeof v->where, "the handler of queue \"%s\", %s", view.queue,
			view.origin);
	bool has_trace = strcmp(view.where, view.origin) != 0;
	snprintf(v->traceback, sizeof v->traceback, "%s", has_trace ? view.where : "");
}

void mr_vitals_gather(struct mr_vitals *v, struct mr_services *s, struct mr_stall *stall,
	double started)
{
	struct mr_link *link;
	struct timespec real;
	double now = (double)mr_clock_us() / 1e6;
	memset(v, 0, sizeof *v);
	v->stats = s->stats;
	v->stats.in_flight = mr_delivery_pool_out(s->pool, NULL);
	for (size_t at = 0; (link = mr_map_next(&s->links, &at, NULL));) {
		count_link(v, link);
		count_consumers(v, link);
	}
	count_failed(v, s);
	look_at_host(v, stall);
	clock_gettime(CLOCK_REALTIME, &real);
	v->unix_time = (double)real.tv_sec + (double)real.tv_nsec / 1e9;
	v->now = now;
	v->uptime = now - started;
	v->last_delivery = s->delivered_at ? now - (double)s->delivered_at / 1e6 : -1;
	if (s->delivered_at && v->last_delivery < 0) v->last_delivery = 0;
	v->stopping = s->stopping;
	v->connects = s->history->connects;
	v->losses = s->history->losses;
	v->retries = s->history->retries;
}
