/* verdict: decides by the vitals whether a runtime is healthy, and gives the reasons if not.
 * SPDX-License-Identifier: MIT */
#include "health/verdict.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/number.h"
#include "health/fields.h"

#define READINESS (MR_CHECK_CONNECTED | MR_CHECK_CONSUMING | MR_CHECK_BLOCKED)

const mr_health_options mr_health_defaults = {.checks = MR_CHECK_CONNECTED | MR_CHECK_CONSUMING |
                                                        MR_CHECK_BLOCKED | MR_CHECK_STALLED,
	.dead = 900};

struct finding { /* the result of one built-in check */
	bool is_fine;
	char detail[MR_WORDS + 128];
};

struct verdict {
	const struct mr_vitals *vitals;
	const mr_health_options *options;
	mr_health *health;
	mr_table *reasons, *checks;
};

/* ---- the built-in checks ---- */

static void connected(const struct verdict *j, struct finding *f)
{
	const struct mr_vitals *v = j->vitals;
	f->is_fine = v->open && v->open == v->wanted;
	if (!v->wanted)
		snprintf(f->detail, sizeof f->detail, "no connection is open%s",
			v->connects ? "" : " yet");
	else if (v->wanted == 1 && !f->is_fine)
		snprintf(f->detail, sizeof f->detail, "%s", v->trouble);
	else
		snprintf(f->detail, sizeof f->detail, "%u of %u open%s%s", v->open, v->wanted,
			f->is_fine ? "" : "; ", v->trouble);
}

static void consuming(const struct verdict *j, struct finding *f)
{
	const struct mr_vitals *v = j->vitals;
	uint32_t least = j->options->consumers;
	f->is_fine = v->consuming == v->consumers && v->consuming >= least;
	int n = snprintf(f->detail, sizeof f->detail, "%u of %u consuming%s%s", v->consuming,
		v->consumers, v->missing[0] ? "; " : "", v->missing);
	if (v->consuming < least && n > 0 && (size_t)n < sizeof f->detail)
		snprintf(f->detail + n, sizeof f->detail - (size_t)n, "; at least %u should",
			least);
}

static void blocked(const struct verdict *j, struct finding *f)
{
	const struct mr_vitals *v = j->vitals;
	f->is_fine = !v->blocked;
	if (v->blocked)
		snprintf(f->detail, sizeof f->detail, "the broker takes no publishes: %s",
			v->blocker);
}

static void stalled(const struct verdict *j, struct finding *f)
{
	const struct mr_vitals *v = j->vitals;
	double limit = j->options->stalled;
	f->is_fine = limit > 0 ? v->busy <= limit : !v->stalled;
	if (!f->is_fine)
		mr_number_format(f->detail, sizeof f->detail,
			"the script has not yielded for %.1f s%s%s", v->busy,
			v->where[0] ? ": " : "", v->where);
}

static void last_message(const struct verdict *j, struct finding *f)
{
	const struct mr_vitals *v = j->vitals;
	/* A program that has just started has the same time for its first message. */
	double age = v->last_delivery < 0 ? v->uptime : v->last_delivery;
	f->is_fine = age <= j->options->last_message;
	mr_number_format(f->detail, sizeof f->detail,
		v->last_delivery < 0 ? "none yet" : "%.1f s ago", age);
}

static const struct {
	uint32_t bit;
	const char *name;
	void (*look)(const struct verdict *j, struct finding *f);
} builtin[] = {{MR_CHECK_CONNECTED, "connected", connected},
	{MR_CHECK_CONSUMING, "consuming", consuming}, {MR_CHECK_BLOCKED, "blocked", blocked},
	{MR_CHECK_STALLED, "stalled", stalled},
	{MR_CHECK_LAST_MESSAGE, "last_message", last_message}};

/* ---- the report ---- */

static mr_table *add_check(struct verdict *j, const char *name, const char *status,
	const char *detail)
{
	mr_table *check = mr_fields_nest(j->checks, name, 'F');
	mr_fields_text(check, "status", status);
	if (*detail) mr_fields_said(check, "detail", detail);
	return check;
}

static void add_reason(struct verdict *j, uint32_t bit, const char *name, const char *detail)
{
	char text[MR_WORDS + 300];
	j->health->failing |= bit;
	snprintf(text, sizeof text, "%s%s%s", name, *detail ? ": " : "", detail);
	mr_fields_said(j->reasons, "", text);
}

static void look_at_builtin(struct verdict *j)
{
	const struct mr_vitals *v = j->vitals;
	for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++) {
		struct finding f = {0};
		if (!(j->options->checks & builtin[i].bit)) continue;
		builtin[i].look(j, &f);
		mr_table *check = add_check(j, builtin[i].name, f.is_fine ? "healthy" : "unhealthy",
			f.detail);
		if (builtin[i].bit == MR_CHECK_STALLED && !f.is_fine) {
			mr_fields_seconds(check, "seconds", v->busy);
			if (v->traceback[0]) mr_fields_text(check, "traceback", v->traceback);
		}
		if (!f.is_fine) add_reason(j, builtin[i].bit, builtin[i].name, f.detail);
	}
}

