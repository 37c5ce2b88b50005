/* metrics: the vitals in Prometheus' text format, version 0.0.4.
 * SPDX-License-Identifier: MIT */
#include "health/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/number.h"
#include "base/value.h"

struct page {
	struct mr_buffer *out;
	enum mr_status status; /* of the first failed append: nothing is appended after it */
};

static void put(struct page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct page *p, const char *format, ...)
{
	char text[1536]; /* an escaped queue name has at most 1020 bytes */
	va_list args;
	va_start(args, format);
	int n = mr_number_vformat(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || p->status != MR_OK) return;
	size_t size = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
	p->status = mr_buffer_append(p->out, text, size);
}

static void head(struct page *p, const char *name, const char *type, const char *help)
{
	put(p, "# HELP moonrabbit_%s %s\n# TYPE moonrabbit_%s %s\n", name, help, name, type);
}

static void number(struct page *p, const char *name, const char *type, const char *help,
	uint64_t value)
{
	head(p, name, type, help);
	put(p, "moonrabbit_%s %" PRIu64 "\n", name, value);
}

static void real(struct page *p, const char *name, const char *help, double value)
{
	head(p, name, "gauge", help);
	put(p, "moonrabbit_%s %.3f\n", name, value);
}

/* Writes a label's value: \\, \" and \n are escaped, bytes that are not UTF-8 are written as
 * \xNN. */
static const char *label(char out[1024], const char *text)
{
	char plain[512];
	size_t n = mr_error_escape(plain, sizeof plain, text, strlen(text)), at = 0;
	for (size_t i = 0; i < n && at < 1021; i++) {
		if (plain[i] == '\\' || plain[i] == '"') out[at++] = '\\';
		out[at++] = plain[i];
	}
	out[at] = '\0';
	return out;
}

/* ---- the pieces ---- */

static void write_health(struct page *p, const mr_health *h)
{
	char name[1024];
	const mr_value *checks = mr_table_find(h->report, "checks");
	number(p, "healthy", "gauge", "Whether every check holds, as /health says.", h->healthy);
	number(p, "ready", "gauge", "Whether the program is at work, as /ready says.", h->ready);
	number(p, "live", "gauge", "Whether the program runs, as /live says.", h->live);
	head(p, "check_healthy", "gauge", "Whether a check holds; pending ones do.");
	for (uint32_t i = 0; checks && i < checks->as.nested->count; i++) {
		const mr_field *f = &checks->as.nested->fields[i];
		const mr_value *status = mr_table_find(f->value.as.nested, "status");
		bool fails = status && mr_slice_equal(status->as.bytes, mr_slice_str("unhealthy"));
		put(p, "moonrabbit_check_healthy{check=\"%s\"} %d\n", label(name, f->key.data),
			!fails);
	}
	real(p, "script_busy_seconds",
		"For how long the script has been at one thing; 0 when it waits.", h->busy);
}

static void write_connections(struct page *p, const struct mr_vitals *v)
{
	const struct {
		const char *state;
		uint32_t count;
	} states[] = {{"open", v->open}, {"connecting", v->connecting}, {"retrying", v->retrying},
		{"closing", v->closing}, {"lost", v->lost}};
	head(p, "connections", "gauge", "Connections to brokers by state.");
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		put(p, "moonrabbit_connections{state=\"%s\"} %u\n", states[i].state,
			states[i].count);
	number(p, "connections_blocked", "gauge", "Connections whose broker takes no publishes.",
		v->blocked);
	number(p, "connections_embedded", "gauge",
		"Connections to the embedded broker, which forgets everything.", v->embedded);
	number(p, "connects_total", "counter", "Connections opened.", v->connects);
	number(p, "connection_losses_total", "counter", "Connections lost.", v->losses);
	number(p, "connection_retries_total", "counter", "Tries planned after a failure.",
		v->retries);
}

static void write_consumers(struct page *p, const struct mr_vitals *v)
{
	char name[1024];
	head(p, "consumers", "gauge", "Consumers by queue and state.");
	for (size_t i = 0; i < v->queue_count; i++) {
		const struct mr_vitals_queue *q = &v->queues[i];
		label(name, q->label);
		put(p, "moonrabbit_consumers{queue=\"%s\",state=\"consuming\"} %u\n", name,
			q->consuming);
		put(p, "moonrabbit_consumers{queue=\"%s\",state=\"away\"} %u\n", name, q->away);
	}
}

static void write_messages(struct page *p, const struct mr_vitals *v)
{
	const mr_stats *s = &v->stats;
	number(p, "deliveries_total", "counter", "Messages that came.", s->delivered);
	number(p, "settlements_total", "counter", "Messages acked, nacked or rejected.",
		s->settled);
	number(p, "deliveries_in_flight", "gauge", "Messages that the script has not released.",
		s->in_flight);
	if (v->last_delivery >= 0)
		real(p, "last_delivery_timestamp_seconds", "When the last message came.",
			v->unix_time - v->last_delivery);
	number(p, "publishes_total", "counter", "Messages published.", s->published);
	number(p, "publishes_confirmed_total", "counter", "Publishes that the broker confirmed.",
		s->confirmed);
	number(p, "publishes_returned_total", "counter", "Publishes that came back unroutable.",
		s->returned);
	number(p, "publishes_lost_total", "counter",
		"Publishes whose connection went before the confirm.", s->lost);
	number(p, "outbound_bytes", "gauge", "Bytes of publishes not yet written.", s->outbound);
}

