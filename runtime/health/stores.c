/* stores: the Redis servers behind the connections of a runtime, for health, metrics and the page /status.
 * SPDX-License-Identifier: MIT */
#include "health/stores.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "health/catalogue.h"
#include "health/fields.h"
#include "health/page.h"
#include "link/state.h"

static const struct mr_notices *notices_of(const struct mr_link *link)
{
	return link->dial.server ? mr_server_notices(link->dial.server) : NULL;
}

/* A broker is counted once, however many connections it has. */
static bool note(struct mr_stores *stores, const struct mr_notices *notices)
{
	for (size_t i = 0; i < stores->known_count; i++)
		if (stores->known[i] == notices) return false;
	if (stores->known_count == MR_STORES_MAX) return false;
	stores->known[stores->known_count++] = notices;
	return true;
}

static struct mr_store_seen *find(struct mr_stores *stores, const struct mr_notice *state)
{
	for (size_t i = 0; i < stores->count; i++)
		if (strcmp(stores->all[i].state.server, state->server) == 0) return &stores->all[i];
	struct mr_store_seen *s = &stores->all[stores->count++]; /* at most as many as brokers */
	s->state = *state;
	s->is_up = true;
	return s;
}

void mr_stores_add(struct mr_stores *stores, const struct mr_link *link)
{
	struct mr_notice state;
	const struct mr_notices *notices = notices_of(link);
	if (!notices || !mr_notices_state(notices, &state)) return; /* it is tried now */
	if (!note(stores, notices)) return;
	struct mr_store_seen *s = find(stores, &state);
	if (s->is_up) s->state = state;
	s->is_up = s->is_up && mr_notices_is_up(&state);
	for (int i = 0; i < MR_NOTICES_COUNT_COUNT; i++) {
		uint64_t n = mr_notices_counted(notices, (enum mr_notices_count_of)i);
		if (i != MR_NOTICES_ROUND_TRIP)
			s->counts[i] += n;
		else if (n > s->counts[i])
			s->counts[i] = n;
	}
}

bool mr_stores_trouble(const struct mr_link *link, char *out, size_t size)
{
	struct mr_notice state;
	const struct mr_notices *notices = notices_of(link);
	if (!notices || !mr_notices_state(notices, &state) || mr_notices_is_up(&state))
		return false;
	snprintf(out, size, "Redis at %s is %s: %s", state.server,
		state.what == MR_NOTICE_LOST ? "lost" : "not reached", state.text);
	return true;
}

/* ---- metrics ---- */

static const struct {
	int metric;
	const char *name;
	enum mr_notices_count_of count;
} counts[] = {
	{MR_METRIC_redis_losses_total, "redis_losses_total", MR_NOTICES_LOSSES},
	{MR_METRIC_redis_commands_total, "redis_commands_total", MR_NOTICES_COMMANDS},
	{MR_METRIC_redis_sent_bytes_total, "redis_sent_bytes_total", MR_NOTICES_SENT},
	{MR_METRIC_redis_received_bytes_total, "redis_received_bytes_total", MR_NOTICES_RECEIVED},
	{MR_METRIC_redis_fetched_messages, "redis_fetched_messages", MR_NOTICES_FETCHED},
	{MR_METRIC_redis_unacked_messages, "redis_unacked_messages", MR_NOTICES_UNACKED},
	{MR_METRIC_redis_publishes_waiting, "redis_publishes_waiting", MR_NOTICES_WAITING},
	{MR_METRIC_redis_publishes_refused_total, "redis_publishes_refused_total",
		MR_NOTICES_REFUSED},
};

/* When its state began, as a time of Unix. */
static double began(const struct mr_store_seen *s)
{
	struct timespec real;
	clock_gettime(CLOCK_REALTIME, &real);
	return (double)real.tv_sec + (double)real.tv_nsec / 1e9 -
	       (double)(mr_clock_now() - s->state.at) / 1000;
}

static double round_trip(const struct mr_store_seen *s)
{
	return (double)s->counts[MR_NOTICES_ROUND_TRIP] / 1e6;
}

void mr_stores_write(struct mr_page *p, const struct mr_stores *stores)
{
	char label[MR_STORES_MAX][MR_LABEL_SIZE];
	const struct mr_store_seen *s = stores->all;
	for (size_t i = 0; i < stores->count; i++) mr_page_label(label[i], s[i].state.server);
	mr_page_head(p, MR_METRIC_redis_up);
	for (size_t i = 0; i < stores->count; i++)
		mr_page_put(p, "moonrabbit_redis_up{server=\"%s\"} %d\n", label[i], s[i].is_up);
	mr_page_head(p, MR_METRIC_redis_since_timestamp_seconds);
	for (size_t i = 0; i < stores->count; i++)
		mr_page_put(p, "moonrabbit_redis_since_timestamp_seconds{server=\"%s\"} %.3f\n",
			label[i], began(&s[i]));
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		mr_page_head(p, counts[c].metric);
		for (size_t i = 0; i < stores->count; i++)
			mr_page_put(p, "moonrabbit_%s{server=\"%s\"} %" PRIu64 "\n", counts[c].name,
				label[i], s[i].counts[counts[c].count]);
	}
	mr_page_head(p, MR_METRIC_redis_round_trip_seconds);
	for (size_t i = 0; i < stores->count; i++)
		if (round_trip(&s[i]) > 0)
			mr_page_put(p, "moonrabbit_redis_round_trip_seconds{server=\"%s\"} %.6f\n",
				label[i], round_trip(&s[i]));
}

/* ---- /status ---- */

static void add_exact(mr_table *t, const char *key, double seconds)
{
	mr_value v = {.type = 'd', .as.real = seconds};
	if (t) mr_table_add(t, key, strlen(key), &v);
}

static void add(mr_table *t, const struct mr_store_seen *s)
{
	const uint64_t *n = s->counts;
	mr_fields_text(t, "server", s->state.server);
	mr_fields_text(t, "state",
		s->is_up                          ? "reached"
		: s->state.what == MR_NOTICE_LOST ? "lost"
						  : "not reached");
	mr_fields_seconds(t, "since", (double)(mr_clock_now() - s->state.at) / 1000);
	if (s->state.version[0]) mr_fields_text(t, "version", s->state.version);
	if (s->state.role[0]) mr_fields_text(t, "role", s->state.role);
	if (!s->is_up) mr_fields_said(t, "error", s->state.text);
	mr_fields_count(t, "losses", n[MR_NOTICES_LOSSES]);
	mr_fields_count(t, "commands", n[MR_NOTICES_COMMANDS]);
	mr_fields_count(t, "bytes_in", n[MR_NOTICES_RECEIVED]);
	mr_fields_count(t, "bytes_out", n[MR_NOTICES_SENT]);
	if (round_trip(s) > 0) add_exact(t, "round_trip", round_trip(s));
	mr_fields_count(t, "fetched", n[MR_NOTICES_FETCHED]);
	mr_fields_count(t, "unacked", n[MR_NOTICES_UNACKED]);
	mr_fields_count(t, "waiting", n[MR_NOTICES_WAITING]);
	mr_fields_count(t, "refused", n[MR_NOTICES_REFUSED]);
}

void mr_stores_report(mr_table *page, const struct mr_stores *stores)
{
	mr_table *list = stores->count ? mr_fields_nest(page, "stores", 'A') : NULL;
	for (size_t i = 0; i < stores->count; i++)
		add(mr_fields_nest(list, "", 'F'), &stores->all[i]);
}
