/* metrics: the vitals in Prometheus' text format, version 0.0.4.
 * SPDX-License-Identifier: MIT */
#include "health/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/value.h"
#include "health/catalogue.h"
#include "health/own_metrics.h"
#include "health/page.h"
#include "health/process.h"
#include "health/stores.h"

/* ---- the pieces ---- */

static void write_health(struct mr_page *p, const mr_health *h)
{
	char name[MR_LABEL_SIZE];
	const mr_value *checks = mr_table_find(h->report, "checks");
	mr_page_count(p, MR_METRIC_healthy, h->healthy);
	mr_page_count(p, MR_METRIC_ready, h->ready);
	mr_page_count(p, MR_METRIC_live, h->live);
	mr_page_head(p, MR_METRIC_check_healthy);
	for (uint32_t i = 0; checks && i < checks->as.nested->count; i++) {
		const mr_field *f = &checks->as.nested->fields[i];
		const mr_value *status = mr_table_find(f->value.as.nested, "status");
		bool fails = status && mr_slice_equal(status->as.bytes, mr_slice_str("unhealthy"));
		mr_page_put(p, "moonrabbit_check_healthy{check=\"%s\"} %d\n",
			mr_page_label(name, f->key.data), !fails);
	}
	mr_page_real(p, MR_METRIC_script_busy_seconds, h->busy);
}

static void write_connections(struct mr_page *p, const struct mr_vitals *v)
{
	const struct {
		const char *state;
		uint32_t count;
	} states[] = {{"open", v->open}, {"connecting", v->connecting}, {"retrying", v->retrying},
		{"closing", v->closing}, {"lost", v->lost}};
	mr_page_head(p, MR_METRIC_connections);
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		mr_page_put(p, "moonrabbit_connections{state=\"%s\"} %u\n", states[i].state,
			states[i].count);
	mr_page_count(p, MR_METRIC_connections_blocked, v->blocked);
	mr_page_count(p, MR_METRIC_connections_embedded, v->embedded);
	mr_page_count(p, MR_METRIC_connects_total, v->connects);
	mr_page_count(p, MR_METRIC_connection_losses_total, v->losses);
	mr_page_count(p, MR_METRIC_connection_retries_total, v->retries);
}

static void write_consumers(struct mr_page *p, const struct mr_vitals *v)
{
	char name[MR_LABEL_SIZE];
	mr_page_head(p, MR_METRIC_consumers);
	for (size_t i = 0; i < v->queue_count; i++) {
		const struct mr_vitals_queue *q = &v->queues[i];
		mr_page_label(name, q->label);
		mr_page_put(p, "moonrabbit_consumers{queue=\"%s\",state=\"consuming\"} %u\n", name,
			q->consuming);
		mr_page_put(p, "moonrabbit_consumers{queue=\"%s\",state=\"away\"} %u\n", name,
			q->away);
	}
}

static void write_messages(struct mr_page *p, const struct mr_vitals *v)
{
	const mr_stats *s = &v->stats;
	mr_page_count(p, MR_METRIC_deliveries_total, s->delivered);
	mr_page_count(p, MR_METRIC_redeliveries_total, s->redelivered);
	mr_page_count(p, MR_METRIC_settlements_total, s->settled);
	mr_page_count(p, MR_METRIC_deliveries_in_flight, s->in_flight);
	if (v->last_delivery >= 0)
		mr_page_real(p, MR_METRIC_last_delivery_timestamp_seconds,
			v->unix_time - v->last_delivery);
	mr_page_count(p, MR_METRIC_publishes_total, s->published);
	mr_page_count(p, MR_METRIC_publishes_confirmed_total, s->confirmed);
	mr_page_count(p, MR_METRIC_publishes_returned_total, s->returned);
	mr_page_count(p, MR_METRIC_publishes_lost_total, s->lost);
	mr_page_count(p, MR_METRIC_outbound_bytes, s->outbound);
}

static void write_traffic(struct mr_page *p, const struct mr_vitals *v)
{
	const mr_stats *s = &v->stats;
	mr_page_count(p, MR_METRIC_received_bytes_total, s->bytes_in);
	mr_page_count(p, MR_METRIC_sent_bytes_total, s->bytes_out);
	mr_page_count(p, MR_METRIC_frames_received_total, s->frames_in);
	mr_page_count(p, MR_METRIC_heartbeats_sent_total, s->heartbeats_out);
	mr_page_count(p, MR_METRIC_acks_sent_total, s->acks_out);
	mr_page_count(p, MR_METRIC_log_dropped_total, s->log_dropped);
	mr_page_count(p, MR_METRIC_protocol_violations_total, s->violations);
	mr_page_count(p, MR_METRIC_messages_too_large_total, s->oversized);
	mr_page_real(p, MR_METRIC_start_time_seconds, v->unix_time - v->uptime);
	mr_page_head(p, MR_METRIC_info);
	mr_page_put(p, "moonrabbit_info{version=\"%s\"} 1\n", mr_version());
}