static void look_at_host(struct verdict *j, const struct mr_node *checks, mr_msec now)
{
	static const char *const words[] = {"unhealthy", "healthy", "pending"};
	for (const struct mr_node *n = checks->next; n != checks; n = n->next) {
		const struct mr_host_check *c =
			mr_container((struct mr_node *)(uintptr_t)n, struct mr_host_check, node);
		mr_table *check = add_check(j, c->name, words[c->state], c->detail);
		mr_fields_seconds(check, "age", (double)(now - c->at) / 1000);
		if (c->state == MR_NOTE_FAILING) add_reason(j, MR_CHECK_HOST, c->name, c->detail);
	}
}

mr_health *mr_verdict(const struct mr_vitals *v, const mr_health_options *o,
	const struct mr_node *checks, mr_msec now)
{
	mr_health *h = mr_calloc(1, sizeof *h);
	if (!h) return NULL;
	h->report = mr_table_new();
	struct verdict j = {.vitals = v, .options = o, .health = h};
	/* The reasons come first, as the most important part; an empty list is left out later. */
	mr_table *found = mr_table_new();
	j.reasons = mr_fields_nest(found, "reasons", 'A');
	j.checks = mr_fields_nest(found, "checks", 'F');
	look_at_builtin(&j);
	look_at_host(&j, checks, now);
	h->healthy = !h->failing;
	h->ready = !(h->failing & READINESS) && !v->stopping;
	h->live = !(o->dead > 0 && v->busy > o->dead);
	h->stopping = v->stopping;
	h->connections = v->wanted;
	h->connections_open = v->open;
	h->connections_blocked = v->blocked;
	h->consumers = v->consumers;
	h->consumers_consuming = v->consuming;
	h->busy = v->busy;
	h->last_delivery = v->last_delivery;
	mr_fields_text(h->report, "status", h->healthy ? "healthy" : "unhealthy");
	if (j.reasons && j.reasons->count) {
		char first[MR_WORDS + 300];
		mr_slice s = j.reasons->fields[0].value.as.bytes;
		snprintf(first, sizeof first, "%.*s", (int)s.size, s.data);
		mr_fields_text(h->report, "error", first);
	}
	bool connected = v->open && v->open == v->wanted;
	mr_fields_text(h->report, "broker",
		connected && v->own ? "embedded"
		: connected         ? "connected"
				    : "disconnected");
	for (uint32_t i = 0; h->report && found && i < found->count; i++)
		if (found->fields[i].value.as.nested->count)
			mr_table_add_copy(h->report, &found->fields[i]);
	mr_table_free(found);
	return h;
}

void mr_verdict_free(mr_health *h)
{
	if (!h) return;
	mr_table_free(h->report);
	mr_free(h);
}

/* ---- the pages ---- */

mr_table *mr_verdict_health(const mr_health *h, bool verbose)
{
	if (!h->healthy || verbose) return h->report ? mr_table_copy(h->report) : NULL;
	mr_table *t = mr_table_new();
	mr_fields_text(t, "status", "healthy");
	return t;
}

static bool is_of(const mr_value *reason, const char *name)
{
	size_t size = strlen(name);
	mr_slice s = reason->as.bytes;
	return s.size >= size && memcmp(s.data, name, size) == 0 &&
	       (s.size == size || s.data[size] == ':');
}

mr_table *mr_verdict_ready(const mr_health *h)
{
	mr_table *t = mr_table_new();
	mr_fields_text(t, "status", h->ready ? "ready" : h->stopping ? "stopping" : "not ready");
	if (h->ready || !t) return t;
	mr_table *reasons = mr_fields_nest(t, "reasons", 'A');
	mr_value stopping = {.type = 'S', .as.bytes = mr_slice_str("the program is stopping")};
	const mr_value *all = mr_table_find(h->report, "reasons");
	if (reasons && h->stopping) mr_table_add(reasons, "", 0, &stopping);
	for (uint32_t i = 0; all && reasons && i < all->as.nested->count; i++) {
		const mr_value *reason = &all->as.nested->fields[i].value;
		for (size_t k = 0; k < sizeof builtin / sizeof *builtin; k++)
			if (builtin[k].bit & READINESS && h->failing & builtin[k].bit &&
				is_of(reason, builtin[k].name))
				mr_table_add(reasons, "", 0, reason);
	}
	return t;
}

mr_table *mr_verdict_live(const mr_health *h)
{
	mr_table *t = mr_table_new();
	mr_fields_text(t, "status", h->live ? "alive" : "stalled");
	if (!h->live) mr_fields_seconds(t, "seconds", h->busy);
	return t;
}
