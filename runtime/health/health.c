/* health: the configured checks, the results of the host's own checks, and the requests for health.
 * SPDX-License-Identifier: MIT */
#include "health/health.h"

#include <string.h>

#include "base/alloc.h"
#include "io/services.h"

#define CHECKS_MAX 64
#define ROUND 1000 /* ms between two checks */
#define SOON 20    /* ms from a change to the check */

mr_health *mr_health_look(struct mr_health_state *c)
{
	mr_vitals_gather(c->vitals, c->services, c->stall, c->started);
	c->vitals->stopping |= c->stopping;
	return mr_verdict(c->vitals, &c->options, &c->checks, mr_clock_now());
}

/* ---- reports to the host ---- */

static void tell(struct mr_health_state *c, uint64_t token, mr_health *health)
{
	mr_event ev = {.type = MR_EV_HEALTH, .as.health = {token, health}};
	ev.status = health ? MR_OK : MR_NO_MEMORY;
	mr_event_queue_push(&c->services->dispatch, &ev);
}

static void on_round(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_health_state *c = timer->data;
	(void)loop;
	(void)revents;
	mr_health *h = mr_health_look(c);
	mr_timer_arm(&c->round, mr_clock_now() + ROUND);
	/* Closing by a stop is not reported as a change. */
	if (h && h->healthy != c->was_healthy && !h->stopping) {
		c->was_healthy = h->healthy;
		tell(c, 0, h);
		return;
	}
	mr_verdict_free(h);
}

static void watch(struct mr_health_state *c, bool on)
{
	if (on && !c->watching) {
		mr_health *h = mr_health_look(c);
		c->was_healthy = h && h->healthy;
		mr_verdict_free(h);
	}
	c->watching = on;
	mr_timer_arm(&c->round, on ? mr_clock_now() + ROUND : MR_NEVER);
}

/* Something may have changed: checks before the next round. A thousand lost connections cause one
 * check, not a thousand. */
static void look_soon(void *health)
{
	struct mr_health_state *c = health;
	mr_msec at = mr_clock_now() + SOON;
	if (c->watching && c->round.at > at) mr_timer_arm(&c->round, at);
}

/* ---- what the host tells ---- */

static void note(struct mr_health_state *c, const struct mr_health_note *note)
{
	struct mr_host_check *check = NULL;
	for (struct mr_node *n = c->checks.next; n != &c->checks && !check; n = n->next) {
		check = mr_container(n, struct mr_host_check, node);
		if (strcmp(check->name, note->name) != 0) check = NULL;
	}
	if (note->state == MR_NOTE_FORGET) {
		if (!check) return;
		mr_list_remove(&check->node);
		mr_free(check);
		c->check_count--;
		return;
	}
	if (!check && c->check_count < CHECKS_MAX && (check = mr_calloc(1, sizeof *check))) {
		memcpy(check->name, note->name, sizeof check->name);
		mr_list_append(&c->checks, &check->node);
		c->check_count++;
	}
	if (!check) return;
	check->state = note->state;
	memcpy(check->detail, note->detail, sizeof check->detail);
	check->at = mr_clock_now();
}

/* ---- commands ---- */

void mr_health_obey(struct mr_health_state *c, const struct mr_command *command)
{
	switch (command->health.what) {
	case MR_HEALTH_OPTIONS:
		c->options = *command->health.options;
		mr_free(command->health.options);
		break;
	case MR_HEALTH_NOTE:
		note(c, command->health.note);
		mr_free(command->health.note);
		break;
	case MR_HEALTH_STOPPING: c->stopping = true; break;
	case MR_HEALTH_ASK: tell(c, command->token, mr_health_look(c)); return;
	case MR_HEALTH_WATCH: watch(c, command->health.is_watched); return;
	case MR_HEALTH_METER:
		if (c->meter_count < sizeof c->meters / sizeof *c->meters)
			c->meters[c->meter_count++] = command->health.meter;
		return;
	case MR_HEALTH_METRIC:
		if (c->metric_count < MR_METRICS_MAX)
			c->metrics[c->metric_count++] = command->health.metric;
		return;
	case MR_HEALTH_BACKLOG:
		if (c->backlog_count < sizeof c->backlogs / sizeof *c->backlogs)
			c->backlogs[c->backlog_count++] = command->health.backlog;
		return;
	case MR_HEALTH_LOANS:
		if (c->loans_count < MR_LOANS_MAX)
			c->loans[c->loans_count++] = command->health.loans;
		return;
	default: return; /* about pages */
	}
	look_soon(c);
}

/* ---- start and end ---- */

enum mr_status mr_health_init(struct mr_health_state *c, struct mr_services *services,
	struct mr_stall *stall)
{
	*c = (struct mr_health_state){.services = services,
		.stall = stall,
		.options = mr_health_defaults};
	c->history = services->history;
	c->history->changed = look_soon;
	c->history->owner = c;
	mr_list_init(&c->checks);
	c->started = mr_now();
	mr_timer_init(&c->round, &services->timers, on_round, c);
	c->vitals = mr_calloc(1, sizeof *c->vitals);
	return c->vitals ? MR_OK : MR_NO_MEMORY;
}

void mr_health_fini(struct mr_health_state *c)
{
	struct mr_node *node;
	if (!c->services) return;
	mr_timer_stop(&c->round);
	while ((node = mr_list_shift(&c->checks)))
		mr_free(mr_container(node, struct mr_host_check, node));
	mr_free(c->vitals);
	c->vitals = NULL;
}