/* ---- histograms ---- */

/* `labels` ends with a comma, or is empty. */
static void write_histogram(struct mr_page *p, const char *name, const char *labels,
	const struct mr_histogram *h)
{
	uint64_t count = 0;
	char bare[1100];
	size_t size = strlen(labels);
	for (size_t i = 0; i < MR_HISTOGRAM_BOUNDS; i++) {
		count += h->counts[i];
		mr_page_put(p, "moonrabbit_%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels,
			(double)mr_histogram_bound(i) / 1e9, count);
	}
	count += h->counts[MR_HISTOGRAM_BOUNDS];
	mr_page_put(p, "moonrabbit_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, count);
	snprintf(bare, sizeof bare, size ? "{%.*s}" : "%.*s", (int)(size ? size - 1 : 0), labels);
	mr_page_put(p, "moonrabbit_%s_sum%s %.9f\n", name, bare, (double)h->sum / 1e9);
	mr_page_put(p, "moonrabbit_%s_count%s %" PRIu64 "\n", name, bare, count);
}

/* The oldest that waits, as the host last looked, or the one that keeps the host busy. */
static void write_oldest(struct mr_page *p, const struct mr_vitals *v,
	const struct mr_meter *const *meters, size_t count)
{
	char name[MR_LABEL_SIZE];
	mr_slice busy = mr_meter_label(mr_slice_str(v->busy_queue));
	mr_page_head(p, MR_METRIC_handler_oldest_seconds);
	for (size_t i = 0; i < count; i++) {
		double began = mr_meter_oldest_began(meters[i]),
		       age = began > 0 ? v->now - began : 0;
		bool is_busy =
			*v->busy_queue && mr_slice_equal(mr_slice_str(meters[i]->queue), busy);
		if (is_busy && v->busy > age) age = v->busy;
		mr_page_put(p, "moonrabbit_handler_oldest_seconds{queue=\"%s\"} %.3f\n",
			mr_page_label(name, meters[i]->queue), age > 0 ? age : 0);
	}
}

static const struct {
	enum mr_meter_tally tally;
	int metric;
	const char *name;
} tallies[MR_METER_TALLIES] = {
	{MR_METER_FAILURES, MR_METRIC_handler_failures_total, "handler_failures_total"},
	{MR_METER_RETRIES, MR_METRIC_retries_total, "retries_total"},
	{MR_METER_DEAD, MR_METRIC_dead_letters_total, "dead_letters_total"},
	{MR_METER_LATE, MR_METRIC_handled_too_late_total, "handled_too_late_total"}};

static void write_meters(struct mr_page *p, const struct mr_vitals *v,
	const struct mr_meter *const *meters, size_t count)
{
	char name[MR_LABEL_SIZE], labels[1100];
	struct mr_histogram h;
	mr_page_head(p, MR_METRIC_handler_seconds);
	for (size_t i = 0; i < count; i++) {
		mr_meter_read(meters[i], &h);
		snprintf(labels, sizeof labels, "queue=\"%s\",",
			mr_page_label(name, meters[i]->queue));
		write_histogram(p, "handler_seconds", labels, &h);
	}
	write_oldest(p, v, meters, count);
	for (size_t t = 0; t < MR_METER_TALLIES; t++) {
		mr_page_head(p, tallies[t].metric);
		for (size_t i = 0; i < count; i++)
			mr_page_put(p, "moonrabbit_%s{queue=\"%s\"} %" PRIu64 "\n", tallies[t].name,
				mr_page_label(name, meters[i]->queue),
				mr_meter_counted(meters[i], tallies[t].tally));
	}
	mr_page_head(p, MR_METRIC_queue_messages);
	for (size_t i = 0; i < count; i++)
		if (mr_meter_messages_seen(meters[i]) >= 0)
			mr_page_put(p, "moonrabbit_queue_messages{queue=\"%s\"} %" PRIi64 "\n",
				mr_page_label(name, meters[i]->queue),
				mr_meter_messages_seen(meters[i]));
}

enum mr_status mr_metrics_write(struct mr_buffer *out, const struct mr_vitals *v,
	const mr_health *health, const struct mr_meter *const *meters, size_t count,
	const struct mr_histogram *confirms, const struct mr_metric *const *own, size_t own_count)
{
	struct mr_page p = {out, MR_OK};
	write_health(&p, health);
	write_connections(&p, v);
	write_consumers(&p, v);
	write_messages(&p, v);
	write_traffic(&p, v);
	write_meters(&p, v, meters, count);
	mr_page_head(&p, MR_METRIC_publish_confirm_seconds);
	write_histogram(&p, "publish_confirm_seconds", "", confirms);
	mr_page_real(&p, MR_METRIC_lua_memory_bytes, v->host_memory);
	mr_stores_write(&p, &v->stores);
	mr_process_write(&p);
	mr_own_metrics_write(&p, own, own_count);
	return p.status;
}