static void write_traffic(struct page *p, const struct mr_vitals *v)
{
	const mr_stats *s = &v->stats;
	number(p, "received_bytes_total", "counter", "Bytes read from brokers.", s->bytes_in);
	number(p, "sent_bytes_total", "counter", "Bytes written to brokers.", s->bytes_out);
	number(p, "frames_received_total", "counter", "AMQP frames read.", s->frames_in);
	number(p, "heartbeats_sent_total", "counter", "Heartbeats sent.", s->heartbeats_out);
	number(p, "acks_sent_total", "counter", "Ack frames sent; one may settle many messages.",
		s->acks_out);
	number(p, "log_dropped_total", "counter", "Log lines that standard error did not take.",
		s->log_dropped);
	number(p, "protocol_violations_total", "counter",
		"What brokers said against the protocol: ignored, or a channel closed for it.",
		s->violations);
	number(p, "messages_too_large_total", "counter",
		"Messages over max_message_size: rejected, kept unacked, or dropped where there are no acks.",
		s->oversized);
	real(p, "start_time_seconds", "When the runtime began.", v->unix_time - v->uptime);
	head(p, "info", "gauge", "The version that runs.");
	put(p, "moonrabbit_info{version=\"%s\"} 1\n", mr_version());
}

/* ---- histograms ---- */

/* `labels` ends with a comma, or is empty. */
static void write_histogram(struct page *p, const char *name, const char *labels,
	const struct mr_histogram *h)
{
	uint64_t count = 0;
	char bare[1100];
	size_t size = strlen(labels);
	for (size_t i = 0; i < MR_HISTOGRAM_BOUNDS; i++) {
		count += h->counts[i];
		put(p, "moonrabbit_%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels,
			(double)mr_histogram_bound(i) / 1e9, count);
	}
	count += h->counts[MR_HISTOGRAM_BOUNDS];
	put(p, "moonrabbit_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, count);
	snprintf(bare, sizeof bare, size ? "{%.*s}" : "%.*s", (int)(size ? size - 1 : 0), labels);
	put(p, "moonrabbit_%s_sum%s %.9f\n", name, bare, (double)h->sum / 1e9);
	put(p, "moonrabbit_%s_count%s %" PRIu64 "\n", name, bare, count);
}

static void write_meters(struct page *p, const struct mr_meter *const *meters, size_t count)
{
	char name[1024], labels[1100];
	struct mr_histogram h;
	head(p, "handler_seconds", "histogram", "How long handlers took, waits included.");
	for (size_t i = 0; i < count; i++) {
		mr_meter_read(meters[i], &h);
		snprintf(labels, sizeof labels, "queue=\"%s\",", label(name, meters[i]->queue));
		write_histogram(p, "handler_seconds", labels, &h);
	}
	head(p, "handler_failures_total", "counter", "Handlers that raised an error.");
	for (size_t i = 0; i < count; i++)
		put(p, "moonrabbit_handler_failures_total{queue=\"%s\"} %" PRIu64 "\n",
			label(name, meters[i]->queue), mr_meter_failures(meters[i]));
	head(p, "handled_too_late_total", "counter",
		"Messages handled when their channel had gone: they come again.");
	for (size_t i = 0; i < count; i++)
		put(p, "moonrabbit_handled_too_late_total{queue=\"%s\"} %" PRIu64 "\n",
			label(name, meters[i]->queue), mr_meter_late_ones(meters[i]));
	head(p, "queue_messages", "gauge", "Messages in the queue when it was last looked at.");
	for (size_t i = 0; i < count; i++)
		if (mr_meter_messages_seen(meters[i]) >= 0)
			put(p, "moonrabbit_queue_messages{queue=\"%s\"} %" PRIi64 "\n",
				label(name, meters[i]->queue), mr_meter_messages_seen(meters[i]));
}

enum mr_status mr_metrics_write(struct mr_buffer *out, const struct mr_vitals *v,
	const mr_health *health, const struct mr_meter *const *meters, size_t count,
	const struct mr_histogram *confirms)
{
	struct page p = {out, MR_OK};
	write_health(&p, health);
	write_connections(&p, v);
	write_consumers(&p, v);
	write_messages(&p, v);
	write_traffic(&p, v);
	write_meters(&p, meters, count);
	head(&p, "publish_confirm_seconds", "histogram",
		"From a publish on its way to the broker's confirm.");
	write_histogram(&p, "publish_confirm_seconds", "", confirms);
	return p.status;
}
